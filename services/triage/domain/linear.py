"""The shipped linear model: plain arrays, read without pickle, applied with numpy alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from services.triage.domain.features import (
    BUCKETS,
    COLUMNS,
    VERSION,
    Features,
    Floats,
)

ARRAYS = "classifier.npz"
CARD = "card.json"
TASKS = ("category", "tier", "kind", "hotline")


class ModelError(ValueError):
    """A model folder that doesn't fit this code: one line that says what to do."""


@dataclass(frozen=True, slots=True)
class Task:
    """One question the model answers: its labels and where their columns stand."""

    name: str
    labels: tuple[str, ...]
    first: int
    temperature: float


@dataclass(frozen=True)
class LinearModel:
    """Weights of all tasks side by side: one gather and one product answer all questions."""

    version: str
    tasks: Mapping[str, Task]
    rarity: Floats
    weights: Floats  # COLUMNS × all labels
    bias: Floats
    combinations: npt.NDArray[np.int64]  # one row of label indices, in the order of TASKS, each

    @classmethod
    def load(cls, folder: Path) -> LinearModel:
        """Read arrays and card of a model folder. Raises ModelError if they don't fit."""
        try:
            card = json.loads((folder / CARD).read_text(encoding="utf-8"))
            with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
                rows, quantised = arrays["rows"], arrays["weights"]
                scale, bias, rarity = arrays["scale"], arrays["bias"], arrays["rarity"]
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(
                f"{folder}: no readable model ({type(error).__name__}); build it with"
                " python -m services.triage.training.build"
            ) from None
        if card["features"] != VERSION:
            raise ModelError(f"{folder}: made for {card['features']}, not {VERSION}; build it anew")
        weights = np.zeros((COLUMNS, len(bias)), dtype=np.float32)
        weights[rows] = quantised.astype(np.float32) * scale
        tasks: dict[str, Task] = {}
        first = 0
        for name in TASKS:
            labels = tuple(card["tasks"][name]["labels"])
            tasks[name] = Task(name, labels, first, card["tasks"][name]["temperature"])
            first += len(labels)
        full = np.zeros(BUCKETS, dtype=np.float32)  # unseen pieces say nothing, nor count as length
        full[rows[rows < BUCKETS]] = rarity.astype(np.float32)
        combinations = np.array(
            [
                [tasks[name].labels.index(label) for name, label in zip(TASKS, row, strict=True)]
                for row in card["combinations"]
            ],
            dtype=np.int64,
        )
        return cls(card["version"], tasks, full, weights, bias.astype(np.float32), combinations)

    def scores(self, features: Features) -> Floats:
        """The raw score of every label of every task."""
        scores: Floats = features.values @ self.weights[features.columns] + self.bias
        return scores

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


__all__ = ["ARRAYS", "CARD", "TASKS", "LinearModel", "ModelError", "Task"]
