"""`handling.v1`, written by notify: what became of each hand-off and each delivery.

Hand-off events carry `document_id` = hand-off id, delivery events `document_id` = delivery id.
Late events change only their own hand-off.
"""

from typing import ClassVar, Literal

from pydantic import Field

from contracts.envelope import EventData, register
from contracts.triage import HandoffOrder
from contracts.vocabulary import Deadline, Firing, Instant, PersonalText, Result, Role

OWNER = "notify"


class HandoffEvent(EventData):
    """An event of the hand-off document."""

    handoff_id: str
    role: Role
    attempt: int = Field(ge=1)
    department: str
    sets: tuple[Deadline, ...] = ()
    clears: tuple[str, ...] = ()


class ReplyEvent(HandoffEvent):
    """Something that the department said: `reply_id` is its own name for it."""

    reply_id: str | None = None
    person: PersonalText = None


class HandoffQueued(HandoffEvent):
    """The order is taken in; its delivery by HTTP is under way."""

    type: ClassVar[str] = "handoff.queued"

    order: HandoffOrder


class HandoffSent(HandoffEvent):
    """The department has it: its feed is acknowledged, or its server gave a receipt.

    `order` stands here when the hand-off begins with this event (a feed).
    """

    type: ClassVar[str] = "handoff.sent"

    by: Literal["feed", "http", "telephone"]
    order: HandoffOrder | None = None
    receipt: str | None = None


class HandoffUndeliverable(HandoffEvent):
    """Every attempt failed: a person must see to it."""

    type: ClassVar[str] = "handoff.undeliverable"

    why: str


class HandoffSigned(ReplyEvent):
    """签收. `implied`: by a later act, or by the end of the window for returning it."""

    type: ClassVar[str] = "handoff.signed"

    implied: bool = False


class HandoffReturned(ReplyEvent):
    """退单, within the window, with the ground and the proper department."""

    type: ClassVar[str] = "handoff.returned"

    ground: PersonalText = None
    proper_department: str | None = None


class HandoffPassedOn(ReplyEvent):
    """转派 to a subordinate unit; the clock does not change."""

    type: ClassVar[str] = "handoff.passed_on"

    unit: str


class HandoffProgressed(ReplyEvent):
    """In progress, with a word on how far."""

    type: ClassVar[str] = "handoff.progressed"

    text: PersonalText = None


class HandoffQuestioned(ReplyEvent):
    """The department asks the citizen something."""

    type: ClassVar[str] = "handoff.questioned"

    text: PersonalText = None


class CitizenContacted(ReplyEvent):
    """The department contacted the citizen, or tried to."""

    type: ClassVar[str] = "handoff.contacted"

    by: Literal["telephone", "channel", "in_person"]
    contacted_at: Instant
    reached: bool


class ExtensionRequested(ReplyEvent):
    """延期: the department asks for more time."""

    type: ClassVar[str] = "handoff.extension_requested"

    ground: PersonalText = None
    result_due_at: Instant


class HandoffExtended(HandoffEvent):
    """The desk's word on the extension has reached the hand-off."""

    type: ClassVar[str] = "handoff.extended"

    granted: bool
    result_due_at: Instant | None = None


class HandoffResolved(ReplyEvent):
    """办理结果."""

    type: ClassVar[str] = "handoff.resolved"

    result: Result


class ReplyRefused(ReplyEvent):
    """A reply that does not apply: too late, returned twice, order ended. Kept and shown."""

    type: ClassVar[str] = "handoff.reply_refused"

    act: str
    why: str
    result: Result | None = None


class HandoffUrged(HandoffEvent):
    """The reminder stands in the department's feed."""

    type: ClassVar[str] = "handoff.urged"

    urgings: int = Field(ge=1)


class HandoffSupplemented(HandoffEvent):
    """The citizen's addition stands in the department's feed."""

    type: ClassVar[str] = "handoff.supplemented"

    text: PersonalText = None


class HandoffRecalled(HandoffEvent):
    """The order is taken back before a result."""

    type: ClassVar[str] = "handoff.recalled"

    ground: str


class RecallTooLate(HandoffEvent):
    """There is a result already; it is recorded, not applied."""

    type: ClassVar[str] = "handoff.recall_too_late"


class HandoffNotNeeded(HandoffEvent):
    """The lead's result ends an open assist."""

    type: ClassVar[str] = "handoff.not_needed"


class HandoffDeadlineFired(HandoffEvent):
    """A clock of the department came near its end or ran out."""

    type: ClassVar[str] = "handoff.deadline_fired"

    name: str
    firing: Firing
    due_at: Instant


class DeliveryEvent(EventData):
    """An event of the delivery document: what is brought to one target, about one event."""

    delivery_id: str
    tells: str
    step: str


class DeliveryPlanned(DeliveryEvent):
    """Something is to be posted; the body is frozen here, so that it can be sent again.

    `channel` is the citizen's channel (of a callback), whose key signs the body.
    """

    type: ClassVar[str] = "delivery.planned"

    purpose: Literal["callback", "handoff"]
    target: PersonalText = None
    body: PersonalText = None
    order: int = Field(ge=0)
    give_up_at: Instant
    handoff_id: str | None = None
    channel: str | None = None


class DeliveryStarted(DeliveryEvent):
    """Acknowledged before an attempt at a receiver that does not dedup."""

    type: ClassVar[str] = "delivery.started"

    attempt: int = Field(ge=1)


class CitizenTold(DeliveryEvent):
    """The citizen's channel took the message, or it is left for lookup.

    `tells` is the event that was told, `step` the public name of what happened.
    """

    type: ClassVar[str] = "citizen.told"

    by: Literal["callback", "lookup"]
    told_at: Instant
    attempts: int = Field(ge=0)


class DeliveryTaken(DeliveryEvent):
    """A receiver other than the citizen's channel gave its receipt."""

    type: ClassVar[str] = "delivery.taken"

    receipt: str | None = None
    attempts: int = Field(ge=1)


class DeliveryExhausted(DeliveryEvent):
    """No attempt succeeded within the limit; the desk is asked."""

    type: ClassVar[str] = "delivery.exhausted"

    attempts: int = Field(ge=0)
    why: str


class DeliveryCancelled(DeliveryEvent):
    """Not to be sent any more (recall, erasure)."""

    type: ClassVar[str] = "delivery.cancelled"

    ground: str


register(
    OWNER,
    HandoffQueued,
    HandoffSent,
    HandoffUndeliverable,
    HandoffSigned,
    HandoffReturned,
    HandoffPassedOn,
    HandoffProgressed,
    HandoffQuestioned,
    CitizenContacted,
    ExtensionRequested,
    HandoffExtended,
    HandoffResolved,
    ReplyRefused,
    HandoffUrged,
    HandoffSupplemented,
    HandoffRecalled,
    RecallTooLate,
    HandoffNotNeeded,
    HandoffDeadlineFired,
    DeliveryPlanned,
    DeliveryStarted,
    CitizenTold,
    DeliveryTaken,
    DeliveryExhausted,
    DeliveryCancelled,
)
