"""A case as the citizen who looks it up sees it: what was told, in the same words, and no more."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from contracts import triage
from contracts.envelope import Event
from contracts.ids import spoken
from contracts.lifecycle import CaseDocument, CaseState, Phase, deadline_name
from contracts.profile import Profile
from contracts.telling import local_time, told_step
from contracts.vocabulary import DeadlineKind, GroupKind, OutcomeKind
from services.reporting.domain.contribution import accepted_at, leading_department
from services.reporting.domain.facts import is_confidential
from services.reporting.domain.words import DECLINED, STATUS_NAMES, STEP_NAMES, WISH_NAMES

RECEIVED_SAYS = "求助已收到，正在登记，请稍后再查。"
ERASED_SAYS = "此办件的个人信息已按申请清除。"
BLOCKED_SAYS = "求助已收到，登记时遇到问题，工作人员正在处理。"
INCOMPLETE_SAYS = "部分办理记录尚未到齐，以下内容可能不全。"
_RATED = (OutcomeKind.ANSWER, OutcomeKind.RESULT)
_GROUP_SAYS = {
    GroupKind.SAME_EVENT: "与其他市民反映的同一事件合并办理，结果会逐一告知。",
    GroupKind.SAME_NEED: "与其他市民的同类需求合并办理，结果会逐一告知。",
    GroupKind.SAME_PERSON: "与您此前的求助合并办理。",
}


def received(case_no: str, *, is_blocked: bool = False) -> dict[str, Any]:
    """Return the view of a valid number and code whose case has not arrived here yet, or of which
    nothing can be shown."""
    return {
        "case_no": case_no,
        "case_no_spoken": spoken(case_no),
        "status": "received",
        "status_name": STATUS_NAMES["submitted"],
        "says": BLOCKED_SAYS if is_blocked else RECEIVED_SAYS,
    }


def public_view(state: CaseState, profile: Profile, *, is_blocked: bool) -> dict[str, Any]:
    """Return the case without anybody's name or number, neither the citizen's nor of staff."""
    case = state.case
    seen: dict[str, Any] = {
        "case_no": state.case_no,
        "case_no_spoken": spoken(state.case_no),
        "status": state.status.value,
        "status_name": STATUS_NAMES[state.status],
        "accepted_at": _local(accepted_at(state), profile),
        "is_complete": state.is_complete and not is_blocked,
    }
    if not seen["is_complete"]:
        seen["says"] = INCOMPLETE_SAYS
    if case is not None and case.erased:
        return {**seen, "erased": True, "says": ERASED_SAYS, "timeline": []}
    return {
        **seen,
        **_about(case, state, profile),
        "ring": _ring(state, profile),
        "pending": _pending(state, profile),
        "rating_awaited": _awaits_rating(state),
        "timeline": timeline(state, profile),
    }


def _about(case: CaseDocument | None, state: CaseState, profile: Profile) -> dict[str, Any]:
    decision = case.decision if case else None
    category = profile.categories_by_code.get(decision.category) if decision else None
    due = case.deadlines.get(deadline_name(DeadlineKind.TOLD)) if case else None
    membership = case.membership if case else None
    return {
        "category": {"code": category.code, "name": category.name} if category else None,
        "round": case.round if case else 0,
        "handling_unit": _unit(state, profile),
        "due_at": _local(due.due_at, profile) if due else None,
        "group": _GROUP_SAYS[membership.kind] if membership else None,
    }


def timeline(state: CaseState, profile: Profile) -> list[dict[str, Any]]:
    """Return the steps that the citizen was or is being told, in the order they happened."""
    steps: list[dict[str, Any]] = []
    outcome: OutcomeKind | None = None
    for event in state.timeline:
        if event.type == "request.submitted" and event.data == state.submission:
            text = f"求助已收到，编号 {spoken(state.case_no)}。"
            steps.append(_step("received", text, event, profile))
            continue
        outcome = _outcome_after(event, outcome)
        lead = leading_department(state.case) or None
        told = told_step(event, profile, outcome=outcome, department=lead)
        if told is not None:
            steps.append(_step(told.step, told.text, event, profile))
        elif (declined := _declined(event)) is not None:
            steps.append(_step("declined", declined, event, profile))
    return steps


def _step(step: str, text: str, event: Event, profile: Profile) -> dict[str, Any]:
    at = event.data.occurred_at
    return {
        "step": step,
        "name": STEP_NAMES[step],
        "text": text,
        "at": _local(at, profile),
        "at_words": local_time(at, profile.time_zone),
    }


def _outcome_after(event: Event, before: OutcomeKind | None) -> OutcomeKind | None:
    match event.data:
        case triage.CaseAnswered():
            return OutcomeKind.ANSWER
        case triage.CaseResolved():
            return OutcomeKind.RESULT
        case triage.CaseGroupResolved() as resolved:
            return OutcomeKind(resolved.outcome)
        case triage.CaseNotAccepted():
            return OutcomeKind.NOT_ACCEPTED
        case triage.CaseWithdrawn():
            return OutcomeKind.WITHDRAWN
        case _:
            return before


def _declined(event: Event) -> str | None:
    match event.data:
        case triage.WishDeclined() as wish:
            return DECLINED.get(wish.ground, DECLINED["other"])
        case triage.WithdrawalEnded(ground="declined"):
            return DECLINED["withdrawal"]
        case _:
            return None


def _unit(state: CaseState, profile: Profile) -> str | None:
    """The unit in charge of the round. Of a report of a breach no more is shown than was told."""
    case = state.case
    if case is None or case.lead is None or is_confidential(state):
        return None
    order = case.orders[case.lead]
    department = profile.departments_by_code.get(order.department)
    name = department.name if department else order.department
    handoff = state.handoffs.get(case.lead)
    return f"{name}（{handoff.unit}）" if handoff is not None and handoff.unit else name


def _ring(state: CaseState, profile: Profile) -> list[dict[str, str]]:
    """Whom to ring, while the case is open: what intake found, and what triage decided."""
    case = state.case
    if case is not None and case.phase in (Phase.FINISHED, Phase.CLOSED):
        return []
    found = state.submission.ring if state.submission else ()
    decided = case.decision.ring if case and case.decision else ()
    hotlines = profile.hotlines_by_code
    return [
        {"number": number, "name": hotlines[number].name, "says": hotlines[number].says}
        for number in dict.fromkeys((*found, *decided))
        if number in hotlines
    ]


def _pending(state: CaseState, profile: Profile) -> list[dict[str, Any]]:
    """What the citizen said and nobody has answered yet."""
    open_wishes = set(state.open_wishes)
    return [
        {"wish": WISH_NAMES[event.type], "at": _local(event.data.occurred_at, profile)}
        for event in state.timeline
        if event.id in open_wishes and event.type in WISH_NAMES
    ]


def _awaits_rating(state: CaseState) -> bool:
    case = state.case
    if case is None or case.phase != Phase.FINISHED or case.outcome is None:
        return False
    has_word = any(mark.round == case.round for mark in case.marks)
    open_wishes = set(state.open_wishes)
    is_on_its_way = any(e.id in open_wishes and e.type == "rating.given" for e in state.timeline)
    return case.outcome.kind in _RATED and not has_word and not is_on_its_way


def _local(moment: datetime | None, profile: Profile) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(ZoneInfo(profile.time_zone)).isoformat(timespec="seconds")
