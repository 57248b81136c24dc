"""The words and values that several events share, each named by the field's standard term."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any, TypeVar, get_args

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from contracts.ids import CASE_NUMBER_PATTERN


class Personal:
    """Marks a field that says who a person is or what they wrote: erasure sets it to null."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Show the mark in the schema, so that whoever keeps a copy knows what erasure covers."""
        return {**handler(core_schema), "x-personal": True}


def _in_utc(at: datetime) -> datetime:
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ValueError("has no time in UTC") from None


T = TypeVar("T")
PersonalText = Annotated[str | None, Personal()]
PersonalNumber = Annotated[float | None, Personal()]

CaseNumber = Annotated[str, Field(pattern=CASE_NUMBER_PATTERN)]
Count = Annotated[int, Field(ge=0)]
Instant = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A time that is given with its offset, and kept and written in UTC."""


class Value(BaseModel):
    """A part of an event: frozen, and readers ignore fields that they do not know."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Tier(StrEnum):
    """难易等级: how hard a request is, and so who acts and how fast."""

    BLUE = "blue"
    """Answered online."""
    ORANGE = "orange"
    """A department acts."""
    RED = "red"
    """Hard or dangerous: handed over within 1 hour, result within 4."""


class TierCause(StrEnum):
    """Why a case is red: the two causes are dispatched and judged in different order."""

    DANGER = "danger"
    """危急: life or health within hours; dispatched at once, judged in parallel."""
    COMPLEX = "complex"
    """疑难复杂: several departments, no policy, a second return …; judged first."""


class Kind(StrEnum):
    """What a citizen wants."""

    CONSULT = "consult"
    ACTION = "action"
    OFFER = "offer"
    NOISE = "noise"


class Role(StrEnum):
    """主办 leads and owns clock and result, 协办 assists."""

    LEAD = "lead"
    ASSIST = "assist"


class DeadlineKind(StrEnum):
    """The clocks. The citizen's stand on the case, the department's on the hand-off."""

    SEEN = "seen"
    HANDED_OVER = "handed_over"
    JUDGED = "judged"
    TOLD = "told"
    RESULT = "result"
    INQUIRY = "inquiry"
    VISIT = "visit"
    VISIT_ANSWER = "visit_answer"
    SUPERVISION = "supervision"
    SIGNED = "signed"
    RETURN_WINDOW = "return_window"


class Deadline(Value):
    """A clock that runs: `version` grows with each change, so that a firing has an id.

    `name` is the kind, or the kind and what it belongs to (`inquiry:<id>`).
    """

    name: str
    kind: DeadlineKind
    version: int = Field(ge=1)
    due_at: Instant
    near_at: Instant | None = None


class Firing(StrEnum):
    """The two moments of a deadline."""

    NEAR = "near"
    MISSED = "missed"


class Location(Value):
    """Where help is needed."""

    address: PersonalText = None
    lat: PersonalNumber = None
    lon: PersonalNumber = None


class Contact(Value):
    """Whom to ring back."""

    name: PersonalText = None
    phone: PersonalText = None


class OnBehalfOf(Value):
    """代求助: the person who needs help, when somebody else writes."""

    relation: PersonalText = None
    age: PersonalNumber = None
    situation: PersonalText = None


class RequestContent(Value):
    """What the citizen sent, as the channel posted it."""

    channel: str
    text: PersonalText = None
    category: str | None = None
    region: str | None = None
    location: Location | None = None
    contact: Contact | None = None
    on_behalf_of: OnBehalfOf | None = None
    external_id: PersonalText = None
    callback_url: PersonalText = None


class DangerSign(Value):
    """A sign of danger that the profile's lexicon found; a span, never the words."""

    code: str
    cause: str
    start: int
    end: int


class Reason(Value):
    """One reason for a decision: which rule or model said so, in which version, and why, which
    may quote the citizen or be a clerk's own words."""

    source: str
    version: str
    why: PersonalText = None
    weight: float | None = None


class DecidedBy(StrEnum):
    """Who decided. A model never changes what a person set."""

    RULES = "rules"
    PERSON = "person"


class Decision(Value):
    """Category, tier and all that follows, with the reasons for it."""

    category: str
    category_confidence: float = Field(ge=0, le=1)
    chosen_category: str | None = None
    tier: Tier
    cause: TierCause | None = None
    kind: Kind
    hotline: str = "none"
    ring: tuple[str, ...] = ()
    region: str | None = None
    needs: tuple[str, ...] = ()
    lead: str | None = None
    assists: tuple[str, ...] = ()
    unsure: tuple[str, ...] = ()
    """What lies below the profile's bounds: a person looks at it."""
    decided_by: DecidedBy
    person: str | None = None
    profile: str
    reasons: tuple[Reason, ...] = ()


class TaskKind(StrEnum):
    """Why a case waits for a person: every value is a queue that the duty desk sees."""

    ANSWER = "answer"
    """A consultation to be answered online."""
    CLASSIFY = "classify"
    """Category or tier not sure enough."""
    ROUTE = "route"
    """No department, or no region, was found."""
    JUDGE = "judge"
    """A red case to be judged (研判)."""
    RETURNED = "returned"
    """A department returned it."""
    WITHDRAWAL = "withdrawal"
    """A red case's withdrawal: a person decides."""
    REOPENED = "reopened"
    """Not solved: who acts now?"""
    DISSATISFIED = "dissatisfied"
    """Solved, but the citizen is not content."""
    HOLLOW = "hollow"
    """A result without act, date or contact."""
    VISIT = "visit"
    """A return visit by a person."""
    UNDELIVERABLE = "undeliverable"
    """The citizen's channel or a receiver did not take a message."""
    EXTENSION = "extension"
    """A department asks for more time."""
    QUESTION = "question"
    """A department asks the citizen back."""
    SUPPLEMENT = "supplement"
    """The citizen added something that may change the decision."""
    CONFLICT = "conflict"
    """Two different requests came under one number."""
    INQUIRY = "inquiry"
    """An inquiry was not answered in time."""
    OVERDUE = "overdue"
    """A clock ran out."""
    ERASURE = "erasure"
    """Somebody asks to be erased."""


class DeskTask(Value):
    """Something that waits for a person."""

    task_id: str
    kind: TaskKind
    since: Instant
    handoff_id: str | None = None
    inquiry_id: str | None = None
    wish: str | None = None
    note: PersonalText = None


class Answer(Value):
    """What the citizen is told, with what it rests on."""

    text: PersonalText = None
    sources: tuple[str, ...] = ()
    inquiry_id: str | None = None


class Result(Value):
    """办理结果: what a department did. `acts` says what, `at` when, `contact` whom to ring."""

    text: PersonalText = None
    acts: PersonalText = None
    acted_at: Instant | None = None
    contact: PersonalText = None


class OutcomeKind(StrEnum):
    """How a round ends. Each is told to the citizen, and told it counts as 办结."""

    ANSWER = "answer"
    RESULT = "result"
    NOT_ACCEPTED = "not_accepted"
    WITHDRAWN = "withdrawn"


class Rating(Value):
    """The citizen's word on a finished round: 5 is 很满意, 1 很不满意."""

    level: int = Field(ge=1, le=5)
    solved: bool
    comment: PersonalText = None


class GroupKind(StrEnum):
    """Why cases are dealt with together."""

    SAME_EVENT = "same_event"
    """并案: many report one event."""
    SAME_NEED = "same_need"
    """同类合办: the like need of many in one area."""
    SAME_PERSON = "same_person"
    """The same person asks again."""


def without_personal(value: Any) -> Any:
    """Return a value with every field marked `Personal` set to null, in nested values too.

    What a model holds beyond its own fields (an event of an unknown type) goes as a whole: nobody
    here can tell what of it is personal.
    """
    if isinstance(value, BaseModel):
        changed: dict[str, Any] = {}
        for name, field in type(value).model_fields.items():
            own = getattr(value, name)
            if _is_personal(field.metadata):
                changed[name] = None
            elif isinstance(own, tuple) and _has_personal_members(field.annotation):
                changed[name] = (None,) * len(own)
            else:
                changed[name] = without_personal(own)
        if value.model_extra:
            return type(value).model_construct(**changed)
        return value.model_copy(update=changed)
    if isinstance(value, tuple):
        return tuple(without_personal(member) for member in value)
    return value


def _is_personal(marks: Any) -> bool:
    return any(isinstance(mark, Personal) for mark in marks)


def _has_personal_members(annotation: Any) -> bool:
    return any(_is_personal(getattr(member, "__metadata__", ())) for member in get_args(annotation))
