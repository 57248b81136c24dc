"""A document with its events, in memory: what decisions are recorded on. Does no I/O."""

from datetime import datetime
from typing import Any, Generic, Protocol, TypeVar

from contracts.envelope import Event, EventData
from contracts.ids import event_id


class Foldable(Protocol):
    """A document that is folded from its events (`contracts.lifecycle`)."""

    document_id: str
    case_no: str
    seq: int
    lc: int
    causes: dict[str, list[str]]

    def apply(self, event: Event) -> None:
        """Apply the next event."""
        ...


D = TypeVar("D", bound=Foldable)


class Kept(Generic[D]):
    """A document with its events, as it was read or as it is about to be written."""

    def __init__(self, document: D, events: list[Event], published_through: int) -> None:
        self.document = document
        self.events = events
        self.stored_seq = document.seq
        self.published_through = published_through
        self.is_remembered = False
        """Whether it comes from a cache, so that the store may hold a newer one."""

    @property
    def is_new(self) -> bool:
        """Whether the store does not hold it yet."""
        return self.stored_seq == 0

    @property
    def fresh(self) -> list[Event]:
        """The events that are not stored yet."""
        return self.events[self.stored_seq :]

    @property
    def unpublished(self) -> list[Event]:
        """The events above `published_through`, in `seq` order."""
        return self.events[self.published_through :]

    def of_cause(self, cause: str) -> list[Event]:
        """Return the events that a cause had here: an input that comes again has no others."""
        ids = set(self.document.causes.get(cause, ()))
        return [event for event in self.events if event.id in ids]

    def record(
        self,
        data_type: type[EventData],
        *,
        cause: str,
        now: datetime,
        after: EventData | None = None,
        occurred_at: datetime | None = None,
        traceparent: str | None = None,
        **fields: Any,
    ) -> Event:
        """Append the event of a type that a cause has; it is stored with the next `save`.

        `after` is the event that it answers: its Lamport clock is passed.
        """
        document = self.document
        ordinal = sum(event.type == data_type.type for event in self.of_cause(cause))
        data = data_type(
            case_no=document.case_no,
            document_id=document.document_id,
            seq=document.seq + 1,
            lc=max(document.lc, after.lc if after else 0) + 1,
            caused_by=cause,
            occurred_at=occurred_at or now,
            recorded_at=now,
            **fields,
        )
        id_ = event_id(document.case_no, document.document_id, data.type, cause, ordinal)
        event = Event.of(id_, data, traceparent)
        document.apply(event)
        self.events.append(event)
        return event
