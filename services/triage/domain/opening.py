"""Opening a case: the first decision, its clocks, and who acts."""

from contracts.envelope import Event
from contracts.lifecycle import CaseDocument
from contracts.profile import Profile, TierCode
from contracts.requests import RequestSubmitted
from contracts.triage import CaseConflicted, CaseOpened, WishDeclined
from contracts.vocabulary import (
    DecidedBy,
    Decision,
    DeskTask,
    Kind,
    TaskKind,
    Tier,
    TierCause,
)
from services.chassis.kept import Kept
from services.triage.domain.occasion import Occasion, citizens_clocks
from services.triage.domain.orders import hand_off

_CODES: dict[Tier, TierCode] = {Tier.BLUE: "blue", Tier.ORANGE: "orange", Tier.RED: "red"}


def open_case(
    occasion: Occasion,
    kept: Kept[CaseDocument],
    submission_id: str,
    submitted: RequestSubmitted,
    decision: Decision,
) -> list[Event]:
    """Open a case with its first decision, and hand it over where that is sure enough."""
    case = kept.document
    tasks = tasks_for(occasion, case.case_no, decision)
    clocks = citizens_clocks(
        case,
        occasion.profile,
        decision.tier,
        submitted.accepted_at,
        waits_for_desk=bool(tasks),
    )
    events = [
        occasion.record(
            kept,
            CaseOpened,
            submission_id=submission_id,
            accepted_at=submitted.accepted_at,
            request=submitted.request,
            decision=decision,
            opens=tasks,
            sets=clocks,
            callback_url=submitted.request.callback_url,
        )
    ]
    if decision.lead is not None and is_sent_at_once(occasion.profile, decision):
        events += hand_off(occasion, kept, decision.lead, decision.assists)
    return events


def conflict(
    occasion: Occasion,
    kept: Kept[CaseDocument],
    submission_id: str,
    submitted: RequestSubmitted,
) -> list[Event]:
    """Another content came under a number that is open: a person decides what it is. Of an erased
    case nothing is left to compare it with, or to show."""
    if kept.document.erased:
        return [occasion.record(kept, WishDeclined, wish=submission_id, ground="erased")]
    task = occasion.task(kept.document.case_no, TaskKind.CONFLICT, wish=submission_id)
    return [
        occasion.record(
            kept,
            CaseConflicted,
            submission_id=submission_id,
            request=submitted.request,
            opens=(task,),
        )
    ]


def is_sure(profile: Profile, decision: Decision) -> bool:
    """Whether it is sure enough to act on without a person: `unsure` names what is not."""
    if decision.decided_by == DecidedBy.PERSON:
        return True
    bound = profile.rules.confidence_bounds["category"]
    return not decision.unsure and decision.category_confidence >= bound


def is_sent_at_once(profile: Profile, decision: Decision) -> bool:
    """Whether an order goes out without a person: danger always, orange if it is sure."""
    if decision.lead is None:
        return False
    if decision.tier == Tier.RED:
        return decision.cause == TierCause.DANGER and profile.rules.automatic_handoff["red"]
    return (
        profile.rules.automatic_handoff.get(_CODES[decision.tier], False)
        and is_sure(profile, decision)
        and decision.kind != Kind.NOISE
    )


def tasks_for(occasion: Occasion, case_no: str, decision: Decision) -> tuple[DeskTask, ...]:
    """Return what a person has to do first. No tuple is empty unless an order goes out."""
    profile = occasion.profile
    if decision.tier == Tier.RED:
        kinds = [TaskKind.JUDGE]
        if decision.cause == TierCause.DANGER and decision.lead is None:
            kinds.append(TaskKind.ROUTE)
    elif is_sent_at_once(profile, decision):
        kinds = []
    elif not is_sure(profile, decision):
        kinds = [TaskKind.CLASSIFY]
    elif decision.tier == Tier.BLUE:
        kinds = [TaskKind.ANSWER]
    else:
        kinds = [TaskKind.ROUTE]
    return tuple(occasion.task(case_no, kind) for kind in kinds)
