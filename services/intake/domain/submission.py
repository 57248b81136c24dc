"""A citizen's request as the event that stands on the log."""

from dataclasses import dataclass
from datetime import datetime

from contracts import ids, vocabulary
from contracts.danger import Danger, DangerMatcher
from contracts.envelope import Event
from contracts.profile import Profile
from contracts.requests import RequestSubmitted
from services.intake.domain.bodies import SubmissionBody


@dataclass(frozen=True, slots=True)
class Submission:
    """What a channel posted, checked, and under which number it stands."""

    case_no: str
    channel: str
    idempotency_key: str
    body: SubmissionBody
    body_digest: str


def submitted(
    submission: Submission,
    *,
    profile: Profile,
    matcher: DangerMatcher,
    code_version: int,
    accepted_at: datetime,
    traceparent: str,
) -> Event:
    """Return the event. Its id holds the body's digest, so another body is another event."""
    body, case_no = submission.body, submission.case_no
    cause = command_cause(submission.idempotency_key, submission.body_digest)
    danger = matcher.find(body.all_words())
    data = RequestSubmitted(
        case_no=case_no,
        document_id=case_no,
        lc=1,
        caused_by=cause,
        occurred_at=body.occurred_at or accepted_at,
        recorded_at=accepted_at,
        accepted_at=accepted_at,
        request=_content(submission),
        body_digest=submission.body_digest,
        code_version=code_version,
        code_n=0,
        danger=_signs(danger),
        ring=danger.ring if danger else (),
        profile=f"{profile.id}/{profile.version}",
    )
    id_ = ids.event_id(case_no, case_no, RequestSubmitted.type, cause)
    return Event.of(id_, data, traceparent)


def command_cause(idempotency_key: str, *others: str) -> str:
    """Return the cause that a client's key stands for. The key itself may hold anything, a
    person's number too, so only its digest goes on the log."""
    written = "|".join(f"{len(part)}:{part}" for part in (idempotency_key, *others))
    return f"command:{ids.digest_of(written.encode())}"


def _content(submission: Submission) -> vocabulary.RequestContent:
    body = submission.body
    location, contact, other = body.location, body.contact, body.on_behalf_of
    return vocabulary.RequestContent(
        channel=submission.channel,
        text=body.text,
        category=body.category,
        region=body.region,
        location=location and vocabulary.Location(**location.model_dump()),
        contact=contact and vocabulary.Contact(**contact.model_dump()),
        on_behalf_of=other and vocabulary.OnBehalfOf(**other.model_dump()),
        external_id=body.external_id,
        callback_url=str(body.callback_url) if body.callback_url else None,
    )


def _signs(danger: Danger | None) -> tuple[vocabulary.DangerSign, ...]:
    if danger is None:
        return ()
    return tuple(
        vocabulary.DangerSign(code=sign.code, cause=sign.cause, start=sign.start, end=sign.end)
        for sign in danger.signs
    )
