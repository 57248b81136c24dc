"""Signs of danger in what a citizen wrote: whom to ring, and where in the text it shows.

Pure and fast, so that intake can answer "ring 120" before anything else happens and triage can
show the words to the desk. The lexicon is the profile's (`danger`); this is its matcher.

A set of character pairs tells which signs can occur at all; expressions, negations, contexts and
words that must stand beside are looked at only for those.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass

from contracts.profile import DangerCause, DangerSign, HotlineCode, Profile
from contracts.text import Normalised, normalise

_GAP = 12  # characters that `…` in a lexicon word may stand for
_BESIDE = 60  # how near a `with_words` must stand
_CONTEXT = 24  # how near, within the sentence, a `not_words` or context must stand
_NEGATED = 10  # characters between a negation and what it denies
_SENTENCE_END = re.compile(r"[。！!？?；;\n]")
_RING_ORDER: tuple[HotlineCode, ...] = ("120", "119", "110", "122", "12345")


@dataclass(frozen=True, slots=True)
class FoundSign:
    """A danger sign with its place in the citizen's own text (half-open span)."""

    code: str
    name: str
    cause: DangerCause
    sure: bool  # enough for red by itself
    start: int
    end: int
    need: str | None
    category: str | None


@dataclass(frozen=True, slots=True)
class Danger:
    """What a text shows of danger: its signs, the main cause and whom to ring."""

    signs: tuple[FoundSign, ...]
    cause: DangerCause  # of the surest, else the first sign
    ring: tuple[HotlineCode, ...]
    say: str  # the sentence for the citizen, in the profile's words
    vulnerable: bool  # somebody old, young, ill or pregnant is named
    version: str  # of the lexicon

    @property
    def sure(self) -> bool:
        """Whether one sign is enough for red by itself."""
        return any(sign.sure for sign in self.signs)


def lexicon_pattern(word: str) -> str:
    """A lexicon word as a regular expression: `…` is a short gap in one clause, `(a|b)` either."""
    parts = re.split(r"([…()|])", word.lower())
    gap = rf"[^。！!？?；;\n]{{0,{_GAP}}}?"
    return "".join(
        gap if part == "…" else part if part in {"(", ")", "|"} else re.escape(part)
        for part in parts
    ).replace("(", "(?:")


def _any_of(words: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(map(lexicon_pattern, words))) if words else None


@dataclass(frozen=True, slots=True)
class _Compiled:
    sign: DangerSign
    words: re.Pattern[str]
    beside: re.Pattern[str] | None
    contexts: re.Pattern[str] | None


class DangerMatcher:
    """The profile's danger lexicon, compiled once. `find` may be called from any thread."""

    def __init__(self, profile: Profile) -> None:
        lexicon = profile.danger
        self._profile = profile
        self._version = lexicon.version
        self._signs = [
            _Compiled(
                sign,
                re.compile("|".join(map(lexicon_pattern, sign.words))),
                _any_of(sign.with_words),
                _any_of(sign.not_words + lexicon.contexts),
            )
            for sign in lexicon.signs
        ]
        heads: dict[str, list[int]] = {}
        for index, sign in enumerate(lexicon.signs):
            for head in {head for word in sign.words for head in _heads(word)}:
                heads.setdefault(head, []).append(index)
        self._heads = heads
        self._vulnerable = _any_of(lexicon.vulnerable)
        negations = "|".join(map(re.escape, lexicon.negations))
        # "没有床位" is the sign itself and "没人送药，呼吸困难" denies nothing about breathing.
        self._denied = re.compile(
            rf"(?:{negations})(?![床人车药医办法电水吃东地])[^。！!？?；;，,\n]{{0,{_NEGATED}}}$"
        )

    def find(self, text: str) -> Danger | None:
        """The danger that `text` shows, or None. Never raises on any text."""
        return self.find_in(normalise(text))

    def find_in(self, normalised: Normalised) -> Danger | None:
        """Like `find`, for a text that was normalised already."""
        text = normalised.text
        # All pairs and single characters of the text at C speed: four times a regex over the words.
        pairs = set(map(operator.add, text, text[1:])).union(text)
        candidates = {index for head in self._heads.keys() & pairs for index in self._heads[head]}
        if not candidates:
            return None
        found: list[FoundSign] = []
        vulnerable: bool | None = None
        for index in sorted(candidates):
            compiled = self._signs[index]
            if compiled.sign.vulnerable:
                if vulnerable is None:
                    vulnerable = self._names_vulnerable(text)
                if not vulnerable:
                    continue
            match = next(
                (m for m in compiled.words.finditer(text) if self._holds(compiled, m)), None
            )
            if match is not None:
                found.append(_found(compiled.sign, *normalised.span(match.start(), match.end())))
        if not found:
            return None
        if vulnerable is None:
            vulnerable = self._names_vulnerable(text)
        return self._danger(found, vulnerable)

    def _holds(self, compiled: _Compiled, match: re.Match[str]) -> bool:
        """Whether a word that stands there also means it: not denied, asked about or mentioned."""
        text, start, end = match.string, match.start(), match.end()
        if self._denied.search(text, max(0, start - _NEGATED - 4), start):
            return False
        if compiled.beside and not compiled.beside.search(
            text, max(0, start - _BESIDE), end + _BESIDE
        ):
            return False
        if compiled.contexts is None:
            return True
        before = text[max(0, start - _CONTEXT) : start]
        after = text[end : end + _CONTEXT]
        before = _SENTENCE_END.split(before)[-1]
        after = _SENTENCE_END.split(after, maxsplit=1)[0]
        return not compiled.contexts.search(before + match.group() + after)

    def _names_vulnerable(self, text: str) -> bool:
        return self._vulnerable is not None and self._vulnerable.search(text) is not None

    def _danger(self, found: list[FoundSign], vulnerable: bool) -> Danger:
        main = next((sign for sign in found if sign.sure), found[0])
        codes = {sign.code for sign in found}
        numbers = {n for c in self._signs if c.sign.code in codes for n in c.sign.ring}
        ring = tuple(number for number in _RING_ORDER if number in numbers)
        return Danger(
            signs=tuple(sorted(found, key=lambda sign: sign.start)),
            cause=main.cause,
            ring=ring,
            say=self._profile.say("danger_ring", numbers="、".join(ring)),
            vulnerable=vulnerable,
            version=self._version,
        )


def _heads(word: str) -> list[str]:
    """The first characters of a word's alternatives: where they are missing it can't stand."""
    start = re.match(r"\(([^()]*)\)", word)
    alternatives = start.group(1).split("|") if start else [re.split(r"[…(]", word)[0]]
    return [alternative.lower()[:2] for alternative in alternatives]


def _found(sign: DangerSign, start: int, end: int) -> FoundSign:
    return FoundSign(
        code=sign.code,
        name=sign.name,
        cause=sign.cause,
        sure=sign.sure,
        start=start,
        end=end,
        need=sign.need,
        category=sign.category,
    )


_matchers: dict[int, DangerMatcher] = {}


def find_danger(text: str, profile: Profile) -> Danger | None:
    """The danger that `text` shows by the profile's lexicon, or None.

    The matcher of a profile is compiled at its first use and kept (it keeps the profile alive, so
    its id stays its own).
    """
    matcher = _matchers.get(id(profile))
    if matcher is None:
        matcher = _matchers[id(profile)] = DangerMatcher(profile)
    return matcher.find(text)
