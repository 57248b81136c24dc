"""A case as reporting holds it: the set of its events, and what was counted of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from zlib import crc32

from contracts.envelope import Event
from services.reporting.domain.buckets import Figures

_SEPARATOR = "~"


class Taken(Enum):
    """What became of an event that was taken in."""

    NEW = auto()
    REPEATED = auto()
    CONFLICTING = auto()


@dataclass(slots=True)
class KnownCase:
    """A case with its events by key, and what was counted of it.

    An event has its id as key. Other bytes under the same id and `rev` are kept beside it, so that
    the state, which says `double` of them, is the same whichever came first; a redaction drops
    both.
    """

    case_no: str
    events: dict[str, Event] = field(default_factory=dict)
    counted: Figures = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)
    is_stored: bool = False
    is_folded: bool = True
    """Whether its state could be computed; if not, that is tried again with whatever comes next,
    a repetition too."""
    has_changed: bool = False
    """Whether it holds something that is not stored yet."""

    def take(self, event: Event) -> Taken:
        """Take an event in. Its place among those held follows from its fields alone."""
        known = self.events.get(event.id)
        if known is None:
            self._put(event.id, event)
            return Taken.NEW
        if event.data.rev < known.data.rev:
            return Taken.REPEATED
        if event.data.rev > known.data.rev:
            for key in list(self._beside(event.id)):
                del self.events[key]
            self._put(event.id, event)
            return Taken.NEW
        beside = f"{event.id}{_SEPARATOR}{crc32(event.encoded):08x}"
        if event.encoded == known.encoded or beside in self.events:
            return Taken.REPEATED
        self._put(beside, event)
        return Taken.CONFLICTING

    def settle(self, facts: dict[str, object], counted: Figures) -> None:
        """All of it is stored now, with these facts and this contribution."""
        self.facts, self.counted = facts, counted
        self.has_changed, self.is_stored = not self.is_folded, True

    def _put(self, key: str, event: Event) -> None:
        self.events[key] = event
        self.has_changed = True

    def _beside(self, event_id: str) -> Iterator[str]:
        prefix = event_id + _SEPARATOR
        return (key for key in self.events if key.startswith(prefix))
