"""What the hand-offs of a case contribute to the figures, each by its own hour of dispatch."""

from datetime import datetime, timedelta

from contracts import handling, triage
from contracts.feeds import HandoffState
from contracts.lifecycle import CaseState, HandoffDocument, deadline_name
from contracts.lifecycle.case import Order
from contracts.vocabulary import DeadlineKind, Firing, Role
from services.reporting.domain.buckets import HANDOFF, Bucket, Figures, count, hour_of

CONTACT_WITHIN = timedelta(hours=24)
"""响应: the citizen is reached within a day of dispatch, and before the result is due."""
_SIGNED = deadline_name(DeadlineKind.SIGNED)
_RESULT = deadline_name(DeadlineKind.RESULT)
_STATES = {
    HandoffState.RESOLVED: "resolved",
    HandoffState.RETURNED: "returned",
    HandoffState.RECALLED: "recalled",
    HandoffState.NOT_NEEDED: "not_needed",
    HandoffState.UNDELIVERABLE: "undeliverable",
}


def count_handoffs(figures: Figures, state: CaseState, channel: str) -> None:
    """Add every order of the case to the figures."""
    if state.case is None or not state.case.orders:
        return
    ordered = {
        event.data.handoff_id: event.data
        for event in state.timeline
        if isinstance(event.data, triage.HandoffOrdered)
    }
    justified = {
        event.data.handoff_id
        for event in state.timeline
        if isinstance(event.data, triage.CaseReturned) and event.data.justified
    }
    by_window = _signed_by_window(state)
    for order in state.case.orders.values():
        handoff_id = order.handoff_id
        counters = _counters(
            order,
            state.handoffs.get(handoff_id),
            signed_by_window=handoff_id in by_window,
            is_justified=handoff_id in justified,
        )
        count(figures, _bucket(order, ordered[handoff_id], channel), counters)


def _bucket(order: Order, ordered: triage.HandoffOrdered, channel: str) -> Bucket:
    return Bucket(
        kind=HANDOFF,
        hour=hour_of(order.ordered_at),
        region=ordered.order.region or "",
        category=ordered.order.category,
        tier=ordered.order.tier.value,
        department=order.department,
        channel=channel,
        role=order.role.value,
    )


def _signed_by_window(state: CaseState) -> set[str]:
    """Hand-offs that nobody signed: the window for returning them closed, so they count as taken.

    A signature implied by a later act of the department is one.
    """
    return {
        event.data.handoff_id
        for event in state.timeline
        if isinstance(event.data, handling.HandoffSigned)
        and event.data.implied
        and event.data.caused_by.startswith("deadline:")
    }


def _counters(
    order: Order, handoff: HandoffDocument | None, *, signed_by_window: bool, is_justified: bool
) -> dict[str, int]:
    is_lead = order.role == Role.LEAD
    counters = {"dispatched": 1, "dispatched_lead": int(is_lead)}
    if handoff is None:
        return counters
    signed_at = None if signed_by_window else handoff.signed_at
    sign_due = _first_due(handoff, _SIGNED)
    is_missed = (_SIGNED, str(Firing.MISSED)) in handoff.fired
    counters |= {
        "signed": int(signed_at is not None),
        "signed_in_time": int(
            signed_at is not None and (sign_due is None or signed_at <= sign_due)
        ),
        "sign_overdue": int(signed_at is None and (is_missed or signed_by_window)),
        "returned_justified": int(handoff.state == HandoffState.RETURNED and is_justified),
        "extended": int(handoff.extensions > 0),
        "contacted_in_time": int(is_lead and _is_contacted_in_time(order.ordered_at, handoff)),
    }
    if handoff.state in _STATES:
        counters[_STATES[handoff.state]] = 1
    return counters


def _first_due(handoff: HandoffDocument, name: str) -> datetime | None:
    deadline = handoff.first_deadlines.get(name)
    return deadline.due_at if deadline else None


def _is_contacted_in_time(ordered_at: datetime, handoff: HandoffDocument) -> bool:
    limit = ordered_at + CONTACT_WITHIN
    result_due = _first_due(handoff, _RESULT)
    if result_due is not None:
        limit = min(limit, result_due)
    return any(reached and at <= limit for at, reached in handoff.contacts)
