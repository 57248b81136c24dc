"""What is to be brought to whom: planned once for each event and target, with its body frozen."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson

from contracts import handling as h
from contracts.envelope import Event
from contracts.ids import delivery_id
from contracts.lifecycle import DeliveryDocument, HandoffDocument, Status
from contracts.profile import Step
from contracts.telling import Told
from contracts.vocabulary import Tier
from services.chassis.kept import Kept
from services.notify.domain.feed import feed_document

LOOKUP = "lookup"
"""Stands for the target of what is left for the citizen to look up."""

_STATUS: Mapping[Step, Status] = {
    "accepted": Status.TRIAGED,
    "handed_over": Status.ORDERED,
    "signed": Status.SIGNED,
    "progress": Status.IN_PROGRESS,
    "question": Status.IN_PROGRESS,
    "withdrawal_too_late": Status.IN_PROGRESS,
    "answered": Status.ANSWERED,
    "resolved": Status.RESOLVED,
    "not_accepted": Status.NOT_ACCEPTED,
    "withdrawn": Status.WITHDRAWN,
    "finished_ask_rating": Status.FINISHED,
    "reopened": Status.TRIAGED,
    "closed": Status.CLOSED,
    "grouped": Status.TRIAGED,
}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a message is tried before a person sees to it, by the tier of the case."""

    red: timedelta
    orange: timedelta
    blue: timedelta

    def of(self, tier: Tier | None) -> timedelta:
        """Return the patience for a tier; for an unknown one that of orange."""
        if tier is Tier.RED:
            return self.red
        return self.blue if tier is Tier.BLUE else self.orange


def callback_id(event: Event, callback_url: str | None) -> str:
    """Return the id of the delivery that tells the citizen of an event."""
    return delivery_id(event.data.case_no, event.id, callback_url or LOOKUP)


def plan_callback(
    kept: Kept[DeliveryDocument],
    event: Event,
    told: Told,
    now: datetime,
    *,
    callback_url: str,
    channel: str | None,
    unit: str | None,
    give_up_at: datetime,
) -> None:
    """Plan to post what the citizen is told to their channel. `unit` is who handles the case."""
    body: dict[str, Any] = {
        "case_no": event.data.case_no,
        "event_id": event.id,
        "step": told.step,
        "is_outcome": told.is_outcome,
        "status": _STATUS[told.step],
        "text": told.text,
        "unit": unit,
        "round": event.data.round,
        "order": event.data.lc,
        "occurred_at": event.data.occurred_at,
    }
    _record(
        kept,
        h.DeliveryPlanned,
        event,
        told.step,
        now,
        purpose="callback",
        target=callback_url,
        body=orjson.dumps(body, option=orjson.OPT_UTC_Z).decode(),
        order=event.data.lc,
        give_up_at=give_up_at,
        channel=channel,
    )


def leave_for_lookup(kept: Kept[DeliveryDocument], event: Event, told: Told, now: datetime) -> None:
    """The citizen gave no address: the outcome is told by standing where they look it up."""
    _record(kept, h.CitizenTold, event, told.step, now, by="lookup", told_at=now, attempts=0)


def plan_handoff(
    kept: Kept[DeliveryDocument],
    handoff: Kept[HandoffDocument],
    event: Event,
    step: str,
    now: datetime,
    *,
    url: str,
    give_up_at: datetime,
) -> None:
    """Plan to post a hand-off, or news of it, to the department's server.

    What is posted of an erased case holds nothing personal, so it need not be redacted itself.
    """
    document = feed_document(handoff).model_dump_json(exclude_none=True)
    _record(
        kept,
        h.DeliveryPlanned,
        event,
        step,
        now,
        purpose="handoff",
        target=url,
        body=f'{{"step":"{step}","handoff":{document}}}',
        order=handoff.document.seq,
        give_up_at=give_up_at,
        handoff_id=handoff.document.document_id,
        holds_nothing_personal=handoff.is_erased,
    )


def _record(
    kept: Kept[DeliveryDocument],
    data_type: type[h.DeliveryEvent],
    event: Event,
    step: str,
    now: datetime,
    **fields: Any,
) -> None:
    kept.record(
        data_type,
        cause=f"event:{event.id}",
        now=now,
        after=event.data,
        traceparent=event.traceparent,
        round=event.data.round,
        delivery_id=kept.document.document_id,
        tells=event.id,
        step=step,
        **fields,
    )


def settle(
    kept: Kept[DeliveryDocument],
    data_type: type[h.DeliveryEvent],
    cause: str,
    now: datetime,
    **fields: Any,
) -> None:
    """Record how a planned delivery ended."""
    planned = kept.events[0]
    kept.record(
        data_type,
        cause=cause,
        now=now,
        traceparent=planned.traceparent,
        round=planned.data.round,
        delivery_id=kept.document.document_id,
        tells=kept.document.tells,
        step=kept.document.step,
        **fields,
    )


def attempt_cause(delivery: DeliveryDocument, attempt: int) -> str:
    """Return what the outcome of an attempt is caused by."""
    return f"attempt:{delivery.document_id}/{attempt}"
