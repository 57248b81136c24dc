"""What a story says: every request, and how desk, departments and citizen play its case.

The simulators read a story and act through the public API and the feeds; nothing here acts.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from contracts.policies import Policy
from contracts.profile_parts import CategoryCode, HotlineCode
from contracts.vocabulary import Contact, GroupKind, Instant, Location, OnBehalfOf, TierCause
from deploy.simulators.stories.path_rules import mistakes_in_order, mistakes_in_path

Words = Annotated[str, Field(min_length=1, max_length=4000)]
Sorted = AfterValidator(lambda counts: dict(sorted(counts.items())))


class StoryPart(BaseModel):
    """Base of everything in a story: immutable, and an unknown key is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class PathKind(StrEnum):
    """How the first round of a case is handled."""

    ANSWERED = "answered"
    """The desk answers online."""
    INQUIRED = "inquired"
    """The desk asks a department or township, then answers itself."""
    HANDED_OFF = "handed_off"
    """A department acts."""
    TO_HOTLINE = "to_hotline"
    """Passed on to 12345 or 110."""
    NOT_ACCEPTED = "not_accepted"
    """With the reason and where to go instead."""
    GROUPED = "grouped"
    """Joins a group; the leading member's result is this one's too."""
    WITHDRAWN = "withdrawn"
    """The citizen takes it back before there is an answer or result."""


class Inquiry(StoryPart):
    """征询: whom the desk asks, how, and what is confirmed."""

    asked: Words
    department: str
    by: Literal["telephone", "message"]
    question: Words
    reply: Words


class StoryResult(StoryPart):
    """办理结果 as the department reports it: an act, when, and whom to ring."""

    text: Words
    acts: Words
    acted_at: Instant
    contact: Annotated[str, Field(min_length=1, max_length=100)]


class Return(StoryPart):
    """退单: who returns the case, on what ground, and who is proper for it."""

    by: str
    ground: Words
    proper: str


class Assist(StoryPart):
    """协办: a second department and what it did."""

    department: str
    result: StoryResult


class Extension(StoryPart):
    """延期: why, and for how many hours."""

    reason: Words
    hours: Annotated[int, Field(gt=0, le=72)]


class Order(StoryPart):
    """A hand-off of one round.

    Sent first to `returns[0].by`, if any, and after each return to the next, at last to
    `department`, which brings the result. `binding`: that last order is the desk's 指派.
    """

    department: str
    returns: tuple[Return, ...] = ()
    binding: bool = False
    progress: tuple[Words, ...] = ()
    contacted: bool = True
    extension: Extension | None = None
    assists: tuple[Assist, ...] = ()
    result: StoryResult

    @property
    def tried(self) -> tuple[str, ...]:
        """The leading departments in the order in which the desk sends to them."""
        return (*(turned.by for turned in self.returns), self.department)

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Self:
        _raise_first(mistakes_in_order(self))
        return self


class Feedback(StoryPart):
    """What the citizen says of a round. `visit`: only when a person asks, or never (not reached).

    `attempts` counts the return visits, at most three; a rating of one's own needs none.
    """

    by: Literal["citizen", "visit"]
    attempts: Annotated[int, Field(ge=0, le=3)] = 0
    reached: bool = True
    level: Annotated[int, Field(ge=1, le=5)] | None = None
    solved: bool | None = None
    comment: Words | None = None


class Round(StoryPart):
    """One round: an answer (after an inquiry or not) or an order; a group's member has neither.

    `wish` is what the citizen says when the case is reopened; null in the first round.
    """

    wish: Words | None = None
    answer: Words | None = None
    quotes: tuple[str, ...] = ()
    inquiry: Inquiry | None = None
    order: Order | None = None
    feedback: Feedback


class Judgement(StoryPart):
    """研判 of a red case, and whom the citizen is told to ring."""

    cause: TierCause
    opinion: Words
    ring: tuple[HotlineCode, ...] = ()


class Withdrawal(StoryPart):
    """When the citizen takes the request back; after a hand-off, `department` already has it."""

    moment: Literal["before_handoff", "after_handoff"]
    department: str | None = None
    reason: Words


class NotAccepted(StoryPart):
    """不予受理: why, and where to go instead."""

    reason: Words
    instead: Words


class Path(StoryPart):
    """How a case is played from the first look to the end."""

    kind: PathKind
    rounds: tuple[Round, ...] = ()
    judgement: Judgement | None = None
    group: str | None = None
    urgings: tuple[Words, ...] = ()
    supplements: tuple[Words, ...] = ()
    withdrawal: Withdrawal | None = None
    not_accepted: NotAccepted | None = None
    told_by: Literal["callback", "lookup"] = "callback"

    @property
    def reopened(self) -> bool:
        """Whether the citizen says that the first round did not solve it."""
        return len(self.rounds) > 1

    @property
    def orders(self) -> tuple[Order, ...]:
        """The hand-offs of all rounds."""
        return tuple(played.order for played in self.rounds if played.order is not None)

    @model_validator(mode="after")
    def _keeps_the_rules(self) -> Self:
        _raise_first(mistakes_in_path(self))
        return self


class StoryRequest(StoryPart):
    """One request. `category` is what the citizen chose (null: nothing), `true_category` the
    source's own. `submitted_at` is story time."""

    ordinal: Annotated[int, Field(ge=1)]
    external_id: str
    channel: str = "app"
    submitted_at: AwareDatetime
    text: Words
    category: CategoryCode | None
    true_category: CategoryCode
    region: str
    address: Words | None = None
    contact: Contact | None = None
    on_behalf_of: OnBehalfOf | None = None
    from_common_question: bool = False
    path: Path

    def body(self) -> dict[str, Any]:
        """Return the JSON body that a channel posts to intake, without a callback address."""
        location = Location(address=self.address) if self.address else None
        fields = {
            "text": self.text,
            "category": self.category,
            "region": self.region,
            "location": location and location.model_dump(exclude_none=True),
            "contact": self.contact and self.contact.model_dump(exclude_none=True),
            "on_behalf_of": self.on_behalf_of and self.on_behalf_of.model_dump(exclude_none=True),
            "occurred_at": self.submitted_at.isoformat(),
            "external_id": self.external_id,
        }
        return {name: value for name, value in fields.items() if value is not None}


class StoryGroup(StoryPart):
    """Cases that are dealt with together; the member with the lowest ordinal leads."""

    code: str
    kind: GroupKind
    title: Words


class StoryPolicy(StoryPart):
    """A policy passage, and from when it stands on the home page (null: the desk's folder)."""

    policy: Policy
    on_home_page_from: date | None = None


class SourceFigures(StoryPart):
    """What the source reports; `our_split_of_remaining` is ours and says so."""

    channel: str
    first_day: date
    last_day: date
    requests: int
    by_category: Annotated[Mapping[CategoryCode, int], Sorted]
    remaining: int
    our_split_of_remaining: Annotated[Mapping[CategoryCode, int], Sorted]
    handled_within_24_hours_percent: int
    finished_percent: int
    home_page_policies_from: date


class Story(StoryPart):
    """A whole story, requests in the order of their submission."""

    requests: tuple[StoryRequest, ...]
    policies: tuple[StoryPolicy, ...]
    groups: tuple[StoryGroup, ...]
    source_figures: SourceFigures

    @cached_property
    def policies_by_id(self) -> Mapping[str, StoryPolicy]:
        """The policies under the ids that answers quote."""
        return {entry.policy.policy_id: entry for entry in self.policies}

    def members(self, group: str) -> tuple[StoryRequest, ...]:
        """Return the requests of a group, the leading one first."""
        return tuple(request for request in self.requests if request.path.group == group)

    def of_kind(self, kind: PathKind) -> tuple[StoryRequest, ...]:
        """Return the requests whose first round is handled in this way."""
        return tuple(request for request in self.requests if request.path.kind is kind)

    @model_validator(mode="after")
    def _names_what_exists(self) -> Self:
        quoted = Counter(
            quote
            for request in self.requests
            for played in request.path.rounds
            for quote in played.quotes
        )
        for unknown in quoted.keys() - {entry.policy.policy_id for entry in self.policies}:
            raise ValueError(f"an answer quotes the unknown policy {unknown}")
        known_groups = {group.code for group in self.groups}
        for request in self.requests:
            if request.path.group not in known_groups | {None}:
                raise ValueError(f"request {request.ordinal}: unknown group {request.path.group}")
        for group in known_groups:
            kinds = [member.path.kind for member in self.members(group)]
            if kinds[:1] != [PathKind.HANDED_OFF] or set(kinds[1:]) != {PathKind.GROUPED}:
                raise ValueError(f"group {group}: the earliest member must be the one handed off")
        return self


def _raise_first(mistakes: list[str]) -> None:
    if mistakes:
        raise ValueError(mistakes[0])
