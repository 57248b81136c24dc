"""A document folded from its published events, as its owner has it in the store."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import Any

from contracts.envelope import Event
from services.chassis.documents import Documents
from services.chassis.store import Fields

DocumentsOf = Callable[[Sequence[Event]], Documents[Any] | None]
"""Says of which kind the document of some events is; None where none is kept of it."""


@dataclass(frozen=True, slots=True)
class Flaw:
    """A document that the topic does not hold whole, and where its restored part ends."""

    document_id: str
    case_no: str
    restored_through: int
    what: str


@dataclass(frozen=True, slots=True)
class Folded:
    """A document: its row as its owner would insert it with all events published; empty where
    not even its first event is there."""

    kind: Documents[Any]
    row: Fields
    case_no: str
    events: int
    causes: frozenset[str]
    flaw: Flaw | None


def folded(
    events: Sequence[Event], documents_of: DocumentsOf, erased: Container[str]
) -> Folded | None:
    """Fold the events of one document, in `seq` order, up to the first gap; None if nothing is
    kept of it.

    Of an erased case what is not redacted yet is redacted now.
    """
    kind = documents_of(events)
    if kind is None:
        return None
    first = events[0].data
    kept = kind.create(first.document_id, first.case_no)
    what: str | None = None
    for event in events:
        seq = event.data.seq or 0
        if seq == kept.document.seq and kept.events[-1].id != event.id:
            what = what or f"two events have seq {seq}"
            continue
        if seq != kept.document.seq + 1:
            what = f"seq {kept.document.seq + 1} is missing, {seq} is there"
            break
        is_late_copy = event.data.case_no in erased and not event.data.rev
        kept.events.append(event.redacted() if is_late_copy and _is_personal(event) else event)
        kept.document.apply(kept.events[-1])
    flaw = Flaw(first.document_id, first.case_no, kept.document.seq, what) if what else None
    return Folded(
        kind,
        kind.insertion(kept, owed_by_offset=True) if kept.events else {},
        first.case_no,
        len(kept.events),
        frozenset(kept.document.causes),
        flaw,
    )


def _is_personal(event: Event) -> bool:
    return event.data.is_of_one_case
