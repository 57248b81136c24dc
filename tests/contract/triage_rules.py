"""How triage answers what it takes in, as far as the contract prescribes it.

A small model of the service: it decides little, but writes every event with the right document,
sequence, round and cause, so that in a history the services race as they do in life.
"""

from contracts import handling as h
from contracts import ids
from contracts import requests as r
from contracts import triage as t
from contracts.envelope import Event
from contracts.lifecycle import Phase
from contracts.vocabulary import (
    Deadline,
    DeadlineKind,
    DecidedBy,
    Decision,
    DeskTask,
    Kind,
    Reason,
    Role,
    TaskKind,
    Tier,
    TierCause,
)
from tests.contract.histories import DEPARTMENTS, Choose, History

_WORKING = (Phase.OPEN, Phase.ORDERED)


def decision(choose: Choose, by: DecidedBy = DecidedBy.RULES) -> Decision:
    """Return a decision about the case."""
    tier = choose((Tier.BLUE, Tier.ORANGE, Tier.ORANGE, Tier.RED))
    return Decision(
        category="medical",
        category_confidence=0.9,
        tier=tier,
        cause=choose(tuple(TierCause)) if tier == Tier.RED else None,
        kind=Kind.ACTION,
        lead=choose(DEPARTMENTS),
        decided_by=by,
        profile="zhoukou@1",
        reasons=(Reason(source="lexicon", version="1", why="医"),),
    )


def task(kind: TaskKind, cause: Event, wish: str | None = None) -> DeskTask:
    """Return a task of the desk."""
    return DeskTask(
        task_id=f"{kind}:{cause.id}", kind=kind, since=cause.data.occurred_at, wish=wish
    )


def order(
    history: History, department: str, role: Role, cause: Event | str, person: str | None = None
) -> Event:
    """Order a department; after two returns the order binds."""
    case = history.case
    attempt = case.next_attempt(role, department)
    handoff_id = ids.handoff_id(history.case_no, case.round, role, department, attempt)
    ordered = t.HandoffOrder(
        handoff_id=handoff_id,
        department=department,
        role=role,
        attempt=attempt,
        binding=case.returns >= 2,
        category="medical",
        tier=case.tier or Tier.ORANGE,
        request=history.content(),
        note=history.words("note"),
        supplements=tuple(case.supplements),
        returned_by=tuple(case.returned_by),
    )
    return history.by_triage(
        t.HandoffOrdered,
        cause,
        handoff_id=handoff_id,
        role=role,
        attempt=attempt,
        order=ordered,
        person=person,
        settles=case.tasks_of(TaskKind.ROUTE, TaskKind.RETURNED, TaskKind.REOPENED),
        sets=(history.clock(DeadlineKind.RESULT, case.versions, 4),) if role == Role.LEAD else (),
    )


def reopen(history: History, cause: Event | str, ground: str) -> None:
    """Begin another round."""
    history.by_triage(
        t.CaseReopened,
        cause,
        round=history.case.round + 1,
        tier=Tier.RED,
        ground=ground,
        sets=(history.clock(DeadlineKind.TOLD, history.case.versions, 8),),
    )


def triage_takes(history: History, event: Event, choose: Choose) -> None:
    """Triage's answer to an event of intake or notify."""
    if event.data.owner == r.OWNER:
        _takes_wish(history, event, choose)
    else:
        _takes_report(history, event)


def _takes_wish(history: History, event: Event, choose: Choose) -> None:
    case, data = history.case, event.data
    match data:
        case r.RequestSubmitted():
            _submitted(history, event, data, choose)
        case r.SupplementGiven() if case.phase in _WORKING:
            text = None if history.is_erased else data.text
            asks = (task(TaskKind.SUPPLEMENT, event),)
            history.by_triage(t.CaseSupplemented, event, text=text, opens=asks)
        case r.WithdrawalRequested() if case.phase in _WORKING and not case.withdrawing:
            _withdrawal(history, event)
        case r.RatingGiven() if case.phase not in _WORKING:
            _rated(history, event, data)
        case r.ErasureRequested() if not case.erased:
            history.by_triage(t.CaseErased, event, by=data.by)
            history.redact()
        case _:
            history.by_triage(t.WishDeclined, event, wish=event.id, ground="too_late")


def _takes_report(history: History, event: Event) -> None:
    case, data = history.case, event.data
    match data:
        case h.HandoffReturned():
            _returned(history, event, data)
            _reported(history, event, data.handoff_id, is_too_late=False)
        case h.HandoffResolved():
            _resolved(history, event, data)
        case h.HandoffRecalled():
            _reported(history, event, data.handoff_id, is_too_late=False)
        case h.RecallTooLate():
            _reported(history, event, data.handoff_id, is_too_late=data.role == Role.LEAD)
        case h.ExtensionRequested() if case.phase in _WORKING:
            asks = (
                task(TaskKind.EXTENSION, event).model_copy(update={"handoff_id": data.handoff_id}),
            )
            history.by_triage(t.DeskAsked, event, opens=asks)
        case h.HandoffUndeliverable() | h.DeliveryExhausted():
            history.by_triage(t.DeskAsked, event, opens=(task(TaskKind.UNDELIVERABLE, event),))
        case h.HandoffQuestioned():
            history.by_triage(t.DeskAsked, event, opens=(task(TaskKind.QUESTION, event),))
        case h.CitizenTold() if case.outcome and case.outcome.event_id == data.tells:
            if case.phase == Phase.SETTLED:
                finish(history, event)


def finish(history: History, told: Event) -> None:
    """办结: the outcome was told."""
    history.by_triage(
        t.CaseFinished,
        told,
        told=told.id,
        finished_at=told.data.occurred_at,
        clears=tuple(history.case.deadlines),
        sets=(history.clock(DeadlineKind.VISIT, history.case.versions, 24),),
    )


def withdraw_orders(history: History, cause: Event | str, wish: str) -> None:
    """Take the open orders back; the withdrawal stands until each is recalled or too late."""
    open_orders = tuple(order.handoff_id for order in history.case.open_orders())
    if not open_orders:
        history.by_triage(t.CaseWithdrawn, cause, wish=wish, settles=history.case.tasks_of())
        return
    history.by_triage(
        t.CaseWithdrawing,
        cause,
        wish=wish,
        handoff_ids=open_orders,
        settles=history.case.tasks_of(TaskKind.WITHDRAWAL),
    )
    for handoff_id in open_orders:
        history.by_triage(t.RecallOrdered, cause, handoff_id=handoff_id, ground="withdrawal")


def _submitted(history: History, event: Event, data: r.RequestSubmitted, choose: Choose) -> None:
    case = history.case
    if case.seq:
        history.by_triage(
            t.CaseConflicted,
            event,
            submission_id=event.id,
            request=history.content(),
            opens=(task(TaskKind.CONFLICT, event),),
        )
        return
    decided = decision(choose)
    sets: tuple[Deadline, ...] = (history.clock(DeadlineKind.TOLD, case.versions, 3),)
    if decided.cause == TierCause.COMPLEX:
        sets += (history.clock(DeadlineKind.JUDGED, case.versions, 1),)
    history.by_triage(
        t.CaseOpened,
        event,
        submission_id=event.id,
        accepted_at=data.accepted_at,
        request=data.request if not history.is_erased else history.content(),
        decision=decided,
        opens=(task(TaskKind.ANSWER, event),) if decided.tier == Tier.BLUE else (),
        sets=sets,
    )
    if decided.tier != Tier.BLUE and choose((True, True, False)):
        order(history, decided.lead or DEPARTMENTS[0], Role.LEAD, event)


def _withdrawal(history: History, event: Event) -> None:
    if history.case.tier == Tier.RED:
        asks = (task(TaskKind.WITHDRAWAL, event, wish=event.id),)
        history.by_triage(t.DeskAsked, event, opens=asks)
    else:
        withdraw_orders(history, event, event.id)


def _rated(history: History, event: Event, data: r.RatingGiven) -> None:
    case = history.case
    credited = case.outcome.department if case.outcome else None
    rating = data.rating.model_copy(update={"comment": history.words("comment")})
    history.by_triage(t.CaseRated, event, rating=rating, credited=credited)
    if case.phase == Phase.SETTLED:
        return
    if not rating.solved and case.round < 2:
        reopen(history, event, "not_solved")
    elif case.phase == Phase.FINISHED:
        history.by_triage(t.CaseClosed, event, ground="rated")


def _returned(history: History, event: Event, data: h.HandoffReturned) -> None:
    case = history.case
    if case.orders[data.handoff_id].ended is None:
        history.by_triage(
            t.CaseReturned,
            event,
            handoff_id=data.handoff_id,
            department=data.department,
            proper_department=data.proper_department,
            returns=case.returns + 1,
            justified=True,
            opens=(task(TaskKind.RETURNED, event),),
        )


def _resolved(history: History, event: Event, data: h.HandoffResolved) -> None:
    """Only the open leading order's result resolves the case; any other stays with its hand-off."""
    lead = history.case.lead_order()
    if lead is not None and lead.handoff_id == data.handoff_id:
        result = data.result
        if history.is_erased:
            result = result.model_copy(update={"text": None, "acts": None, "contact": None})
        history.by_triage(
            t.CaseResolved,
            event,
            handoff_id=data.handoff_id,
            department=data.department,
            result=result,
            settles=history.case.tasks_of(),
        )


def _reported(history: History, event: Event, handoff_id: str, *, is_too_late: bool) -> None:
    """What became of one of the orders that a withdrawal waits for."""
    case = history.case
    if handoff_id not in case.withdrawing or case.withdrawal_wish is None:
        return
    wish = case.withdrawal_wish
    left = tuple(other for other in case.withdrawing if other != handoff_id)
    is_over = case.phase not in _WORKING or case.orders[handoff_id].round != case.round
    if is_too_late or (is_over and not left):
        history.by_triage(t.WithdrawalEnded, event, wish=wish, ground="too_late")
    elif left:
        if case.phase in (*_WORKING, Phase.SETTLED):
            history.by_triage(t.CaseWithdrawing, event, wish=wish, handoff_ids=left)
        else:
            history.by_triage(t.WithdrawalEnded, event, wish=wish, ground="too_late")
    else:
        history.by_triage(t.CaseWithdrawn, event, wish=wish, settles=case.tasks_of())
