"""A hand-off as its department may see it."""

from datetime import datetime

from contracts import handling as h
from contracts.envelope import Event
from contracts.feeds import FeedHandoff
from contracts.lifecycle import HandoffDocument
from services.chassis.kept import Kept

_UNSEEN = (h.HandoffQueued, h.HandoffUndeliverable, h.HandoffDeadlineFired)
"""Events that tell the department nothing new."""
_NOTICES = {
    "handoff.recalled": "recalled",
    "handoff.not_needed": "not_needed",
    "handoff.supplemented": "supplemented",
    "handoff.urged": "urged",
    "handoff.extended": "extended",
}


def feed_document(kept: Kept[HandoffDocument]) -> FeedHandoff:
    """Return the hand-off as the feed carries it, as of now. Its version is the document's.

    Who reported a breach (举报) never stands in it: neither contact nor for whom, nor the channel's
    own number. The callback address is notify's alone.
    """
    handoff = kept.document
    order = handoff.order
    if order is None or handoff.ordered_at is None:
        raise ValueError("a hand-off without its order")
    request = order.request
    return FeedHandoff(
        handoff_id=handoff.document_id,
        version=handoff.seq,
        state=handoff.state,
        case_no=handoff.case_no,
        department=handoff.department,
        role=handoff.role,
        round=handoff.round,
        attempt=handoff.attempt,
        binding=order.binding,
        category=order.category,
        tier=order.tier,
        cause=order.cause,
        region=order.region,
        text=request.text,
        location=request.location,
        contact=None if order.confidential or kept.is_erased else request.contact,
        on_behalf_of=None if order.confidential or kept.is_erased else request.on_behalf_of,
        supplements=tuple(
            text for text in (*order.supplements, *handoff.supplements) if text is not None
        ),
        note=order.note,
        accepted_at=order.accepted_at,
        ordered_at=handoff.ordered_at,
        sign_due_at=order.sign_due_at,
        result_due_at=result_due_at(kept),
        return_until=order.return_until,
        urgings=handoff.urgings,
        returned_by=order.returned_by,
        unit=handoff.unit,
        refusal=handoff.refusal,
        erased=kept.is_erased,
    )


def result_due_at(kept: Kept[HandoffDocument]) -> datetime | None:
    """Return until when the result is due, extensions included, whether or not that has passed."""
    for event in reversed(kept.events):
        data = event.data
        if isinstance(data, h.HandoffExtended) and data.granted and data.result_due_at:
            return data.result_due_at
    order = kept.document.order
    return order.result_due_at if order else None


def is_seen_by_department(event: Event) -> bool:
    """Whether an event changes what the department sees."""
    return isinstance(event.data, h.HandoffEvent) and not isinstance(event.data, _UNSEEN)


def notice_of(event: Event) -> str | None:
    """Return the name under which a department by HTTP is told of an event, or None.

    What it did itself, it knows; a refused reply was answered in the same call.
    """
    return _NOTICES.get(event.type)
