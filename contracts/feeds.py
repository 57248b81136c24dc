"""What passes between notify and a department: the hand-off document and the replies to it.

These are documents, not case events. `feed.<department>.v1` carries the whole hand-off as the
department may see it, under its id, newest version last; `replies.<department>.v1` carries what
the department did. Over HTTP a reply is the same body, its `reply_id` the `Idempotency-Key`.
"""

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from contracts.vocabulary import CaseNumber, Contact, Instant, Location, OnBehalfOf, Role, Tier

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
ReplyId = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class HandoffState(StrEnum):
    """Where a hand-off stands."""

    QUEUED = "queued"
    SENT = "sent"
    SIGNED = "signed"
    IN_PROGRESS = "in_progress"
    RESOLVED = "resolved"
    RETURNED = "returned"
    RECALLED = "recalled"
    NOT_NEEDED = "not_needed"
    UNDELIVERABLE = "undeliverable"

    @property
    def is_open(self) -> bool:
        """Whether the department still owes something."""
        return self in _OPEN


_OPEN = frozenset(
    {
        HandoffState.QUEUED,
        HandoffState.SENT,
        HandoffState.SIGNED,
        HandoffState.IN_PROGRESS,
        HandoffState.UNDELIVERABLE,
    }
)


class FeedHandoff(BaseModel):
    """A hand-off as the department sees it. A later `version` replaces an earlier one.

    `erased`: the citizen's personal data is erased and stands here no more. It replaces the same
    version as well, and whoever keeps a copy deletes what is personal in it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    handoff_id: str
    version: int = Field(ge=1)
    state: HandoffState
    case_no: CaseNumber
    department: str
    role: Role
    round: int = Field(ge=0)
    attempt: int = Field(ge=1)
    binding: bool = False
    category: str
    tier: Tier
    cause: str | None = None
    region: str | None = None
    text: str | None = None
    location: Location | None = None
    contact: Contact | None = None
    on_behalf_of: OnBehalfOf | None = None
    supplements: tuple[str, ...] = ()
    note: str | None = None
    accepted_at: Instant | None = None
    ordered_at: Instant
    sign_due_at: Instant | None = None
    result_due_at: Instant | None = None
    return_until: Instant | None = None
    urgings: int = Field(default=0, ge=0)
    returned_by: tuple[str, ...] = ()
    unit: str | None = None
    refusal: str | None = None
    """The last reply that did not apply, and why."""
    erased: bool = False


class Reply(BaseModel):
    """What every reply holds. `person` is the clerk who replies."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)

    reply_id: ReplyId
    handoff_id: str
    version: int | None = Field(default=None, ge=1)
    occurred_at: Instant | None = None
    person: Name | None = None


class SignReply(Reply):
    """签收."""

    act: Literal["sign"] = "sign"


class ReturnReply(Reply):
    """退单, with the ground and the proper department."""

    act: Literal["return"] = "return"
    ground: Words
    proper_department: Name


class PassOnReply(Reply):
    """转派 to a subordinate unit."""

    act: Literal["pass_on"] = "pass_on"
    unit: Name


class ProgressReply(Reply):
    """How far it is."""

    act: Literal["progress"] = "progress"
    text: Words


class QuestionReply(Reply):
    """A question to the citizen."""

    act: Literal["question"] = "question"
    text: Words


class ContactedReply(Reply):
    """The citizen was contacted, or not reached."""

    act: Literal["contacted"] = "contacted"
    by: Literal["telephone", "channel", "in_person"]
    contacted_at: Instant
    reached: bool


class ExtensionReply(Reply):
    """延期: until when, and why."""

    act: Literal["extension"] = "extension"
    ground: Words
    result_due_at: Instant


class ResultReply(Reply):
    """办理结果: the words for the citizen, what was done, when, and whom to ring."""

    act: Literal["result"] = "result"
    text: Words
    acts: Words | None = None
    acted_at: Instant | None = None
    contact: Name | None = None


AnyReply = Annotated[
    SignReply
    | ReturnReply
    | PassOnReply
    | ProgressReply
    | QuestionReply
    | ContactedReply
    | ExtensionReply
    | ResultReply,
    Field(discriminator="act"),
]
REPLY: TypeAdapter[AnyReply] = TypeAdapter(AnyReply)
ACTS: dict[str, type[Reply]] = {
    "sign": SignReply,
    "return": ReturnReply,
    "pass_on": PassOnReply,
    "progress": ProgressReply,
    "question": QuestionReply,
    "contacted": ContactedReply,
    "extension": ExtensionReply,
    "result": ResultReply,
}
