"""`requests.v1`, written by intake: facts and wishes of citizens, never the state of a case.

These events have no `seq`: intake keeps no document. Only the submission applies by itself; a
wish stays open until an event of triage with its `caused_by` answers it.
"""

from typing import ClassVar

from pydantic import Field

from contracts.envelope import Event, EventData, register
from contracts.vocabulary import DangerSign, Instant, PersonalText, Rating, RequestContent

OWNER = "intake"
_MOMENTS = {"occurred_at", "recorded_at", "accepted_at"}


class RequestSubmitted(EventData):
    """A citizen's request, accepted. `code_version` and `code_n` name the retrieval code."""

    type: ClassVar[str] = "request.submitted"

    request: RequestContent
    body_digest: str
    accepted_at: Instant
    code_version: int = Field(ge=1)
    code_n: int = Field(ge=0, default=0)
    danger: tuple[DangerSign, ...] = ()
    ring: tuple[str, ...] = ()
    profile: str


class SupplementGiven(EventData):
    """补充: something that the citizen adds."""

    type: ClassVar[str] = "supplement.given"

    text: PersonalText = None


class WithdrawalRequested(EventData):
    """The citizen no longer needs it."""

    type: ClassVar[str] = "withdrawal.requested"

    reason: PersonalText = None


class RatingGiven(EventData):
    """The citizen's rating; triage says for which round it counts."""

    type: ClassVar[str] = "rating.given"

    rating: Rating


class ErasureRequested(EventData):
    """The citizen, through the channel, or the operator asks for erasure."""

    type: ClassVar[str] = "erasure.requested"

    by: str


register(
    OWNER, RequestSubmitted, SupplementGiven, WithdrawalRequested, RatingGiven, ErasureRequested
)


def is_taken_twice(one: Event, other: Event) -> bool:
    """Whether two contents of one id are the same words of a citizen, taken at two moments.

    While its store is away intake has no record of a key, so a client that repeats a call (which
    nobody answered, as the process died) is accepted anew. What triage has seen first counts.
    """
    if one.data.owner != OWNER or type(one.data) is not type(other.data):
        return False
    if one.data.recorded_at == other.data.recorded_at:
        return False
    return one.data.model_dump(exclude=_MOMENTS) == other.data.model_dump(exclude=_MOMENTS)
