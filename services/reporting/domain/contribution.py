"""What one case contributes to the figures: a pure function of its state, never of the time.

Nothing here reads a clock, so a recount over the same events gives the same figures: a case is
overdue when its own events show that it was open past its time. Nothing reads what is personal,
so an erased case counts as before.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from contracts import triage
from contracts.envelope import Event
from contracts.lifecycle import CaseDocument, CaseState, Phase, deadline_name
from contracts.lifecycle.case import Mark
from contracts.vocabulary import DeadlineKind, Kind, OutcomeKind, Role
from services.reporting.domain.buckets import CASE, Bucket, Figures, count, hour_of
from services.reporting.domain.handoff_counters import count_handoffs

DAY = timedelta(hours=24)
CONTENT_FROM = 3
"""满意率 counts the top three of five levels."""
_ENDED = (Phase.FINISHED, Phase.CLOSED)
_DONE = (OutcomeKind.ANSWER, OutcomeKind.RESULT)


def contribution_of(state: CaseState) -> Figures:
    """Return what a case adds to the figures; nothing while its acceptance is not seen."""
    figures: Figures = {}
    bucket = _bucket(state)
    if bucket is not None:
        count(figures, bucket, _counters(state))
        mark = _last_mark(state.case)
        if mark is not None:
            count(figures, _credited(bucket, mark), _mark_counters(mark))
    count_handoffs(figures, state, channel_of(state))
    return figures


def accepted_at(state: CaseState) -> datetime | None:
    """Return when the case was accepted, as triage froze it, else as intake said."""
    if state.case is not None and state.case.accepted_at is not None:
        return state.case.accepted_at
    return state.submission.accepted_at if state.submission else None


def channel_of(state: CaseState) -> str:
    """Return the channel that posted the case; it is no personal field, so erasure leaves it."""
    if state.submission is not None:
        return state.submission.request.channel
    opened = (e.data for e in state.timeline if isinstance(e.data, triage.CaseOpened))
    return next((data.request.channel for data in opened), "")


def leading_department(case: CaseDocument | None) -> str:
    """Return the department of the newest leading order, also of one that has ended."""
    leading = [o for o in (case.orders.values() if case else ()) if o.role == Role.LEAD]
    return leading[-1].department if leading else ""


def _bucket(state: CaseState) -> Bucket | None:
    accepted = accepted_at(state)
    if accepted is None:
        return None
    case = state.case
    decision = case.decision if case else None
    asked = state.submission.request if state.submission else None
    return Bucket(
        kind=CASE,
        hour=hour_of(accepted),
        region=(decision.region if decision else asked.region if asked else None) or "",
        category=decision.category if decision else (asked.category if asked else None) or "",
        tier=case.tier.value if case and case.tier else "",
        department=leading_department(case),
        channel=channel_of(state),
    )


@dataclass(frozen=True, slots=True)
class _Course:
    """How the case went, as far as several counters need it."""

    accepted_at: datetime
    outcome: OutcomeKind | None
    is_finished: bool
    finished_at: datetime | None
    first_due_at: datetime | None
    was_led: bool
    last_seen_at: datetime


def _course(state: CaseState, case: CaseDocument, accepted: datetime) -> _Course:
    first = case.first_deadlines.get(deadline_name(DeadlineKind.TOLD)) or case.first_deadlines.get(
        deadline_name(DeadlineKind.RESULT)
    )
    is_finished = case.phase in _ENDED and bool(case.finishes)
    return _Course(
        accepted_at=accepted,
        outcome=case.outcome.kind if case.outcome else None,
        is_finished=is_finished,
        finished_at=case.finishes[-1].at if is_finished else None,
        first_due_at=first.due_at if first else None,
        was_led=any(order.role == Role.LEAD for order in case.orders.values()),
        last_seen_at=max(event.data.occurred_at for event in _own_events(state)),
    )


def _own_events(state: CaseState) -> Iterator[Event]:
    """The events of the case document: their times are triage's, not a department's."""
    return (
        event
        for event in state.timeline
        if event.data.seq is not None and event.data.document_id == state.case_no
    )


def _counters(state: CaseState) -> dict[str, int]:
    counters = {
        "accepted": 1,
        "incomplete": int(bool(state.incomplete)),
        "double": int(bool(state.double)),
        "matters": _matters(state),
    }
    accepted = accepted_at(state)
    case = state.case
    if case is None or case.seq == 0 or accepted is None:
        return {**counters, "open": 1, f"open_{state.status}": 1}
    course = _course(state, case, accepted)
    return {
        **counters,
        **_ending(state, case, course),
        **_timeliness(state, case, course),
        **_care(case),
    }


def _ending(state: CaseState, case: CaseDocument, course: _Course) -> dict[str, int]:
    """How the case ended, or where it stands."""
    outcome = course.outcome
    is_noise = case.decision is not None and case.decision.kind == Kind.NOISE
    is_direct = course.is_finished and outcome in _DONE and not case.orders and not is_noise
    counters = {
        "answered_online": int(outcome == OutcomeKind.ANSWER and not course.was_led),
        "handed_over": int(course.was_led),
        "not_accepted": int(outcome == OutcomeKind.NOT_ACCEPTED),
        "withdrawn": int(outcome == OutcomeKind.WITHDRAWN),
        "noise": int(is_noise),
        "finished": int(course.is_finished),
        "finished_ever": int(bool(case.finishes)),
        "finished_without_handoff": int(is_direct),
        "direct_base": int(not is_noise and outcome != OutcomeKind.NOT_ACCEPTED),
        "reopened": int(bool(case.finishes) and case.round > 0),
        "closed": int(case.phase == Phase.CLOSED),
        "open": int(not course.is_finished),
    }
    if not course.is_finished:
        counters[f"open_{state.status}"] = 1
    for task in case.tasks.values():
        counters[f"queue_{task.kind}"] = counters.get(f"queue_{task.kind}", 0) + 1
    return counters


def _timeliness(state: CaseState, case: CaseDocument, course: _Course) -> dict[str, int]:
    """按时办结 goes by the first deadline, whatever was set later, through all rounds."""
    due, finished = course.first_due_at, course.finished_at
    is_overdue = not course.is_finished and due is not None and course.last_seen_at >= due
    return {
        "finished_in_time": int(finished is not None and (due is None or finished <= due)),
        "open_overdue": int(is_overdue),
        "handled_24h": int(_is_handled_by(state, case, course.accepted_at + DAY)),
    }


def _is_handled_by(state: CaseState, case: CaseDocument, limit: datetime) -> bool:
    """Whether the citizen had been told an outcome, or of the handing over, by then.

    Where no message was planned for the handing over, the case lookup tells it at once.
    """
    if any(finish.at <= limit for finish in case.finishes):
        return True
    for event in state.timeline:
        data = event.data
        if not isinstance(data, triage.HandoffOrdered) or data.role != Role.LEAD:
            continue
        messages = [d for d in state.deliveries.values() if d.tells == event.id]
        if not messages and data.occurred_at <= limit:
            return True
        done = [d.done_at for d in messages if d.state == "done" and d.done_at is not None]
        if done and min(done) <= limit:
            return True
    return False


def _care(case: CaseDocument) -> dict[str, int]:
    """What was done beside the way of the case."""
    return {
        "inquired": int(bool(case.inquiries)),
        "inquiries": len(case.inquiries),
        "urged": int(case.urgings > 0),
        "urgings": case.urgings,
        "supervised": int(bool(case.supervisions)),
        "escalated": int(case.level > 0),
    }


def _matters(state: CaseState) -> int:
    """Matters (事) of this case: a group is one, counted at the case that is its anchor."""
    groups = sum(not group.dissolved and bool(group.members) for group in state.groups.values())
    membership = state.case.membership if state.case else None
    if membership is None:
        return 1 + groups
    is_unseen_anchor = (
        membership.anchor == state.case_no and membership.group_id not in state.groups
    )
    return groups + is_unseen_anchor


def _last_mark(case: CaseDocument | None) -> Mark | None:
    """Return the citizen's last word on the last finished round: one a case."""
    if case is None or not case.finishes:
        return None
    round_ = case.finishes[-1].round
    return next((mark for mark in reversed(case.marks) if mark.round == round_), None)


def _credited(bucket: Bucket, mark: Mark) -> Bucket:
    """The word counts for the unit that led the round it is about."""
    return bucket._replace(department=mark.credited or "")


def _mark_counters(mark: Mark) -> dict[str, int]:
    """Online answers and hand-offs are counted apart and never in one rate."""
    by = "handoff" if mark.credited else "online"
    return {
        f"{by}_visits_valid": 1,
        f"{by}_visits_solved": int(mark.rating.solved),
        f"{by}_ratings_n": 1,
        f"{by}_ratings_top3": int(mark.rating.level >= CONTENT_FROM),
    }
