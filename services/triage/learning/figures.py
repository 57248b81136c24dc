"""Figures of what was said against what is right. Pure; shares are between 0 and 1."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

BINS = 10


@dataclass(frozen=True, slots=True)
class LabelFigures:
    """How one label fares: how often it is right, said, and both at once."""

    there: int
    said: int
    hits: int

    @property
    def precision(self) -> float:
        return self.hits / self.said if self.said else 0.0

    @property
    def recall(self) -> float:
        return self.hits / self.there if self.there else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.hits / (self.there + self.said) if self.there + self.said else 0.0


@dataclass(frozen=True, slots=True)
class Bin:
    """Decisions of like confidence: how many, how sure on average, how often right."""

    count: int
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What a classification is worth. `labels` has every label that is right somewhere or said."""

    count: int
    accuracy: float
    macro_f1: float
    labels: dict[str, LabelFigures]
    confusion: dict[tuple[str, str], int]  # (right, said) -> how often
    bins: tuple[Bin, ...]
    calibration_error: float  # ECE: the mean gap between confidence and being right


def figures(
    truth: Sequence[Sequence[str]], said: Sequence[str], confidences: Sequence[float]
) -> Figures:
    """Compare. Of several right labels the one that was said counts, else the first.

    The macro mean is over the labels that are right somewhere: one that is only ever said wrongly
    costs the others precision, but has no recall to speak of.
    """
    right = [s if s in labels else labels[0] for labels, s in zip(truth, said, strict=True)]
    confusion = Counter(zip(right, said, strict=True))
    there, named = Counter(right), Counter(said)
    labels = {
        label: LabelFigures(there[label], named[label], confusion[label, label])
        for label in sorted({*right, *said})
    }
    known = [one.f1 for one in labels.values() if one.there]
    hits = np.array([r == s for r, s in zip(right, said, strict=True)], dtype=np.float64)
    bins = _bins(np.asarray(confidences, dtype=np.float64), hits)
    total = len(right)
    return Figures(
        count=total,
        accuracy=float(hits.mean()) if total else 0.0,
        macro_f1=sum(known) / len(known) if known else 0.0,
        labels=labels,
        confusion=dict(confusion),
        bins=bins,
        calibration_error=sum(b.count * abs(b.confidence - b.right) for b in bins) / (total or 1),
    )


def _bins(confidences: npt.NDArray[np.float64], hits: npt.NDArray[np.float64]) -> tuple[Bin, ...]:
    places = np.clip((confidences * BINS).astype(int), 0, BINS - 1)
    return tuple(
        Bin(int(there.sum()), float(confidences[there].mean()), float(hits[there].mean()))
        for there in (places == number for number in range(BINS))
        if there.any()
    )


def area_under_curve(scores: npt.ArrayLike, positive: npt.ArrayLike) -> float:
    """How often a like pair scores above an unlike one (ties count half); NaN without both kinds.

    The area under the ROC curve, by ranks (Mann and Whitney).
    """
    values = np.asarray(scores, dtype=np.float64)
    like = np.asarray(positive, dtype=bool)
    count, others = int(like.sum()), int((~like).sum())
    if not count or not others:
        return float("nan")
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return float((ranks[like].sum() - count * (count + 1) / 2) / (count * others))
