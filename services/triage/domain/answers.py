"""What triage does about what notify reports: returns, results, recalls, tellings, trouble."""

from contracts import handling as h
from contracts.envelope import Event
from contracts.lifecycle import CaseDocument, Order, Phase
from contracts.profile import Profile
from contracts.triage import (
    CaseReclassified,
    CaseResolved,
    CaseReturned,
    CaseUrged,
    CaseWithdrawing,
    DeskAsked,
    DeskSettled,
    WithdrawalEnded,
)
from contracts.vocabulary import (
    DeadlineKind,
    DecidedBy,
    Firing,
    Reason,
    Result,
    Role,
    TaskKind,
    Tier,
    TierCause,
)
from services.chassis.kept import Kept
from services.triage.domain.occasion import Occasion, running
from services.triage.domain.rounds import finish
from services.triage.domain.wishes import withdrawn

RULE_VERSION = "1"
SECOND_RETURN = 2
"""疑难复杂 by rule: a second return (mission: red has a cause)."""


def react(  # noqa: C901 - a table of what is answered by what
    occasion: Occasion, kept: Kept[CaseDocument], reported: Event
) -> list[Event]:
    """Record what an event of notify means for the case; most mean nothing."""
    match reported.data:
        case h.HandoffReturned() as returned:
            return _returned(occasion, kept, returned)
        case h.HandoffResolved() as resolved:
            return _resolved(occasion, kept, resolved)
        case h.HandoffRecalled() | h.HandoffNotNeeded() as recalled:
            return _recalled(occasion, kept, recalled.handoff_id)
        case h.RecallTooLate() as late:
            return _too_late(occasion, kept, late)
        case h.CitizenTold() as told:
            return _told(occasion, kept, reported.id, told)
        case h.ExtensionRequested() as asked:
            return _ask(occasion, kept, TaskKind.EXTENSION, asked.handoff_id, asked.ground)
        case h.HandoffQuestioned() as asked_back:
            return _ask(occasion, kept, TaskKind.QUESTION, asked_back.handoff_id, asked_back.text)
        case h.HandoffUndeliverable() as lost:
            return _ask(occasion, kept, TaskKind.UNDELIVERABLE, lost.handoff_id, None)
        case h.HandoffSent() as sent:
            return _sent(occasion, kept, sent)
        case h.HandoffDeadlineFired() as fired:
            return _deadline(occasion, kept, fired)
        case h.DeliveryExhausted() as exhausted:
            return _exhausted(occasion, kept, exhausted)
        case _:
            return []


def _open_order(case: CaseDocument, handoff_id: str) -> Order | None:
    """Return the order if something is still expected of it: late events change nothing here."""
    order = case.orders.get(handoff_id)
    return order if order is not None and order.ended is None else None


def _ask(
    occasion: Occasion,
    kept: Kept[CaseDocument],
    kind: TaskKind,
    handoff_id: str | None,
    note: str | None,
) -> list[Event]:
    if handoff_id is not None and _open_order(kept.document, handoff_id) is None:
        return []
    task = occasion.task(kept.document.case_no, kind, handoff_id=handoff_id, note=note)
    return [occasion.record(kept, DeskAsked, opens=(task,))]


def _returned(
    occasion: Occasion, kept: Kept[CaseDocument], returned: h.HandoffReturned
) -> list[Event]:
    case = kept.document
    if _open_order(case, returned.handoff_id) is None:
        return []
    if case.phase not in (Phase.OPEN, Phase.ORDERED):
        return []
    if returned.handoff_id in case.withdrawing:
        return _recalled(occasion, kept, returned.handoff_id)
    returns = case.returns + 1
    task = occasion.task(
        case.case_no, TaskKind.RETURNED, handoff_id=returned.handoff_id, note=returned.ground
    )
    events = [
        occasion.record(
            kept,
            CaseReturned,
            handoff_id=returned.handoff_id,
            department=returned.department,
            proper_department=returned.proper_department,
            returns=returns,
            opens=(task,),
        )
    ]
    if returns == SECOND_RETURN and case.tier != Tier.RED:
        events.append(_raise_to_complex(occasion, kept, "第二次退单，转为疑难复杂，先研判"))
    return events


def _raise_to_complex(occasion: Occasion, kept: Kept[CaseDocument], why: str) -> Event:
    case = kept.document
    decision = case.decision
    if decision is None:
        raise ValueError("a case without a decision")
    raised = decision.model_copy(
        update={
            "tier": Tier.RED,
            "cause": TierCause.COMPLEX,
            "decided_by": DecidedBy.RULES,
            "reasons": (
                *decision.reasons,
                Reason(source="rule:second-return", version=RULE_VERSION, why=why),
            ),
        }
    )
    task = occasion.task(case.case_no, TaskKind.JUDGE)
    return occasion.record(kept, CaseReclassified, decision=raised, opens=(task,))


def _resolved(
    occasion: Occasion, kept: Kept[CaseDocument], resolved: h.HandoffResolved
) -> list[Event]:
    case = kept.document
    order = _open_order(case, resolved.handoff_id)
    if order is None or order.role != Role.LEAD or case.phase != Phase.ORDERED:
        return []
    if is_hollow(occasion.profile, resolved.result):
        return _ask(occasion, kept, TaskKind.HOLLOW, resolved.handoff_id, resolved.result.text)
    return [accept_result(occasion, kept, order, resolved.result)]


def accept_result(
    occasion: Occasion,
    kept: Kept[CaseDocument],
    order: Order,
    result: Result,
    person: str | None = None,
) -> Event:
    """Let the leading unit's result stand; open assists end, and no task outlives it."""
    case = kept.document
    assists = tuple(
        other.handoff_id for other in case.open_orders() if other.handoff_id != order.handoff_id
    )
    return occasion.record(
        kept,
        CaseResolved,
        handoff_id=order.handoff_id,
        department=order.department,
        result=result,
        person=person,
        ends=assists,
        settles=case.tasks_of(),
        clears=running(case, DeadlineKind.SEEN, DeadlineKind.JUDGED, DeadlineKind.HANDED_OVER),
    )


def is_hollow(profile: Profile, result: Result) -> bool:
    """假办结: no act, date or contact, or nothing but words such as 已转 or 正在处理."""
    text = (result.text or "").strip(" 。，！.")
    if any(text == word or text == f"{word}了" for word in profile.rules.hollow_words):
        return True
    has_substance = result.acts or result.acted_at or result.contact
    return not has_substance and any(word in text for word in profile.rules.hollow_words)


def _recalled(occasion: Occasion, kept: Kept[CaseDocument], handoff_id: str) -> list[Event]:
    case = kept.document
    if handoff_id not in case.withdrawing or case.withdrawal_wish is None:
        return []
    remaining = tuple(other for other in case.withdrawing if other != handoff_id)
    if case.phase != Phase.ORDERED:  # a result came first: the lead's answer ends the withdrawal
        return []
    if remaining:
        return [
            occasion.record(kept, CaseWithdrawing, wish=case.withdrawal_wish, handoff_ids=remaining)
        ]
    return withdrawn(occasion, kept, case.withdrawal_wish)


def _too_late(occasion: Occasion, kept: Kept[CaseDocument], late: h.RecallTooLate) -> list[Event]:
    case = kept.document
    if late.handoff_id not in case.withdrawing or case.withdrawal_wish is None:
        return []
    order = case.orders.get(late.handoff_id)
    if order is not None and order.role == Role.ASSIST:
        return _recalled(occasion, kept, late.handoff_id)
    return [
        occasion.record(
            kept,
            WithdrawalEnded,
            wish=case.withdrawal_wish,
            ground="too_late",
            department=late.department,
        )
    ]


def _told(
    occasion: Occasion, kept: Kept[CaseDocument], event_id: str, told: h.CitizenTold
) -> list[Event]:
    outcome = kept.document.outcome
    if outcome is None or outcome.event_id != told.tells:
        return []
    return finish(occasion, kept, event_id)


def _sent(occasion: Occasion, kept: Kept[CaseDocument], sent: h.HandoffSent) -> list[Event]:
    """A person rang after all: the task of the undelivered order is done."""
    case = kept.document
    done = tuple(
        task_id
        for task_id, task in case.tasks.items()
        if task.kind == TaskKind.UNDELIVERABLE and task.handoff_id == sent.handoff_id
    )
    if not done:
        return []
    return [occasion.record(kept, DeskSettled, person=sent.by, settles=done)]


def _deadline(
    occasion: Occasion, kept: Kept[CaseDocument], fired: h.HandoffDeadlineFired
) -> list[Event]:
    """催办 when a department's result comes near or its signature is missed; then the desk."""
    case = kept.document
    order = _open_order(case, fired.handoff_id)
    if order is None or case.phase != Phase.ORDERED:
        return []
    is_result = fired.name == DeadlineKind.RESULT
    if is_result == (fired.firing == Firing.NEAR):
        return [occasion.record(kept, CaseUrged, handoff_id=fired.handoff_id)]
    if is_result and not case.tasks_of(TaskKind.OVERDUE):
        return _ask(occasion, kept, TaskKind.OVERDUE, fired.handoff_id, None)
    return []


def _exhausted(
    occasion: Occasion, kept: Kept[CaseDocument], exhausted: h.DeliveryExhausted
) -> list[Event]:
    """The channel did not take a message: where it was the outcome, a person must tell it."""
    outcome = kept.document.outcome
    if outcome is None or outcome.event_id != exhausted.tells:
        return []
    return _ask(occasion, kept, TaskKind.UNDELIVERABLE, None, None)
