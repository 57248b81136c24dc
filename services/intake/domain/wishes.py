"""What a citizen says later: facts and wishes that triage answers, never the state of a case."""

from datetime import datetime

from contracts import ids
from contracts.envelope import Event, EventData
from contracts.requests import (
    ErasureRequested,
    RatingGiven,
    RequestSubmitted,
    SupplementGiven,
    WithdrawalRequested,
)
from contracts.vocabulary import Rating
from services.intake.domain.bodies import ErasureBody, RatingBody, SupplementBody, WithdrawalBody
from services.intake.domain.submission import command_cause

WishBody = SupplementBody | WithdrawalBody | RatingBody | ErasureBody
_LC = 2
"""After the submission. Intake keeps no document and so knows no later time of the case."""


def wish(
    case_no: str, body: WishBody, *, by: str, key: str, now: datetime, traceparent: str
) -> Event:
    """Return the event of a citizen's later words; `by` says who asked for an erasure."""
    cause = command_cause(key)
    of = {
        "case_no": case_no,
        "document_id": case_no,
        "lc": _LC,
        "caused_by": cause,
        "occurred_at": now,
        "recorded_at": now,
    }
    data: EventData
    match body:
        case SupplementBody():
            data = SupplementGiven.model_validate({**of, "text": body.text})
        case WithdrawalBody():
            data = WithdrawalRequested.model_validate({**of, "reason": body.reason})
        case RatingBody():
            rating = Rating(level=body.level, solved=body.solved, comment=body.comment)
            data = RatingGiven.model_validate({**of, "rating": rating})
        case ErasureBody():
            data = ErasureRequested.model_validate({**of, "by": by})
    return Event.of(ids.event_id(case_no, case_no, data.type, cause), data, traceparent)


def record_id(event: Event) -> str:
    """Return the id under which an event's key is remembered: a submission's is the case number
    alone (one body only), a wish's its kind and key too."""
    if isinstance(event.data, RequestSubmitted):
        return event.data.case_no
    return f"{event.data.case_no}/{event.type}/{event.data.caused_by.removeprefix('command:')}"
