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

    def __init__(
        self,
        document: D,
        events: list[Event],
        published_through: int,
        *,
        is_redacted: bool = False,
        is_erased: bool = False,
    ) -> None:
        self.document = document
        self.events = events
        self.stored_seq = document.seq
        self.published_through = published_through
        self.is_remembered = False
        """Whether it comes from a cache, so that the store may hold a newer one."""
        self.is_redacted = is_redacted
        """Whether the stored document holds redacted events alone."""
        self._is_erased = is_redacted or is_erased

    @property
    def is_erased(self) -> bool:
        """Whether the case's person is erased: nothing personal is recorded any more."""
        return self._is_erased or bool(getattr(self.document, "erased", False))

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
        holds_nothing_personal: bool = False,
        **fields: Any,
    ) -> Event:
        """Append the event of a type that a cause has; it is stored with the next `save`.

        `after` is the event that it answers: its Lamport clock is passed. Of an erased case an
        event is redacted from the start, so that there is nothing to redact later;
        `holds_nothing_personal` says that its fields, personal as they may be elsewhere, are free
        of it here and stay.
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
        if self.is_erased:
            event = _free_of(event) if holds_nothing_personal else event.redacted()
        document.apply(event)
        if self.is_erased and not event.data.rev:  # this very event is the erasure
            event = event.redacted()
        self.events.append(event)
        return event


def _free_of(event: Event) -> Event:
    """Return an event that holds nothing personal as one that is redacted."""
    data = event.data.model_copy(update={"rev": 1})
    return Event.of(event.id, data, event.traceparent)
