"""What a case waits for: a queue that people see, or the service that must act next."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from contracts import handling as h
from contracts import triage as t
from contracts.envelope import Event
from contracts.feeds import HandoffState
from contracts.lifecycle import CaseDocument, CaseState, HandoffDocument, Phase

TRIAGE = "triage"
NOTIFY = "notify"
_ENDED = frozenset(
    {
        HandoffState.RESOLVED,
        HandoffState.RETURNED,
        HandoffState.RECALLED,
        HandoffState.NOT_NEEDED,
        HandoffState.UNDELIVERABLE,
    }
)


@dataclass(frozen=True, slots=True)
class Wait:
    """What a case waits for next.

    `queue` names it (a kind of desk task, a service, `department:<code>`, `delivery`, `group`,
    `citizen`). `owed` is the event that a service has yet to answer, `service` that service.
    """

    queue: str
    by_person: bool = False
    service: str | None = None
    owed: str | None = None


def wait_of(state: CaseState) -> Wait | None:
    """Return what a case waits for; None for one that is closed, or that nothing will move."""
    case = state.case
    if case is None or case.seq == 0:
        submissions = [e.id for e in state.timeline if e.type == "request.submitted"]
        return Wait(TRIAGE, service=TRIAGE, owed=submissions[0] if submissions else None)
    if case.tasks:
        first = min(case.tasks.values(), key=lambda task: (task.since, task.kind))
        return Wait(str(first.kind), by_person=True)
    if case.withdrawing:
        return _recall(state, case)
    match case.phase:
        case Phase.OPEN:
            return _open(case)
        case Phase.ORDERED:
            return _ordered(state, case)
        case Phase.SETTLED:
            return _settled(state, case)
        case Phase.FINISHED:
            return Wait("citizen") if case.deadlines else None
        case Phase.CLOSED:
            return None


def _open(case: CaseDocument) -> Wait | None:
    """A member of a group waits for the group's anchor; anybody else would wait for nobody."""
    member = case.membership
    return Wait("group") if member is not None and member.anchor != case.case_no else None


def _recall(state: CaseState, case: CaseDocument) -> Wait:
    for handoff_id in case.withdrawing:
        handoff = state.handoffs.get(handoff_id)
        ended = _last(state.timeline, handoff_id, _ENDS)
        if handoff is not None and ended is not None and handoff.state in _ENDED:
            continue
        recall = _last_about(state.timeline, t.RecallOrdered, handoff_id)
        return Wait("recall", service=NOTIFY, owed=recall)
    return Wait("recall")


def _ordered(state: CaseState, case: CaseDocument) -> Wait | None:
    if case.lead is None:
        return None
    handoff = state.handoffs.get(case.lead)
    if handoff is None:
        ordered = _last_about(state.timeline, t.HandoffOrdered, case.lead)
        return Wait(NOTIFY, service=NOTIFY, owed=ordered)
    if handoff.state in _ENDED:
        ended = _last(state.timeline, case.lead, _ENDS)
        return Wait(TRIAGE, service=TRIAGE, owed=ended)
    if handoff.state is HandoffState.QUEUED:
        return Wait("delivery")
    return Wait(f"department:{handoff.department}")


def _settled(state: CaseState, case: CaseDocument) -> Wait | None:
    if case.outcome is None:
        return None
    outcome = case.outcome.event_id
    tellings = [one for one in state.deliveries.values() if one.tells == outcome]
    for delivery in tellings:
        ended = _last(state.timeline, delivery.document_id, (h.CitizenTold, h.DeliveryExhausted))
        if ended is not None:
            return Wait(TRIAGE, service=TRIAGE, owed=ended)
    if any(one.state == "planned" for one in tellings):
        return Wait("delivery")
    return Wait(NOTIFY, service=NOTIFY, owed=outcome)


_ENDS = (
    h.HandoffResolved,
    h.HandoffReturned,
    h.HandoffRecalled,
    h.HandoffNotNeeded,
    h.HandoffUndeliverable,
)


def _last(
    events: tuple[Event, ...], document_id: str, types: tuple[type[object], ...]
) -> str | None:
    found = [e for e in events if e.data.document_id == document_id and isinstance(e.data, types)]
    return max(found, key=lambda e: e.data.seq or 0).id if found else None


def _last_about(
    events: tuple[Event, ...],
    type_: type[t.HandoffOrdered] | type[t.RecallOrdered],
    handoff_id: str,
) -> str | None:
    found = [e for e in events if isinstance(e.data, type_) and e.data.handoff_id == handoff_id]
    return max(found, key=lambda e: e.data.seq or 0).id if found else None


def left_open(state: CaseState) -> Mapping[str, tuple[HandoffDocument, str]]:
    """Return the hand-offs that are open at their department though triage ended or recalled
    them, each with the event by which it did."""
    ended: dict[str, str] = {}
    for event in state.timeline:
        if isinstance(event.data, t.RecallOrdered):
            ended.setdefault(event.data.handoff_id, event.id)
        if isinstance(event.data, t.CaseEvent):
            for handoff_id in event.data.ends:
                ended.setdefault(handoff_id, event.id)
    return {
        handoff_id: (state.handoffs[handoff_id], event_id)
        for handoff_id, event_id in ended.items()
        if handoff_id in state.handoffs and state.handoffs[handoff_id].state.is_open
    }


def is_overdue(state: CaseState, now: datetime) -> bool:
    """Whether a clock of the citizen or of a department has run out and the case is still open."""
    case = state.case
    if case is None or case.phase in (Phase.FINISHED, Phase.CLOSED):
        return False
    if any(round_ == case.round and firing == "missed" for round_, _, firing in case.fired):
        return True
    running = list(case.deadlines.values())
    for handoff in state.handoffs.values():
        if handoff.state.is_open:
            running += handoff.deadlines.values()
    return any(one.due_at < now and one.kind not in _NOT_COUNTED for one in running)


_NOT_COUNTED = frozenset({"visit", "visit_answer", "return_window"})
