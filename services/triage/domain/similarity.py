"""How alike two texts are: their wording, what they ask about, and, if given, their meaning.

Two questions with almost the same characters may ask different things (what it costs, what it
does), and two that share few may ask the same. So the score weighs, besides the overlap of
characters and the cosine of embeddings, whether both ask after the same aspect, numbers, negation.

Everything about one text is computed once (`Wording`); a comparison then is sets and one product.
Pure.
"""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contracts.text import normalise
from services.triage.domain.aspects import aspects_of, topic_of

PERMUTATIONS = 64
BANDS = 16  # of 4 rows each: pairs of Jaccard 0.5 meet in one with 64 %, of 0.7 with 98 %
_SHINGLE = 2

_CHANCE = np.random.default_rng(20220111)
_FACTORS = _CHANCE.integers(1, 2**63, PERMUTATIONS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_SHIFTS = _CHANCE.integers(0, 2**63, PERMUTATIONS, dtype=np.uint64)


@dataclass(frozen=True)
class Wording:
    """What a text shows of its wording, computed once."""

    characters: frozenset[str]
    pairs: frozenset[str]
    topic: frozenset[str]  # characters left without questions' own words and aspects
    topic_pairs: frozenset[str]
    aspects: frozenset[str]

    @classmethod
    def of(cls, text: str) -> Wording:
        """Read a text. Never raises on any text."""
        plain = "".join(normalise(text).text.split())
        topic = topic_of(plain)
        bare = re.sub(r"[^\w]", "", plain)
        return cls(
            characters=frozenset(bare),
            pairs=_shingles(bare),
            topic=frozenset(topic),
            topic_pairs=_shingles(topic),
            aspects=aspects_of(plain),
        )

    def overlap(self, other: Wording) -> float:
        """Characters of both among those of either (Jaccard)."""
        return _jaccard(self.characters, other.characters)


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two texts are, between 0 and 1, and by what."""

    score: float
    overlap: float  # of characters
    aspects: frozenset[str]  # what both ask after
    cosine: float | None  # of their embeddings, where these were given


# Log-odds of "asks the same" for: shared characters, shared pairs, shared pairs of the topic, the
# squared cosine above 0.75, topic times aspects, aspects that only one asks after; and the bias.
# Fitted to 8,747 pairs of questions about illness and medicine; in five folds by question the area
# under the curve was 0.954 with meaning and 0.925 without (characters alone 0.878, cosine 0.935).
WITH_MEANING = (4.4, -4.8, -1.7, 16.4, 1.8, -1.5, -12.0)
BY_WORDING = (10.1, -5.5, 1.2, 0.0, 2.8, -2.4, -3.9)


def likeness(first: Wording, second: Wording, cosine: float | None = None) -> Likeness:
    """Compare two texts; `cosine` is that of their embeddings, or None without any."""
    weights = BY_WORDING if cosine is None else WITH_MEANING
    values = (*traits(first, second, cosine), 1.0)
    odds = sum(weight * value for weight, value in zip(weights, values, strict=True))
    return Likeness(
        1 / (1 + math.exp(-odds)), first.overlap(second), first.aspects & second.aspects, cosine
    )


def traits(first: Wording, second: Wording, cosine: float | None) -> tuple[float, ...]:
    """What the score weighs, in the order of the weights, without the bias."""
    either = first.aspects | second.aspects
    aspects = _jaccard(first.aspects, second.aspects) if either else 0.5
    topic = _jaccard(first.topic, second.topic) if first.topic or second.topic else 1.0
    pairs = _dice(first.topic_pairs, second.topic_pairs)
    meaning = 0.0 if cosine is None else max((cosine - 0.75) / 0.25, 0.0)
    return (
        first.overlap(second),
        _dice(first.pairs, second.pairs),
        pairs if first.topic_pairs else topic,
        meaning * meaning,
        topic * aspects,
        len(first.aspects ^ second.aspects) / 4,
    )


def signature(text: str) -> npt.NDArray[np.uint64]:
    """The MinHash of a text's pairs of characters: equal places estimate their Jaccard overlap.

    The same on every machine and in every process, so that it may be kept and compared later.
    """
    pairs = sorted(Wording.of(text).pairs) or [""]
    hashes = np.array([_number(pair.encode("utf-8", "replace")) for pair in pairs], dtype=np.uint64)
    lowest: npt.NDArray[np.uint64] = (hashes[:, None] * _FACTORS + _SHIFTS).min(axis=0)
    return lowest


def band_keys(minhash: npt.NDArray[np.uint64]) -> tuple[str, ...]:
    """Keys by which texts that overlap meet: those of alike texts share at least one."""
    rows = minhash.reshape(BANDS, PERMUTATIONS // BANDS)
    return tuple(f"{band}:{_number(row.tobytes()):016x}" for band, row in enumerate(rows))


def _number(content: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest())


def _shingles(text: str) -> frozenset[str]:
    return frozenset(text[i : i + _SHINGLE] for i in range(len(text) - _SHINGLE + 1))


def _jaccard(first: frozenset[str], second: frozenset[str]) -> float:
    either = len(first | second)
    return len(first & second) / either if either else 0.0


def _dice(first: frozenset[str], second: frozenset[str]) -> float:
    total = len(first) + len(second)
    return 2 * len(first & second) / total if total else 0.0
