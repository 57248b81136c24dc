"""The state of a case as a pure function of the set of its events.

Order, repetition and delay of delivery do not matter: events are taken once by id (the highest
`rev` wins), each document is folded in `seq` order as far as it goes without a gap, and the
documents are joined by their ids. What is missing is said in `incomplete`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from contracts import handling, requests, triage
from contracts.envelope import Event, EventData, UnknownData
from contracts.feeds import HandoffState
from contracts.lifecycle.case import CaseDocument, Phase
from contracts.lifecycle.document import Document
from contracts.lifecycle.group import GroupDocument
from contracts.lifecycle.handoff import DeliveryDocument, HandoffDocument
from contracts.vocabulary import OutcomeKind


class Status(StrEnum):
    """What people are shown."""

    SUBMITTED = "submitted"
    TRIAGED = "triaged"
    ORDERED = "ordered"
    SENT = "sent"
    SIGNED = "signed"
    IN_PROGRESS = "in_progress"
    ANSWERED = "answered"
    RESOLVED = "resolved"
    NOT_ACCEPTED = "not_accepted"
    WITHDRAWING = "withdrawing"
    WITHDRAWN = "withdrawn"
    FINISHED = "finished"
    CLOSED = "closed"


@dataclass(slots=True)
class CaseState:
    """A case with all that happened to it, as far as it has been seen."""

    case_no: str
    status: Status = Status.SUBMITTED
    submission: requests.RequestSubmitted | None = None
    case: CaseDocument | None = None
    handoffs: dict[str, HandoffDocument] = field(default_factory=dict)
    deliveries: dict[str, DeliveryDocument] = field(default_factory=dict)
    groups: dict[str, GroupDocument] = field(default_factory=dict)
    open_wishes: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    double: tuple[str, ...] = ()
    unknown_types: tuple[str, ...] = ()
    timeline: tuple[Event, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether nothing that was named is missing."""
        return not self.incomplete


def state_of(case_no: str, events: Iterable[Event]) -> CaseState:
    """Return the state of a case. `events` may repeat and come in any order."""
    state = CaseState(case_no)
    chosen, double = _once(events)
    documents, folded_incomplete, double_seq = _fold(state, chosen.values())
    _join_requests(state, chosen)
    state.timeline = tuple(
        sorted(chosen.values(), key=lambda e: (e.data.lc, e.data.occurred_at, e.id))
    )
    state.unknown_types = tuple(
        sorted({e.type for e in chosen.values() if isinstance(e.data, UnknownData)})
    )
    state.incomplete = tuple(sorted([*folded_incomplete, *_unseen(state, chosen, documents)]))
    state.double = tuple(sorted([*double, *double_seq]))
    state.status = status_of(state)
    return state


def _once(events: Iterable[Event]) -> tuple[dict[str, Event], list[str]]:
    """Take each event once: the highest `rev`, and of equal ones with other bytes the
    earliest. That is said, but for words of a citizen that intake took twice.

    Contents that differ in a `rev` that was replaced do not count: compaction takes them away.
    """
    chosen: dict[str, Event] = {}
    double: set[str] = set()
    for event in events:
        known = chosen.get(event.id)
        if known is None or event.data.rev > known.data.rev:
            chosen[event.id] = event
            double.discard(event.id)
        elif event.data.rev == known.data.rev and event.encoded != known.encoded:
            if not requests.is_taken_twice(event, known):
                double.add(event.id)
            chosen[event.id] = min(event, known, key=lambda e: (e.data.recorded_at, e.encoded))
    return chosen, [f"event {id_} has two contents" for id_ in sorted(double)]


def _fold(state: CaseState, events: Iterable[Event]) -> tuple[set[str], list[str], list[str]]:
    by_document: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        if event.data.seq is not None:
            by_document[event.data.document_id].append(event)
    incomplete: list[str] = []
    double: list[str] = []
    for document_id, own in by_document.items():
        document = _document_for(state, document_id, own)
        own.sort(key=lambda e: (e.data.seq or 0, e.id))
        for event in own:
            if event.data.seq == document.seq:
                double.append(f"document {document_id} has two events of seq {event.data.seq}")
            elif event.data.seq == document.seq + 1:
                document.apply(event)
            else:
                incomplete.append(f"document {document_id} lacks seq {document.seq + 1}")
                break
    return set(by_document), incomplete, double


AnyDocument = CaseDocument | HandoffDocument | DeliveryDocument | GroupDocument


def _document_for(state: CaseState, document_id: str, own: list[Event]) -> AnyDocument:
    case_no = state.case_no
    if document_id == case_no:
        state.case = CaseDocument(document_id, case_no)
        return state.case
    for event in own:
        match event.data:
            case handling.HandoffEvent():
                return state.handoffs.setdefault(document_id, HandoffDocument(document_id, case_no))
            case handling.DeliveryEvent():
                return state.deliveries.setdefault(
                    document_id, DeliveryDocument(document_id, case_no)
                )
            case triage.GroupEvent():
                return state.groups.setdefault(document_id, GroupDocument(document_id, case_no))
    return GroupDocument(document_id, case_no)


def _join_requests(state: CaseState, chosen: dict[str, Event]) -> None:
    """Attach the submission that counts, and list the wishes that nobody answered yet."""
    answered = state.case.answered_wishes if state.case else set()
    named = state.case.submission_id if state.case else None
    submissions = sorted(
        (e for e in chosen.values() if isinstance(e.data, requests.RequestSubmitted)),
        key=lambda e: (e.data.occurred_at, e.id),
    )
    counting = next((e for e in submissions if e.id == named), None)
    if counting is None and named is None and submissions:
        counting = submissions[0]
    if counting is not None and isinstance(counting.data, requests.RequestSubmitted):
        state.submission = counting.data
    state.open_wishes = tuple(
        sorted(
            e.id for e in chosen.values() if e.data.owner == requests.OWNER and e.id not in answered
        )
    )


def _unseen(state: CaseState, chosen: dict[str, Event], documents: set[str]) -> list[str]:
    """List what is named by an event but has not been seen."""
    orders = state.case.orders if state.case else {}
    missing: set[str] = set()
    for event in chosen.values():
        for role, named in _named_events(event.data):
            if named not in chosen:
                missing.add(f"{role} {named} is not seen")
        for kind, document_id in _named_documents(state.case_no, event.data):
            if document_id not in documents:
                missing.add(f"{kind} {document_id} is not seen")
        if isinstance(event.data, handling.HandoffEvent) and event.data.handoff_id not in orders:
            missing.add(f"order of hand-off {event.data.handoff_id} is not seen")
    if state.case is None and any(e.data.owner != requests.OWNER for e in chosen.values()):
        missing.add("the opening of the case is not seen")
    return sorted(missing)


def _named_events(data: EventData) -> Iterator[tuple[str, str]]:
    """Yield the events of the same case that an event names."""
    if data.caused_by.startswith("event:"):
        yield "cause", data.caused_by.removeprefix("event:")
    if data.supersedes:
        yield "superseded event", data.supersedes
    if isinstance(data, triage.CaseOpened):
        yield "submission", data.submission_id


def _named_documents(case_no: str, data: EventData) -> Iterator[tuple[str, str]]:
    """Yield the documents whose events stand in the case's own partition and that it names."""
    if isinstance(data, triage.HandoffOrdered):
        yield "hand-off", data.handoff_id
    if isinstance(data, triage.CaseJoinedGroup) and data.anchor == case_no:
        yield "group", data.group_id


_BY_HANDOFF = {
    HandoffState.QUEUED: Status.ORDERED,
    HandoffState.UNDELIVERABLE: Status.ORDERED,
    HandoffState.SENT: Status.SENT,
    HandoffState.SIGNED: Status.SIGNED,
    HandoffState.IN_PROGRESS: Status.IN_PROGRESS,
}
_BY_OUTCOME = {
    OutcomeKind.ANSWER: Status.ANSWERED,
    OutcomeKind.RESULT: Status.RESOLVED,
    OutcomeKind.NOT_ACCEPTED: Status.NOT_ACCEPTED,
    OutcomeKind.WITHDRAWN: Status.WITHDRAWN,
}


def status_of(state: CaseState) -> Status:
    """Return the status that people are shown."""
    case = state.case
    if case is None or case.seq == 0:
        return Status.SUBMITTED
    if case.phase == Phase.CLOSED:
        return Status.CLOSED
    if case.phase == Phase.FINISHED:
        return Status.FINISHED
    if case.withdrawing:
        return Status.WITHDRAWING
    if case.phase == Phase.SETTLED and case.outcome:
        return _BY_OUTCOME[case.outcome.kind]
    if case.phase == Phase.ORDERED and case.lead:
        handoff = state.handoffs.get(case.lead)
        return _BY_HANDOFF.get(handoff.state, Status.SIGNED) if handoff else Status.ORDERED
    return Status.TRIAGED


def documents_of(state: CaseState) -> list[Document]:
    """Return all documents of a case."""
    found: list[Document] = [*state.handoffs.values(), *state.deliveries.values()]
    found.extend(state.groups.values())
    if state.case is not None:
        found.append(state.case)
    return found
