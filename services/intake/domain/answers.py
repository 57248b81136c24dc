"""What is answered, from the event alone: asked twice, it is the same answer."""

from typing import Any

from contracts import ids
from contracts.danger import Danger, DangerMatcher
from contracts.envelope import Event
from contracts.profile import Profile
from contracts.requests import RequestSubmitted, SupplementGiven


def submission_answer(
    event: Event, profile: Profile, code_secret: bytes, public_url: str
) -> dict[str, Any]:
    """Return the answer to an accepted request. The code never stands in a URL: those are logged
    by everything between here and the citizen."""
    data = event.data
    if not isinstance(data, RequestSubmitted):
        raise TypeError(f"a {event.type} is no submission")
    case_no = data.case_no
    return {
        "case_no": case_no,
        "case_no_spoken": ids.spoken(case_no),
        "retrieval_code": ids.retrieval_code(code_secret, case_no, data.code_n),
        "status_url": f"{public_url.rstrip('/')}/v1/cases/{case_no}",
        "accepted_at": data.accepted_at,
        "danger": _whom_to_ring(data.ring, profile) if data.danger else None,
    }


def wish_answer(event: Event, profile: Profile, matcher: DangerMatcher) -> dict[str, Any]:
    """Return the answer to later words; a supplement can show danger as the request can."""
    answer: dict[str, Any] = {
        "case_no": event.data.case_no,
        "accepted_at": event.data.recorded_at,
    }
    if isinstance(event.data, SupplementGiven):
        danger = matcher.find(event.data.text or "")
        answer["danger"] = _whom_to_ring(danger.ring, profile) if danger else None
    return answer


def cause_of_danger(event: Event, matcher: DangerMatcher) -> str | None:
    """Return the main cause of danger that an event's words show, or None."""
    if isinstance(event.data, RequestSubmitted):
        return event.data.danger[0].cause if event.data.danger else None
    if isinstance(event.data, SupplementGiven):
        danger: Danger | None = matcher.find(event.data.text or "")
        return danger.cause if danger else None
    return None


def _whom_to_ring(ring: tuple[str, ...], profile: Profile) -> dict[str, Any]:
    hotlines = [profile.hotlines_by_code[number] for number in ring]
    return {
        "ring": [{"number": one.code, "name": one.name, "says": one.says} for one in hotlines],
        "says": profile.say("danger_ring", numbers="、".join(ring)),
    }
