"""What people of the desk send: one form for each command."""

from typing import Annotated, Literal

from pydantic import AnyHttpUrl, AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from contracts.vocabulary import GroupKind, Kind, Rating, Result, Tier, TierCause

Words = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=4000)]
Short = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Means = Literal["telephone", "channel", "in_person"]


class Form(BaseModel):
    """A form: unknown fields are mistakes, and said."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AnswerForm(Form):
    """答复."""

    text: Words
    sources: tuple[Short, ...] = ()
    inquiry_id: str | None = None


class NotAcceptForm(Form):
    """不予受理."""

    reason: Words
    instead: Words


class InquireForm(Form):
    """征询."""

    asked: Short
    by: Literal["telephone", "message"] = "message"
    question: Words


class InquiryAnswerForm(Form):
    """Who confirmed what, and when."""

    inquiry_id: str
    confirmed_by: Short
    confirmed_at: AwareDatetime
    text: Words


class Changes(Form):
    """What a person sets; what is left out stays."""

    category: str | None = None
    tier: Tier | None = None
    cause: TierCause | None = None
    kind: Kind | None = None
    hotline: Literal["none", "110", "12345"] | None = None
    region: str | None = None


class ReclassifyForm(Changes):
    """改类."""

    why: Words


class JudgeForm(Changes):
    """研判."""

    opinion: Words
    lead: str | None = None
    assists: tuple[str, ...] = ()


class GiveForm(Form):
    """交办."""

    department: str
    assists: tuple[str, ...] = ()
    note: Words | None = None


class UrgeForm(Form):
    """催办."""

    text: Words | None = None


class ExtensionForm(Form):
    """延期: until when, or null to decline."""

    handoff_id: str
    until: AwareDatetime | None


class WithdrawalForm(Form):
    """A red case's withdrawal."""

    accepted: bool


class ErasureForm(Form):
    """Whether an erasure that was asked for is done now."""

    accepted: bool


class AcceptResultForm(Form):
    """The desk agrees to a result, in the words that the citizen is told."""

    text: Words
    acts: Words | None = None
    acted_at: AwareDatetime | None = None
    contact: Short | None = None

    def result(self) -> Result:
        """Return it as the contract's result."""
        return Result(text=self.text, acts=self.acts, acted_at=self.acted_at, contact=self.contact)


class VisitForm(Form):
    """回访: with a rating if the citizen was reached."""

    by: Means
    rating: Rating | None


class ContactForm(Form):
    """The citizen was rung."""

    by: Means
    reached: bool


class SuperviseForm(Form):
    """督办."""

    text: Words
    due_at: AwareDatetime


class SupervisionReplyForm(Form):
    """The reply to a supervision order."""

    supervision_no: str
    text: Words


class SettleForm(Form):
    """A task that is dealt with."""

    task_id: str
    note: Words


class GroupForm(Form):
    """并案 or 同类合办; the first case is the anchor."""

    kind: GroupKind
    members: tuple[str, ...] = Field(min_length=2, max_length=500)
    reasons: tuple[Short, ...] = ()


class GroupChangeForm(Form):
    """Members that come or go."""

    joined: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


class PolicyForm(Form):
    """A policy passage."""

    title: Short
    text: Annotated[str, StringConstraints(min_length=1, max_length=20_000)]
    source: Short
    category: str
    regions: tuple[str, ...] = ()
    valid_from: AwareDatetime
    valid_until: AwareDatetime | None = None
    url: AnyHttpUrl | None = None
