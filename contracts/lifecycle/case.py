"""The case document, folded from triage's events.

A round runs OPEN → ORDERED → SETTLED → FINISHED → CLOSED: OPEN waits for triage or the desk,
ORDERED has a leading hand-off, SETTLED has an outcome that is being told, FINISHED (办结) was
told, CLOSED (归档) is over. `ALLOWED` says in which phases each event may be written.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from contracts import triage as t
from contracts.envelope import Event, EventData, UnknownData
from contracts.lifecycle.document import Document
from contracts.vocabulary import (
    Deadline,
    DeadlineKind,
    Decision,
    DeskTask,
    GroupKind,
    OutcomeKind,
    Rating,
    RequestContent,
    Role,
    TaskKind,
    Tier,
)

_ABOUT_THE_CASE = frozenset(TaskKind) - {TaskKind.ERASURE}


class Phase(StrEnum):
    """Where the current round stands, for triage."""

    OPEN = "open"
    ORDERED = "ordered"
    SETTLED = "settled"
    FINISHED = "finished"
    CLOSED = "closed"


_O, _R, _S, _F, _C = Phase.OPEN, Phase.ORDERED, Phase.SETTLED, Phase.FINISHED, Phase.CLOSED
_ANY = frozenset(Phase)
_WORKING = frozenset({_O, _R})

ALLOWED: dict[str, frozenset[Phase]] = {
    "case.opened": frozenset({_O}),
    "case.conflicted": _ANY,
    "case.seen": _ANY,
    "case.reclassified": _WORKING,
    "case.judged": _WORKING,
    "handoff.ordered": _WORKING,
    "handoff.recall_ordered": _WORKING,
    "case.returned": _WORKING,
    "extension.decided": _WORKING,
    "case.urged": _WORKING,
    "supervision.ordered": frozenset({_O, _R, _S, _F}),
    "supervision.replied": _ANY,
    "case.escalated": _ANY,
    "inquiry.opened": _WORKING,
    "inquiry.answered": _ANY,
    "case.answered": frozenset({_O}),
    "case.not_accepted": frozenset({_O}),
    "case.resolved": frozenset({_O, _R}),
    "case.supplemented": _WORKING,
    "case.withdrawing": frozenset({_O, _R, _S}),
    "case.withdrawn": _WORKING,
    "withdrawal.ended": _ANY,
    "wish.declined": _ANY,
    "case.finished": frozenset({_S}),
    "case.rated": frozenset({_S, _F, _C}),
    "case.visited": frozenset({_F}),
    "case.contacted": _ANY,
    "case.reopened": frozenset({_F, _C}),
    "case.closed": frozenset({_F}),
    "desk.asked": _ANY,
    "desk.settled": _ANY,
    "case.deadline_fired": _ANY,
    "case.joined_group": frozenset({_O}),
    "case.left_group": _ANY,
    "case.group_resolved": frozenset({_O}),
    "case.erased": _ANY,
}


@dataclass(slots=True)
class Order:
    """An order to a department, as triage knows it."""

    handoff_id: str
    department: str
    role: Role
    attempt: int
    round: int
    binding: bool
    ordered_at: datetime
    returnable: bool = True
    recalling: bool = False
    ended: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the round ended; `event_id` is what the citizen is told."""

    kind: OutcomeKind
    event_id: str
    at: datetime
    text: str | None
    department: str | None = None
    handoff_id: str | None = None


@dataclass(frozen=True, slots=True)
class Finish:
    """A round that was told."""

    round: int
    at: datetime
    kind: OutcomeKind
    department: str | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A rating or visit of a round, credited to a unit (None: the desk)."""

    round: int
    rating: Rating
    credited: str | None
    by_visit: bool


@dataclass(frozen=True, slots=True)
class Inquiry:
    """An inquiry and, once it is there, its answer."""

    inquiry_id: str
    asked: str
    opened_at: datetime
    confirmed_by: str | None = None
    confirmed_at: datetime | None = None
    text: str | None = None


@dataclass(frozen=True, slots=True)
class Membership:
    """The group that the case is in."""

    group_id: str
    version: int
    kind: GroupKind
    anchor: str


@dataclass(slots=True)
class CaseDocument(Document):
    """The case as triage decides it."""

    phase: Phase = Phase.OPEN
    round: int = 0
    submission_id: str | None = None
    accepted_at: datetime | None = None
    request: RequestContent | None = None
    decision: Decision | None = None
    tier: Tier | None = None
    judged_at: datetime | None = None
    seen_at: datetime | None = None
    seen_by: str | None = None
    orders: dict[str, Order] = field(default_factory=dict)
    lead: str | None = None
    outcome: Outcome | None = None
    finishes: list[Finish] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    visits: int = 0
    tasks: dict[str, DeskTask] = field(default_factory=dict)
    deadlines: dict[str, Deadline] = field(default_factory=dict)
    first_deadlines: dict[str, Deadline] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    fired: list[tuple[int, str, str]] = field(default_factory=list)
    inquiries: dict[str, Inquiry] = field(default_factory=dict)
    membership: Membership | None = None
    left: dict[str, int] = field(default_factory=dict)
    withdrawing: tuple[str, ...] = ()
    withdrawal_wish: str | None = None
    answered_wishes: set[str] = field(default_factory=set)
    returns: int = 0
    justified_returns: int = 0
    returned_by: list[str] = field(default_factory=list)
    handled_by: set[str] = field(default_factory=set)
    supplements: list[str] = field(default_factory=list)
    urgings: int = 0
    supervisions: dict[str, bool] = field(default_factory=dict)
    level: int = 0
    closed_at: datetime | None = None
    closed_ground: str | None = None
    erased: bool = False

    def apply(self, event: Event) -> None:
        """Apply the next event. Raises OutOfSequence if it is not the next."""
        self.advance(event)
        data = event.data
        if data.caused_by.startswith("event:"):
            self.answered_wishes.add(data.caused_by.removeprefix("event:"))
        if isinstance(data, UnknownData):
            return
        if isinstance(data, t.CaseEvent):
            self._tasks_clocks_orders(data)
        step = _STEPS.get(event.type)
        if step is not None:
            step(self, event, data)

    def _tasks_clocks_orders(self, data: t.CaseEvent) -> None:
        for task_id in data.settles:
            self.tasks.pop(task_id, None)
        for task in data.opens:
            self.tasks[task.task_id] = task
        for name in data.clears:
            self.deadlines.pop(name, None)
        for handoff_id in data.ends:
            if handoff_id in self.orders and self.orders[handoff_id].ended is None:
                self.orders[handoff_id].ended = "not_needed"
        for deadline in data.sets:
            self.deadlines[deadline.name] = deadline
            self.first_deadlines.setdefault(deadline.name, deadline)
            self.versions[deadline.name] = deadline.version

    def open_orders(self) -> list[Order]:
        """Return the orders of which something is still expected."""
        return [order for order in self.orders.values() if order.ended is None]

    def lead_order(self) -> Order | None:
        """Return the leading order that is open, if there is one."""
        order = self.orders.get(self.lead) if self.lead else None
        return order if order and order.ended is None else None

    def tasks_of(self, *kinds: str) -> tuple[str, ...]:
        """Return the ids of the open tasks of these kinds; if none is named, of all that ask for
        something to be done about the case: an erasure waits for its end instead."""
        wanted = kinds or _ABOUT_THE_CASE
        return tuple(i for i, task in self.tasks.items() if task.kind in wanted)

    def next_attempt(self, role: Role, department: str) -> int:
        """Return the number of the next order to a department in this role and round."""
        return 1 + sum(
            order.role == role and order.department == department and order.round == self.round
            for order in self.orders.values()
        )

    def end_orders(self, lead_as: str, others_as: str) -> None:
        """End what is open: the leading order one way, the assisting ones another."""
        for order in self.open_orders():
            order.ended = lead_as if order.role == Role.LEAD else others_as

    def settle(self, kind: OutcomeKind, event: Event, text: str | None, **by: str | None) -> None:
        """Enter the round's outcome."""
        self.phase = Phase.SETTLED
        self.outcome = Outcome(kind, event.id, event.data.occurred_at, text, **by)


def refusal(document: CaseDocument, event_type: str) -> str | None:
    """Return why an event may not be written now, or None if it may."""
    phases = ALLOWED[event_type]
    if event_type != "case.opened" and document.seq == 0:
        return "the case is not open yet"
    if event_type == "case.opened" and document.seq:
        return "the case is open already"
    if document.phase not in phases:
        return f"{event_type} is not possible in phase {document.phase}"
    return None


Step = Callable[[CaseDocument, Event, Any], None]
_STEPS: dict[str, Step] = {}


def _on(*types: type[EventData]) -> Callable[[Step], Step]:
    def enter(step: Step) -> Step:
        for data_type in types:
            _STEPS[data_type.type] = step
        return step

    return enter


@_on(t.CaseOpened)
def _opened(case: CaseDocument, event: Event, data: t.CaseOpened) -> None:
    case.submission_id = data.submission_id
    case.answered_wishes.add(data.submission_id)
    case.accepted_at = data.accepted_at
    case.request = data.request
    case.decision = data.decision
    case.tier = data.decision.tier


@_on(t.CaseConflicted)
def _conflicted(case: CaseDocument, event: Event, data: t.CaseConflicted) -> None:
    case.answered_wishes.add(data.submission_id)


@_on(t.CaseSeen)
def _seen(case: CaseDocument, event: Event, data: t.CaseSeen) -> None:
    case.seen_at = case.seen_at or data.occurred_at
    case.seen_by = case.seen_by or data.person


@_on(t.CaseReclassified)
def _reclassified(case: CaseDocument, event: Event, data: t.CaseReclassified) -> None:
    case.decision = data.decision
    case.tier = data.decision.tier


@_on(t.CaseJudged)
def _judged(case: CaseDocument, event: Event, data: t.CaseJudged) -> None:
    case.decision = data.decision
    case.tier = data.decision.tier
    case.judged_at = data.occurred_at
    case.handled_by.add(data.person)


@_on(t.HandoffOrdered)
def _ordered(case: CaseDocument, event: Event, data: t.HandoffOrdered) -> None:
    order = data.order
    case.orders[data.handoff_id] = Order(
        handoff_id=data.handoff_id,
        department=order.department,
        role=data.role,
        attempt=data.attempt,
        round=data.round,
        binding=order.binding,
        ordered_at=data.occurred_at,
        returnable=not order.binding,
    )
    if data.person:
        case.handled_by.add(data.person)
    if data.role == Role.LEAD:
        case.lead = data.handoff_id
        case.phase = Phase.ORDERED


@_on(t.RecallOrdered)
def _recall_ordered(case: CaseDocument, event: Event, data: t.RecallOrdered) -> None:
    order = case.orders.get(data.handoff_id)
    if order is None:
        return
    order.recalling = True
    if data.ground == "rerouted":
        order.ended = "rerouted"
        if case.lead == data.handoff_id:
            case.lead = None
            case.phase = Phase.OPEN


@_on(t.CaseReturned)
def _returned(case: CaseDocument, event: Event, data: t.CaseReturned) -> None:
    case.returns = data.returns
    case.justified_returns += data.justified is True
    case.returned_by.append(data.department)
    order = case.orders.get(data.handoff_id)
    if order is None:
        return
    order.ended = "returned"
    if case.lead == data.handoff_id:
        case.lead = None
        case.phase = Phase.OPEN


@_on(t.CaseUrged)
def _urged(case: CaseDocument, event: Event, data: t.CaseUrged) -> None:
    case.urgings += 1


@_on(t.SupervisionOrdered)
def _supervised(case: CaseDocument, event: Event, data: t.SupervisionOrdered) -> None:
    case.supervisions[data.supervision_no] = False


@_on(t.SupervisionReplied)
def _supervision_replied(case: CaseDocument, event: Event, data: t.SupervisionReplied) -> None:
    case.supervisions[data.supervision_no] = True


@_on(t.CaseEscalated)
def _escalated(case: CaseDocument, event: Event, data: t.CaseEscalated) -> None:
    case.level = max(case.level, data.level)


@_on(t.InquiryOpened)
def _inquired(case: CaseDocument, event: Event, data: t.InquiryOpened) -> None:
    case.inquiries[data.inquiry_id] = Inquiry(data.inquiry_id, data.asked, data.occurred_at)
    case.handled_by.add(data.person)


@_on(t.InquiryAnswered)
def _inquiry_answered(case: CaseDocument, event: Event, data: t.InquiryAnswered) -> None:
    asked = case.inquiries.get(data.inquiry_id)
    if asked is not None:
        case.inquiries[data.inquiry_id] = Inquiry(
            asked.inquiry_id,
            asked.asked,
            asked.opened_at,
            data.confirmed_by,
            data.confirmed_at,
            data.text,
        )


@_on(t.CaseAnswered)
def _answered(case: CaseDocument, event: Event, data: t.CaseAnswered) -> None:
    case.handled_by.add(data.person)
    case.end_orders("answered", "not_needed")
    case.settle(OutcomeKind.ANSWER, event, data.answer.text)


@_on(t.CaseNotAccepted)
def _not_accepted(case: CaseDocument, event: Event, data: t.CaseNotAccepted) -> None:
    case.handled_by.add(data.person)
    case.end_orders("not_accepted", "not_needed")
    case.settle(OutcomeKind.NOT_ACCEPTED, event, data.reason)


@_on(t.CaseResolved)
def _resolved(case: CaseDocument, event: Event, data: t.CaseResolved) -> None:
    if data.person:
        case.handled_by.add(data.person)
    case.end_orders("resolved", "not_needed")
    case.settle(
        OutcomeKind.RESULT,
        event,
        data.result.text,
        department=data.department,
        handoff_id=data.handoff_id,
    )


@_on(t.CaseSupplemented)
def _supplemented(case: CaseDocument, event: Event, data: t.CaseSupplemented) -> None:
    if data.text is not None:
        case.supplements.append(data.text)


@_on(t.CaseWithdrawing)
def _withdrawing(case: CaseDocument, event: Event, data: t.CaseWithdrawing) -> None:
    case.withdrawing = data.handoff_ids
    case.withdrawal_wish = data.wish


@_on(t.CaseWithdrawn)
def _withdrawn(case: CaseDocument, event: Event, data: t.CaseWithdrawn) -> None:
    case.answered_wishes.add(data.wish)
    case.withdrawing = ()
    case.withdrawal_wish = None
    case.end_orders("recalled", "recalled")
    case.lead = None
    case.settle(OutcomeKind.WITHDRAWN, event, None)


@_on(t.WithdrawalEnded)
def _withdrawal_ended(case: CaseDocument, event: Event, data: t.WithdrawalEnded) -> None:
    case.answered_wishes.add(data.wish)
    case.withdrawing = ()
    case.withdrawal_wish = None


@_on(t.WishDeclined)
def _wish_declined(case: CaseDocument, event: Event, data: t.WishDeclined) -> None:
    case.answered_wishes.add(data.wish)


@_on(t.CaseFinished)
def _finished(case: CaseDocument, event: Event, data: t.CaseFinished) -> None:
    case.phase = Phase.FINISHED
    if case.outcome is not None:
        case.finishes.append(
            Finish(data.round, data.finished_at, case.outcome.kind, case.outcome.department)
        )


@_on(t.CaseRated)
def _rated(case: CaseDocument, event: Event, data: t.CaseRated) -> None:
    case.marks.append(Mark(data.round, data.rating, data.credited, by_visit=False))


@_on(t.CaseVisited)
def _visited(case: CaseDocument, event: Event, data: t.CaseVisited) -> None:
    case.visits = data.visit
    if data.rating is not None:
        credited = case.outcome.department if case.outcome else None
        case.marks.append(Mark(data.round, data.rating, credited, by_visit=True))


@_on(t.CaseReopened)
def _reopened(case: CaseDocument, event: Event, data: t.CaseReopened) -> None:
    case.round = data.round
    case.tier = data.tier
    case.phase = Phase.OPEN
    case.outcome = None
    case.lead = None
    case.visits = 0
    case.closed_at = None
    case.closed_ground = None


@_on(t.CaseClosed)
def _closed(case: CaseDocument, event: Event, data: t.CaseClosed) -> None:
    case.phase = Phase.CLOSED
    case.closed_at = data.occurred_at
    case.closed_ground = data.ground


@_on(t.CaseDeadlineFired)
def _fired(case: CaseDocument, event: Event, data: t.CaseDeadlineFired) -> None:
    case.fired.append((data.round, data.name, data.firing))
    deadline = case.deadlines.get(data.name)
    if deadline is None:
        return
    if data.firing == "missed":
        del case.deadlines[data.name]
    else:
        case.deadlines[data.name] = deadline.model_copy(update={"near_at": None})


@_on(t.CaseJoinedGroup)
def _joined(case: CaseDocument, event: Event, data: t.CaseJoinedGroup) -> None:
    if case.left.get(data.group_id, 0) < data.group_version:
        case.left.pop(data.group_id, None)
        case.membership = Membership(data.group_id, data.group_version, data.kind, data.anchor)


@_on(t.CaseLeftGroup)
def _left(case: CaseDocument, event: Event, data: t.CaseLeftGroup) -> None:
    case.left[data.group_id] = data.group_version
    if case.membership and case.membership.group_id == data.group_id:
        case.membership = None


@_on(t.CaseGroupResolved)
def _group_resolved(case: CaseDocument, event: Event, data: t.CaseGroupResolved) -> None:
    if case.membership is None or case.membership.group_id != data.group_id:
        return
    kind = OutcomeKind.ANSWER if data.outcome == "answer" else OutcomeKind.RESULT
    case.end_orders("resolved", "not_needed")
    case.settle(kind, event, data.result.text, department=data.department)


@_on(t.CaseErased)
def _erased(case: CaseDocument, event: Event, data: t.CaseErased) -> None:
    case.erased = True
    case.request = None
    case.supplements.clear()


def deadline_name(kind: DeadlineKind, of: str | None = None) -> str:
    """Return the name of a clock: its kind, and what it belongs to where there are several."""
    return f"{kind}:{of}" if of else str(kind)
