"""Finds the documents that answer a question: BM25 over characters, and meaning where it is given.

Each passage has a heading (a question, a title) and a body (its answer, its text). A document is
as good as its best passage. BM25 is that of Robertson and Zaragoza (The Probabilistic Relevance
Framework, 2009), over single characters and pairs of them, which need no dictionary of words.
Pure, and numpy alone.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from contracts.text import normalise
from services.triage.domain.features import Floats

K1 = 1.2
B = 0.6

# What a match is worth, where the share of a question's pieces that a heading has is worth 1.
# Few, round and chosen on 2,616 questions about policy documents; the best place of any is flat.
BODY = 0.25
HEADING_MEANING = 3.0  # times the cosine
SAME_PLACE = 0.3  # both name one place; the same is taken off where they name different ones
ONE_PLACE = 0.15  # taken off where only one names any
SAME_NAME = 0.2  # both name one office, firm or document
_NO_WORD = re.compile(r"[^\w]+")
_PROVINCES = (
    "北京 天津 上海 重庆 河北 山西 辽宁 吉林 黑龙江 江苏 浙江 安徽 福建 江西 山东 河南 湖北 湖南"
    " 广东 海南 四川 贵州 云南 陕西 甘肃 青海 台湾 内蒙古 广西 西藏 宁夏 新疆 香港 澳门"
)
_PLACE = re.compile(f"{'|'.join(_PROVINCES.split())}|[\u4e00-\u9fff]{{2}}(?=[市县区州])")
_NAME = re.compile(
    r"《[^》]{2,60}》|[\u4e00-\u9fff]{2,4}"
    r"(?:部|局|委|厅|署|办|公司|银行|大学|医院|集团|协会|法院|检察院|平台|码|基金)"
)
_PIECE = re.compile(r"[a-z]+|[0-9]+|[^\W\da-z_]")

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of a document: what it is about, and what it says."""

    document: str
    heading: str
    body: str


def pieces(text: str) -> list[str]:
    """Characters and pairs of neighbours of a text; Latin words and numbers count as one each."""
    found: list[str] = []
    for run in _NO_WORD.split(normalise(text).text):
        single = _PIECE.findall(run)
        found += single
        found += [first + second for first, second in pairwise(single)]
    return found


class Bm25:
    """An index of texts by their pieces."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = [Counter(pieces(text)) for text in texts]
        lengths = np.array([sum(one.values()) for one in counts], dtype=np.float64)
        self.count = len(texts)
        spread = 1 - B + B * lengths / (lengths.mean() if lengths.any() else 1.0)
        numbers_of: dict[str, list[int]] = defaultdict(list)
        times: dict[str, list[int]] = defaultdict(list)
        for number, one in enumerate(counts):
            for piece, often_there in one.items():
                numbers_of[piece].append(number)
                times[piece].append(often_there)
        self._postings: dict[str, tuple[npt.NDArray[np.int64], Doubles]] = {}
        self._rarity: dict[str, float] = {}
        for piece, numbers in numbers_of.items():
            at, often = np.array(numbers), np.array(times[piece], dtype=np.float64)
            rarity = math.log(1 + (self.count - len(numbers) + 0.5) / (len(numbers) + 0.5))
            self._rarity[piece] = rarity
            self._postings[piece] = (at, rarity * often * (K1 + 1) / (often + K1 * spread[at]))

    def scores(self, asked: Sequence[str]) -> Doubles:
        """The score of every text for the pieces of a question."""
        found = np.zeros(self.count)
        for piece in set(asked):
            if piece in self._postings:
                places, worth = self._postings[piece]
                found[places] += worth
        return found

    def most(self, asked: Sequence[str]) -> float:
        """What a text that has every piece of the question could about score."""
        unknown = math.log(1 + (self.count + 0.5) / 0.5)
        return sum(self._rarity.get(piece, unknown) for piece in set(asked)) or 1.0


class _Names:
    """Which texts name what: places, or offices and documents."""

    def __init__(self, pattern: re.Pattern[str], texts: Sequence[str]) -> None:
        self._pattern = pattern
        self.anything = np.zeros(len(texts), dtype=bool)
        self._where: dict[str, list[int]] = defaultdict(list)
        for number, text in enumerate(texts):
            for name in set(pattern.findall(text)):
                self._where[name].append(number)
                self.anything[number] = True

    def of(self, question: str) -> tuple[bool, npt.NDArray[np.bool_]]:
        """Whether the question names anything, and which texts name the same."""
        same = np.zeros(len(self.anything), dtype=bool)
        names = set(self._pattern.findall(question))
        for name in names:
            same[self._where.get(name, [])] = True
        return bool(names), same


class PassageIndex:
    """Passages ready to be searched, by wording and, where vectors are given, by meaning."""

    def __init__(self, passages: Sequence[Passage], vectors: Floats | None = None) -> None:
        """`vectors` are those of the headings (unit length, one row each)."""
        self._passages = passages
        headings = [one.heading for one in passages]
        self._headings = Bm25(headings)
        self._bodies = Bm25([one.body for one in passages])
        self._places = _Names(_PLACE, headings)
        self._names = _Names(_NAME, headings)
        self._vectors = vectors

    def search(self, question: str, first: int, vector: Floats | None = None) -> list[str]:
        """The `first` best documents for a question, the best first; `vector` is its meaning."""
        return self._best(self._scores(question, vector), first)

    def search_like(self, number: int, first: int, *, plain: bool = False) -> list[str]:
        """Search with the heading of a passage as if that were not there; `plain`: BM25 alone."""
        heading = self._passages[number].heading
        if plain:
            scores = self._headings.scores(pieces(heading))
        else:
            vector = self._vectors[number] if self._vectors is not None else None
            scores = self._scores(heading, vector)
        scores[number] = -np.inf
        return self._best(scores, first)

    def _scores(self, question: str, vector: Floats | None) -> Doubles:
        asked = pieces(question)
        scores = self._headings.scores(asked) / self._headings.most(asked)
        scores += BODY * self._bodies.scores(asked) / self._bodies.most(asked)
        if self._vectors is not None and vector is not None:
            scores += HEADING_MEANING * (self._vectors @ vector)
        has_place, same_place = self._places.of(question)
        scores += SAME_PLACE * same_place
        scores -= SAME_PLACE * (self._places.anything & ~same_place & has_place)
        scores -= ONE_PLACE * (self._places.anything != has_place)
        scores += SAME_NAME * self._names.of(question)[1]
        return scores

    def _best(self, scores: Doubles, first: int) -> list[str]:
        found: list[str] = []
        for number in np.argsort(-scores, kind="stable"):
            if not np.isfinite(scores[number]):
                break
            document = self._passages[number].document
            if document not in found:
                found.append(document)
                if len(found) == first:
                    break
        return found
