"""A case as reporting holds it: the set of its events, and what was counted of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from zlib import crc32

from contracts.envelope import Event, encode
from contracts.requests import is_taken_twice
from contracts.triage import CaseErased
from contracts.vocabulary import without_personal
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

    Once the erasure of its person is among them, nothing personal is held, whether the owners'
    redactions have arrived or not; when they do, their higher `rev` wins as ever.
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

    is_erased: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_erased = any(event.type == CaseErased.type for event in self.events.values())

    def take(self, event: Event) -> Taken:
        """Take an event in. Its place among those held follows from its fields alone."""
        if event.type == CaseErased.type and not self.is_erased:
            self._erase()
        if self.is_erased:
            event = _impersonal(event)
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
        return Taken.REPEATED if is_taken_twice(event, known) else Taken.CONFLICTING

    def settle(self, facts: dict[str, object], counted: Figures) -> None:
        """All of it is stored now, with these facts and this contribution."""
        self.facts, self.counted = facts, counted
        self.has_changed, self.is_stored = not self.is_folded, True

    def _erase(self) -> None:
        """Hold what there is without what is personal; what differed in that alone is one."""
        self.is_erased = True
        held, self.events = self.events, {}
        for event in held.values():
            self.take(event)
        self.has_changed = True

    def _put(self, key: str, event: Event) -> None:
        self.events[key] = event
        self.has_changed = True

    def _beside(self, event_id: str) -> Iterator[str]:
        prefix = event_id + _SEPARATOR
        return (key for key in self.events if key.startswith(prefix))


def _impersonal(event: Event) -> Event:
    """Return an event of an erased case as it is held until its owner's redaction is here: without
    what is personal, under the same `rev`, so that the redaction replaces it whatever it says."""
    if event.data.rev or not event.data.is_of_one_case:
        return event
    data = without_personal(event.data)
    return Event(event.id, event.type, data, encode(data), event.traceparent)
