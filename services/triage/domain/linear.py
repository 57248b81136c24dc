"""The shipped linear model: plain arrays, read without pickle, applied with numpy alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.triage.domain.features import (
    BUCKETS,
    COLUMNS,
    VERSION,
    Features,
    Floats,
    grams,
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
        return cls(card["version"], tasks, full, weights, bias.astype(np.float32))

    def scores(self, features: Features) -> Floats:
        """The raw score of every label of every task."""
        scores: Floats = features.values @ self.weights[features.columns] + self.bias
        return scores

    def shares(self, task: str, scores: Floats) -> Floats:
        """The probability of each label of `task`, calibrated by its temperature."""
        asked = self.tasks[task]
        own = scores[asked.first : asked.first + len(asked.labels)] / asked.temperature
        powers = np.exp(own - own.max())
        shares: Floats = powers / powers.sum()
        return shares

    def telling(self, prepared: str, task: str, label: str, most: int = 3) -> list[str]:
        """The pieces of the text that spoke most for `label`, the strongest first."""
        asked = self.tasks[task]
        columns = self.weights[:, asked.first : asked.first + len(asked.labels)]
        at = asked.labels.index(label)
        found: list[tuple[float, int, int]] = []
        for length, buckets in enumerate(grams(prepared), 1):
            if length == 1:
                continue
            rows = columns[buckets]
            gains = (rows[:, at] - rows.mean(axis=1)) * self.rarity[buckets]
            for place in np.argsort(gains)[-most * 2 :]:
                found.append((float(gains[place]), int(place) - 1, length))
        return _distinct(f"{prepared} ", sorted(found, reverse=True), most)


def _distinct(text: str, found: list[tuple[float, int, int]], most: int) -> list[str]:
    """The strongest pieces that don't overlap one another."""
    pieces: list[str] = []
    taken: set[int] = set()
    for gain, start, length in found:
        places = set(range(max(start, 0), start + length))
        piece = text[max(start, 0) : start + length].strip()
        if gain <= 0 or len(pieces) == most:
            break
        if piece and not places & taken and piece not in pieces:
            pieces.append(piece)
            taken |= places
    return pieces


__all__ = ["ARRAYS", "CARD", "TASKS", "LinearModel", "ModelError", "Task"]
