"""The profile's own words: for which category they speak and which needs they name."""

from __future__ import annotations

import re

from contracts.danger import Danger, lexicon_pattern
from contracts.profile import Profile

SHARE = 0.35  # of a word's weight that is added to the model's score: the model knows most already
MOST = 2.0  # however many words speak for a category


class Lexicon:
    """Category and need words of a profile, ready to be looked for."""

    def __init__(self, profile: Profile) -> None:
        self._categories = [
            (category.code, [(word.word.lower(), word.weight) for word in category.lexicon])
            for category in profile.categories
        ]
        self._needs = [
            (
                need.code,
                re.compile("|".join(map(lexicon_pattern, need.words))),
                re.compile("|".join(map(lexicon_pattern, need.not_words)))
                if need.not_words
                else None,
            )
            for need in profile.needs
        ]

    def speaks_for(self, text: str) -> dict[str, tuple[float, list[str]]]:
        """Category → (what its words add to the score, the words found) for a normalised text."""
        found: dict[str, tuple[float, list[str]]] = {}
        for code, words in self._categories:
            present = [(word, weight) for word, weight in words if word in text]
            if present:
                gain = min(MOST, SHARE * sum(weight for _, weight in present))
                found[code] = (gain, [word for word, _ in present])
        return found

    def needs(self, text: str, danger: Danger | None) -> tuple[str, ...]:
        """Codes of the needs that the words or the danger signs name, in the profile's order."""
        by_sign = {sign.need for sign in danger.signs} if danger else set()
        return tuple(
            code
            for code, words, exceptions in self._needs
            if code in by_sign
            or (words.search(text) and not (exceptions and exceptions.search(text)))
        )
