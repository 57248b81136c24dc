"""Linear models of requests: plain arrays, read without pickle, applied with numpy alone.

A model folder holds `card.json` and the arrays that it names. Tasks that were trained together
share one file; a folder that lacks a task takes it from the model that ships.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from contracts.danger import Danger
from services.triage.domain.features import (
    BUCKETS,
    COLUMNS,
    VERSION,
    Floats,
    features,
)

CARD = "card.json"
PLAIN = "ngrams-1"  # how letters are read by `plain.py`; VERSION names how requests are
TASKS = ("category", "tier", "kind", "hotline")
RED_BOUND = 0.25  # a missed red costs more than a false one: far less than one half is enough


class ModelError(ValueError):
    """A model folder that doesn't fit this code: one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Task:
    """One question the model answers: its labels and where their columns stand."""

    name: str
    labels: tuple[str, ...]
    first: int
    temperature: float
    red_bound: float = RED_BOUND  # of the tier: from which probability of red a request is red


@dataclass(frozen=True, slots=True)
class Part:
    """What was trained together: the rarity of each bucket, and weights of one or more tasks."""

    rarity: Floats
    weights: Floats  # COLUMNS × labels of all its tasks
    bias: Floats
    tasks: tuple[Task, ...]  # their columns, counted within this part


@dataclass(frozen=True)
class LinearModel:
    """All tasks' weights: for each part one gather and one product answer all its questions."""

    version: str
    tasks: Mapping[str, Task]
    parts: tuple[Part, ...]
    combinations: npt.NDArray[np.int64]  # one row of label indices, in the order of TASKS, each

    @classmethod
    def load(cls, folder: Path, shipped: Path | None = None) -> LinearModel:
        """Read a model folder; tasks that it lacks come from `shipped`. Raises ModelError."""
        card = read_card(folder)
        own = [name for name in TASKS if name in card["tasks"]]
        missing = [name for name in TASKS if name not in own]
        parts, cards = parts_of(folder, card, own), [card]
        if missing:
            if shipped is None:
                raise ModelError(f"{folder}: has no model for {', '.join(missing)}")
            cards.append(read_card(shipped))
            parts += parts_of(shipped, cards[1], missing)
        versions = [
            str(one["tasks"][name]["version"])
            for one, names in zip(cards, (own, missing), strict=False)
            for name in names
        ]
        combinations = [row for one in cards for row in one.get("combinations", ())]
        return cls.of(parts, combinations, "+".join(dict.fromkeys(versions)))

    @classmethod
    def of(
        cls, parts: Sequence[Part], combinations: Sequence[Sequence[str]], version: str
    ) -> LinearModel:
        """A model of `parts`, which answer each of TASKS once, for combinations named by label."""
        tasks: dict[str, Task] = {}
        first = 0
        for part in parts:
            for task in part.tasks:
                tasks[task.name] = replace(task, first=first + task.first)
            first += len(part.bias)
        rows = {
            tuple(tasks[name].labels.index(label) for name, label in zip(TASKS, row, strict=True))
            for row in combinations
            if all(label in tasks[name].labels for name, label in zip(TASKS, row, strict=True))
        }
        if not rows:
            raise ModelError(f"{version}: its labels never occur together; train it anew")
        known = np.array(sorted(rows), dtype=np.int64)
        return cls(version, {name: tasks[name] for name in TASKS}, tuple(parts), known)

    def scores(self, prepared: str, danger: Danger | None) -> Floats:
        """The raw score of every label of every task for a prepared text."""
        found = []
        for part in self.parts:
            row = features(prepared, danger, part.rarity)
            found.append(row.values @ part.weights[row.columns] + part.bias)
        return found[0] if len(found) == 1 else np.concatenate(found)

    def decide(self, scores: Floats) -> dict[str, dict[str, float]]:
        """The probability of each label of each task, decided together.

        Only combinations that occur in the training requests count (a thank-you is never red, a
        doctor's question never the police's): what one task knows well so helps the others.
        """
        # The tasks' own normalisations are the same for every combination and fall out.
        joint = np.zeros(len(self.combinations), dtype=np.float64)
        for column, task in enumerate(self.tasks.values()):
            own = scores[task.first : task.first + len(task.labels)] / task.temperature
            joint += own[self.combinations[:, column]]
        joint = np.exp(joint - joint.max())
        joint /= joint.sum()
        decided: dict[str, dict[str, float]] = {}
        for column, name in enumerate(TASKS):
            labels = self.tasks[name].labels
            sums = np.bincount(self.combinations[:, column], joint, len(labels))
            decided[name] = dict(zip(labels, sums.tolist(), strict=True))
        return decided


def read_card(folder: Path) -> dict[str, Any]:
    """The card of a model folder. Raises ModelError."""
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
        tasks = card["tasks"]
        wrong = {str(one["features"]) for one in tasks.values()} - {VERSION, PLAIN}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{folder}: no readable model ({type(error).__name__}); `jieyou train` makes one, and"
            " python -m services.triage.training.build the one that ships"
        ) from None
    if wrong:
        raise ModelError(f"{folder}: made for {', '.join(sorted(wrong))}; train it anew")
    return card


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a model's file, none of them an object. Raises ModelError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, BadZipFile, AttributeError) as error:
        raise ModelError(f"{path}: no readable arrays ({type(error).__name__})") from None


def parts_of(
    folder: Path, card: Mapping[str, Any], names: Sequence[str], fold: int | None = None
) -> list[Part]:
    """The arrays of the tasks `names` of a folder, or of a `fold`: what its cross-validation fitted
    to all texts but those. Raises ModelError."""
    by_file: dict[Path, list[Task]] = {}
    for name in names:
        told = card["tasks"][name]
        file = told["arrays"] if fold is None else told["folds"][fold]
        labels = tuple(map(str, told["labels"]))
        bound = float(told.get("red_bound", RED_BOUND))
        task = Task(name, labels, int(told["first"]), float(told["temperature"]), bound)
        # The card may name a file of its own folder and no other.
        by_file.setdefault(folder / Path(str(file)).name, []).append(task)
    return [_part(path, tasks) for path, tasks in by_file.items()]


def _part(path: Path, tasks: Sequence[Task]) -> Part:
    arrays = read_arrays(path)
    try:
        weights, bias, rarity = whole(arrays, BUCKETS, COLUMNS)
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise ModelError(f"{path}: its arrays don't fit ({type(error).__name__})") from None
    columns = [at for task in tasks for at in range(task.first, task.first + len(task.labels))]
    if not columns or max(columns) >= len(bias):
        raise ModelError(f"{path}: has fewer labels than its card names")
    if columns != list(range(len(bias))):
        weights, bias = np.ascontiguousarray(weights[:, columns]), bias[columns]
    placed, first = [], 0
    for task in tasks:
        placed.append(replace(task, first=first))
        first += len(task.labels)
    return Part(rarity, weights, bias, tuple(placed))


def whole(
    arrays: Mapping[str, npt.NDArray[Any]], buckets: int, columns: int
) -> tuple[Floats, Floats, Floats]:
    """Weights, bias and rarity in full from the rows and bytes that are kept (see `kept`)."""
    rows, bias = arrays["rows"], arrays["bias"].astype(np.float32)
    weights = np.zeros((columns, len(bias)), dtype=np.float32)
    weights[rows] = arrays["weights"].astype(np.float32) * arrays["scale"]
    rarity = np.zeros(buckets, dtype=np.float32)  # unseen pieces say nothing, nor count as length
    rarity[rows[rows < buckets]] = arrays["rarity"].astype(np.float32)
    return weights, bias, rarity


def kept(weights: Floats, bias: Floats, rarity: Floats) -> dict[str, npt.NDArray[Any]]:
    """What is written of a model: the rows that say something, in 8 bits with a scale a label."""
    rows = np.flatnonzero(np.abs(weights).max(axis=1) > 0)
    scale = np.maximum(np.abs(weights).max(axis=0) / 127, 1e-12).astype(np.float32)
    return {
        "rows": rows.astype(np.int32),
        "weights": np.rint(weights[rows] / scale).astype(np.int8),
        "scale": scale,
        "bias": bias.astype(np.float32),
        "rarity": rarity[rows[rows < len(rarity)]].astype(np.float16),
    }


__all__ = ["CARD", "PLAIN", "RED_BOUND", "TASKS", "LinearModel", "ModelError", "Part", "Task"]
