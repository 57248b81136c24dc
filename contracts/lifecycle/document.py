"""What the folds of all documents share: place in the sequence, Lamport clock, causes."""

from dataclasses import dataclass, field

from contracts.envelope import Event, EventData


class OutOfSequence(ValueError):
    """An event was applied that is not the next of its document."""


@dataclass(slots=True)
class Document:
    """A document folded from its owner's events, in `seq` order and without gaps."""

    document_id: str
    case_no: str
    seq: int = 0
    lc: int = 0
    causes: dict[str, list[str]] = field(default_factory=dict)
    """Cause → ids of the events that it had: the same input decides once."""

    def advance(self, event: Event) -> None:
        """Take the place of the next event. Raises OutOfSequence if it is not the next."""
        data = event.data
        if data.seq != self.seq + 1 or data.document_id != self.document_id:
            raise OutOfSequence(f"{data.document_id} has seq {self.seq}, not {data.seq} before")
        self.seq += 1
        self.lc = max(self.lc, data.lc)
        self.causes.setdefault(data.caused_by, []).append(event.id)

    def has_cause(self, cause: str) -> bool:
        """Whether something was decided for this cause already."""
        return cause in self.causes


def next_lc(document: Document, cause: EventData | None) -> int:
    """Return the Lamport clock of an event that follows the document and its cause."""
    return max(document.lc, cause.lc if cause else 0) + 1
