"""A model of one question about longer letters: which government department's class they belong to.

Unlike `linear.py` it knows no danger and no profile: hashed character n-grams alone, read with
numpy and without pickle from the same kind of folder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contracts.text import normalise
from services.triage.domain.features import Features, Floats, grams, weighed
from services.triage.domain.linear import (
    PLAIN,
    ModelError,
    read_arrays,
    read_card,
    whole,
)

BITS = 20
COLUMNS = 1 << BITS
LONGEST = 3  # characters of the longest n-gram
READ = 1_800  # characters looked at: the first 1,500 and the last 300 of a longer text
_TAIL = 300

_SPACE = re.compile(r"\s+")
_DIGITS = re.compile(r"\d")


def prepare(text: str) -> str:
    """A letter in one spelling, digits alike, a very long one shortened in the middle."""
    plain = _SPACE.sub(" ", _DIGITS.sub("0", normalise(text).text)).strip()
    return plain if len(plain) <= READ else plain[: READ - _TAIL] + plain[-_TAIL:]


def features(prepared: str, rarity: Floats) -> Features:
    """The row of a prepared letter; `rarity` is the weight of each bucket."""
    return Features(*weighed(np.concatenate(grams(prepared, LONGEST, BITS)), rarity))


@dataclass(frozen=True)
class PlainModel:
    """Weights of one question: a gather and a product answer it."""

    version: str
    labels: tuple[str, ...]
    temperature: float
    rarity: Floats
    weights: Floats
    bias: Floats

    @classmethod
    def load(cls, folder: Path, task: str, fold: int | None = None) -> PlainModel:
        """Read `task` of a model folder, or a fold of its cross-validation. Raises ModelError."""
        told = read_card(folder)["tasks"].get(task)
        if told is None or told["features"] != PLAIN:
            raise ModelError(f"{folder}: has no model for {task}; `jieyou train` makes one")
        file = told["arrays"] if fold is None else told["folds"][fold]
        path = folder / Path(str(file)).name
        arrays, labels = read_arrays(path), tuple(map(str, told["labels"]))
        try:
            weights, bias, rarity = whole(arrays, COLUMNS, COLUMNS)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise ModelError(f"{path}: its arrays don't fit ({type(error).__name__})") from None
        if len(bias) != len(labels):
            raise ModelError(f"{path}: has not the labels that its card names")
        return cls(told["version"], labels, float(told["temperature"]), rarity, weights, bias)

    def decide(self, text: str) -> tuple[str, float]:
        """The most probable label of a letter, and its probability. Never raises on any text."""
        row = features(prepare(text), self.rarity)
        scores = (row.values @ self.weights[row.columns] + self.bias) / self.temperature
        shares = np.exp(scores - scores.max())
        best = int(shares.argmax())
        return self.labels[best], float(shares[best] / shares.sum())

    def decide_many(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        """`decide` for each text, in their order."""
        return [self.decide(text) for text in texts]
