"""Reading what citizens wrote: one spelling for matching, without losing where each word stood.

Only changes that keep or map positions are made, so that a sign found in the normalised text can
be shown in the citizen's own words.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import opencc

# Invisible characters split words for a matcher though nobody sees them; tags are no words at all.
_REMOVED = re.compile(
    r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
    r"|</?[A-Za-z!][^<>]{0,300}>"
)
# 1:1 replacements: full-width ASCII, ideographic space, capital letters.
_SAME_LENGTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_SAME_LENGTH |= {ord(letter): ord(letter) + 32 for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
_SAME_LENGTH |= {0xFF21 + i: ord("a") + i for i in range(26)}
_SAME_LENGTH |= {0x3000: 0x20, 0x00A0: 0x20, 0x2022: 0x20}


@dataclass(frozen=True, slots=True)
class Normalised:
    """A text in one spelling: simplified characters, half-width, lower case, nothing invisible.

    `offsets[i]` is the place of character i in the original; None where both are equally long.
    """

    text: str
    offsets: tuple[int, ...] | None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The half-open span of the original text that `text[start:end]` came from."""
        if self.offsets is None or start >= end:
            return start, end
        return self.offsets[start], self.offsets[end - 1] + 1


@cache
def _converter() -> opencc.OpenCC:
    """Traditional to simplified; loading its dictionaries costs milliseconds, so once a process."""
    return opencc.OpenCC("t2s")


def _simplified(text: str) -> str:
    converted: str = _converter().convert(text)
    if len(converted) == len(text):
        return converted
    # A phrase that changed its length would shift every later span: fall back to single characters.
    single = [str(_converter().convert(character)) for character in text]
    return "".join(s if len(s) == 1 else c for s, c in zip(single, text, strict=True))


def normalise(text: str) -> Normalised:
    """Bring `text` into one spelling for matching. Never raises; lone surrogates become `?`."""
    offsets: tuple[int, ...] | None = None
    if _REMOVED.search(text):
        kept: list[int] = []
        at = 0
        for gap in _REMOVED.finditer(text):
            kept.extend(range(at, gap.start()))
            at = gap.end()
        kept.extend(range(at, len(text)))
        offsets = tuple(kept)
        text = "".join(map(text.__getitem__, kept))
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8")
        text = _simplified(text)
    return Normalised(text.translate(_SAME_LENGTH), offsets)
