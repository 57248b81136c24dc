"""`triage.v1`, written by triage: what is decided about the case.

Events of the case document come first, then those of the group document. What an event opens,
settles, sets and clears (tasks of the desk, clocks) it says itself, so that the document can be
restored from this topic alone.
"""

from typing import ClassVar, Literal

from pydantic import Field

from contracts.envelope import EventData, register
from contracts.vocabulary import (
    Answer,
    CaseNumber,
    Deadline,
    Decision,
    DeskTask,
    Firing,
    GroupKind,
    Instant,
    OutcomeKind,
    PersonalText,
    Rating,
    RequestContent,
    Result,
    Role,
    Tier,
    Value,
)

OWNER = "triage"


class CaseEvent(EventData):
    """An event of the case document, with what it does to tasks and clocks.

    `ends` names open hand-offs that are not needed any more. `callback_url` and `tier` stand on
    what the citizen is told, so that notify need not ask anybody where to and how urgently.
    """

    opens: tuple[DeskTask, ...] = ()
    settles: tuple[str, ...] = ()
    sets: tuple[Deadline, ...] = ()
    clears: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    callback_url: PersonalText = None
    tier: Tier | None = None


class CaseOpened(CaseEvent):
    """The submission that counts, its accepted time frozen, and the first decision."""

    type: ClassVar[str] = "case.opened"

    submission_id: str
    accepted_at: Instant
    request: RequestContent
    decision: Decision


class CaseConflicted(CaseEvent):
    """Another submission came under the same number: the desk looks at it."""

    type: ClassVar[str] = "case.conflicted"

    submission_id: str
    request: RequestContent


class CaseSeen(CaseEvent):
    """A person of the desk looked at the case for the first time."""

    type: ClassVar[str] = "case.seen"

    person: str


class CaseReclassified(CaseEvent):
    """Another decision, by a person or by a surer rule."""

    type: ClassVar[str] = "case.reclassified"

    decision: Decision


class CaseJudged(CaseEvent):
    """研判: the desk's judgement on a red case."""

    type: ClassVar[str] = "case.judged"

    person: str
    decision: Decision
    opinion: PersonalText = None


class HandoffOrder(Value):
    """What the department is to do, and all that it may see.

    `confidential`: the reporter of a breach is never named; the order then carries no contact.
    """

    handoff_id: str
    department: str
    role: Role
    attempt: int = Field(ge=1)
    binding: bool = False
    category: str
    tier: Tier
    cause: str | None = None
    region: str | None = None
    accepted_at: Instant | None = None
    request: RequestContent
    confidential: bool = False
    note: PersonalText = None
    supplements: tuple[PersonalText, ...] = ()
    sign_due_at: Instant | None = None
    result_due_at: Instant | None = None
    near_share: float = Field(default=0.75, gt=0, le=1)
    return_until: Instant | None = None
    returned_by: tuple[str, ...] = ()


class HandoffOrdered(CaseEvent):
    """交办 (to a hotline: 转交): one order to one department."""

    type: ClassVar[str] = "handoff.ordered"

    handoff_id: str
    role: Role
    attempt: int = Field(ge=1)
    order: HandoffOrder
    person: str | None = None


class RecallOrdered(CaseEvent):
    """An order is to be taken back."""

    type: ClassVar[str] = "handoff.recall_ordered"

    handoff_id: str
    ground: Literal["withdrawal", "rerouted"]


class CaseReturned(CaseEvent):
    """退单: triage's answer to a return; `returns` counts those of the case so far."""

    type: ClassVar[str] = "case.returned"

    handoff_id: str
    department: str
    proper_department: str | None = None
    returns: int = Field(ge=1)
    justified: bool | None = None


class ExtensionDecided(CaseEvent):
    """延期: the desk's word on a department's wish for more time."""

    type: ClassVar[str] = "extension.decided"

    handoff_id: str
    granted: bool
    result_due_at: Instant | None = None
    person: str


class CaseUrged(CaseEvent):
    """催办: a reminder to the department."""

    type: ClassVar[str] = "case.urged"

    handoff_id: str
    person: str | None = None
    text: PersonalText = None


class SupervisionOrdered(CaseEvent):
    """督办: a supervisor takes the case up, with an order of its own number and deadline."""

    type: ClassVar[str] = "supervision.ordered"

    supervision_no: str
    person: str
    handoff_id: str | None = None
    due_at: Instant
    text: PersonalText = None


class SupervisionReplied(CaseEvent):
    """The reply to a supervision order."""

    type: ClassVar[str] = "supervision.replied"

    supervision_no: str
    text: PersonalText = None


class CaseEscalated(CaseEvent):
    """提级督办: the case goes a level higher."""

    type: ClassVar[str] = "case.escalated"

    level: int = Field(ge=1)
    ground: str


class InquiryOpened(CaseEvent):
    """征询: the desk asks a department or township, and will answer itself."""

    type: ClassVar[str] = "inquiry.opened"

    inquiry_id: str
    asked: str
    by: Literal["telephone", "message"]
    person: str
    question: PersonalText = None


class InquiryAnswered(CaseEvent):
    """Who confirmed what, and when."""

    type: ClassVar[str] = "inquiry.answered"

    inquiry_id: str
    confirmed_by: PersonalText = None
    confirmed_at: Instant
    text: PersonalText = None


class CaseAnswered(CaseEvent):
    """The desk's answer: told to the citizen it finishes the round."""

    type: ClassVar[str] = "case.answered"

    answer: Answer
    person: str


class CaseNotAccepted(CaseEvent):
    """不予受理, with the reason and where to go instead."""

    type: ClassVar[str] = "case.not_accepted"

    reason: PersonalText = None
    instead: PersonalText = None
    person: str


class CaseResolved(CaseEvent):
    """The leading unit's result stands: told to the citizen it finishes the round."""

    type: ClassVar[str] = "case.resolved"

    handoff_id: str | None = None
    department: str | None = None
    result: Result
    person: str | None = None


class CaseSupplemented(CaseEvent):
    """The citizen's addition is part of the case, and of every open order (`reaches`)."""

    type: ClassVar[str] = "case.supplemented"

    text: PersonalText = None
    reaches: tuple[str, ...] = ()


class CaseWithdrawing(CaseEvent):
    """A withdrawal after ordering: it stands until every named order is recalled or too late."""

    type: ClassVar[str] = "case.withdrawing"

    wish: str
    handoff_ids: tuple[str, ...]


class CaseWithdrawn(CaseEvent):
    """The withdrawal holds."""

    type: ClassVar[str] = "case.withdrawn"

    wish: str
    person: str | None = None


class WithdrawalEnded(CaseEvent):
    """The case goes on: too late to recall from `department`, or the desk declined (red)."""

    type: ClassVar[str] = "withdrawal.ended"

    wish: str
    ground: Literal["too_late", "declined"]
    department: str | None = None
    person: str | None = None


class WishDeclined(CaseEvent):
    """A wish that cannot be met any more, with the reason the citizen reads."""

    type: ClassVar[str] = "wish.declined"

    wish: str
    ground: str


class CaseFinished(CaseEvent):
    """办结: the outcome was told to the citizen."""

    type: ClassVar[str] = "case.finished"

    told: str
    finished_at: Instant
    outcome: OutcomeKind | None = None


class CaseRated(CaseEvent):
    """The rating counts for this round, credited to the leading unit (none: the desk)."""

    type: ClassVar[str] = "case.rated"

    rating: Rating
    credited: str | None = None


class CaseVisited(CaseEvent):
    """回访 by a person who did not handle the case; `reached` false is an attempt."""

    type: ClassVar[str] = "case.visited"

    person: str
    by: Literal["telephone", "channel", "in_person"]
    visit: int = Field(ge=1)
    reached: bool
    rating: Rating | None = None


class CaseContacted(CaseEvent):
    """A person of the desk contacted the citizen, or tried to."""

    type: ClassVar[str] = "case.contacted"

    person: str
    by: Literal["telephone", "channel", "in_person"]
    contacted_at: Instant
    reached: bool


class CaseReopened(CaseEvent):
    """Not solved: a new round, one tier up, with working deadlines from now."""

    type: ClassVar[str] = "case.reopened"

    tier: Tier
    ground: Literal["not_solved", "desk"]


class CaseClosed(CaseEvent):
    """归档."""

    type: ClassVar[str] = "case.closed"

    ground: Literal["rated", "visited", "no_answer", "not_reached", "not_accepted", "withdrawn"]


class DeskAsked(CaseEvent):
    """A person is needed, and nothing else changed."""

    type: ClassVar[str] = "desk.asked"


class DeskSettled(CaseEvent):
    """A person dealt with a task, and nothing else changed."""

    type: ClassVar[str] = "desk.settled"

    person: str
    note: PersonalText = None


class CaseDeadlineFired(CaseEvent):
    """A clock of the citizen came near its end or ran out."""

    type: ClassVar[str] = "case.deadline_fired"

    name: str
    firing: Firing
    due_at: Instant


class CaseJoinedGroup(CaseEvent):
    """The case is a member of a group, as of this version of the group."""

    type: ClassVar[str] = "case.joined_group"

    group_id: str
    group_version: int = Field(ge=1)
    kind: GroupKind
    anchor: CaseNumber
    size: int = Field(ge=1)


class CaseLeftGroup(CaseEvent):
    """The member goes its own way; later versions of the group do not touch it."""

    type: ClassVar[str] = "case.left_group"

    group_id: str
    group_version: int = Field(ge=1)
    ground: Literal["split_off", "dissolved", "withdrawn"]


class CaseGroupResolved(CaseEvent):
    """The group's one result reaches this member, who is told and asked like anybody else."""

    type: ClassVar[str] = "case.group_resolved"

    group_id: str
    group_version: int = Field(ge=1)
    department: str | None = None
    outcome: Literal["answer", "result"]
    result: Result


class CaseErased(CaseEvent):
    """What is personal goes; figures keep counting the case."""

    type: ClassVar[str] = "case.erased"

    by: str


class GroupEvent(EventData):
    """An event of the group document; its `seq` is the group's version.

    The case in its subject is the anchor's, but what it says is of all members alike.
    """

    is_of_one_case: ClassVar[bool] = False

    group_id: str


class GroupFormed(GroupEvent):
    """A group, in one kind, around one case (the anchor), whose number the event carries."""

    type: ClassVar[str] = "group.formed"

    kind: GroupKind
    members: tuple[CaseNumber, ...]
    person: str | None = None
    reasons: tuple[str, ...] = ()


class GroupChanged(GroupEvent):
    """Members came or went."""

    type: ClassVar[str] = "group.changed"

    joined: tuple[CaseNumber, ...] = ()
    left: tuple[CaseNumber, ...] = ()
    person: str | None = None


class GroupResolved(GroupEvent):
    """One result for the group; fanned out as one event for each member."""

    type: ClassVar[str] = "group.resolved"

    outcome: Literal["answer", "result"]
    department: str | None = None
    result: Result
    members: tuple[CaseNumber, ...]


class GroupDissolved(GroupEvent):
    """The group is no more."""

    type: ClassVar[str] = "group.dissolved"

    person: str | None = None


register(
    OWNER,
    CaseOpened,
    CaseConflicted,
    CaseSeen,
    CaseReclassified,
    CaseJudged,
    HandoffOrdered,
    RecallOrdered,
    CaseReturned,
    ExtensionDecided,
    CaseUrged,
    SupervisionOrdered,
    SupervisionReplied,
    CaseEscalated,
    InquiryOpened,
    InquiryAnswered,
    CaseAnswered,
    CaseNotAccepted,
    CaseResolved,
    CaseSupplemented,
    CaseWithdrawing,
    CaseWithdrawn,
    WithdrawalEnded,
    WishDeclined,
    CaseFinished,
    CaseRated,
    CaseVisited,
    CaseContacted,
    CaseReopened,
    CaseClosed,
    DeskAsked,
    DeskSettled,
    CaseDeadlineFired,
    CaseJoinedGroup,
    CaseLeftGroup,
    CaseGroupResolved,
    CaseErased,
    GroupFormed,
    GroupChanged,
    GroupResolved,
    GroupDissolved,
)
