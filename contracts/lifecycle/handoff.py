"""The hand-off document and the delivery document, folded from notify's events."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from contracts import handling as h
from contracts.envelope import Event, UnknownData
from contracts.feeds import HandoffState
from contracts.lifecycle.document import Document
from contracts.triage import HandoffOrder
from contracts.vocabulary import Deadline, Result, Role


@dataclass(slots=True)
class HandoffDocument(Document):
    """One order to one department, as notify keeps it; its version is `seq`."""

    state: HandoffState = HandoffState.QUEUED
    department: str = ""
    role: Role = Role.LEAD
    attempt: int = 1
    round: int = 0
    order: HandoffOrder | None = None
    ordered_at: datetime | None = None
    sent_at: datetime | None = None
    sent_by: str | None = None
    signed_at: datetime | None = None
    sign_implied: bool = False
    unit: str | None = None
    return_ground: str | None = None
    proper_department: str | None = None
    returned_at: datetime | None = None
    result: Result | None = None
    resolved_at: datetime | None = None
    ended_at: datetime | None = None
    extension_asked: datetime | None = None
    extensions: int = 0
    urgings: int = 0
    questions: int = 0
    supplements: list[str] = field(default_factory=list)
    contacts: list[tuple[datetime, bool]] = field(default_factory=list)
    deadlines: dict[str, Deadline] = field(default_factory=dict)
    first_deadlines: dict[str, Deadline] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    fired: list[tuple[str, str]] = field(default_factory=list)
    reply_ids: set[str] = field(default_factory=set)
    refused_replies: int = 0
    refusal: str | None = None
    late_result: Result | None = None

    def apply(self, event: Event) -> None:
        """Apply the next event. Raises OutOfSequence if it is not the next."""
        self.advance(event)
        data = event.data
        if isinstance(data, UnknownData) or not isinstance(data, h.HandoffEvent):
            return
        if self.seq == 1:
            self.department, self.role = data.department, data.role
            self.attempt, self.round = data.attempt, data.round
            self.ordered_at = data.occurred_at
        if isinstance(data, h.ReplyEvent) and data.reply_id:
            self.reply_ids.add(data.reply_id)
        for name in data.clears:
            self.deadlines.pop(name, None)
        for deadline in data.sets:
            self.deadlines[deadline.name] = deadline
            self.first_deadlines.setdefault(deadline.name, deadline)
            self.versions[deadline.name] = deadline.version
        step = _STEPS.get(event.type)
        if step is not None:
            step(self, data)


Step = Callable[[HandoffDocument, Any], None]
_STEPS: dict[str, Step] = {}


def _on(data_type: type[h.HandoffEvent]) -> Callable[[Step], Step]:
    def enter(step: Step) -> Step:
        _STEPS[data_type.type] = step
        return step

    return enter


@_on(h.HandoffQueued)
def _queued(handoff: HandoffDocument, data: h.HandoffQueued) -> None:
    handoff.order = data.order


@_on(h.HandoffSent)
def _sent(handoff: HandoffDocument, data: h.HandoffSent) -> None:
    handoff.order = data.order or handoff.order
    handoff.sent_at = handoff.sent_at or data.occurred_at
    handoff.sent_by = data.by
    if handoff.state in (HandoffState.QUEUED, HandoffState.UNDELIVERABLE):
        handoff.state = HandoffState.SENT


@_on(h.HandoffUndeliverable)
def _undeliverable(handoff: HandoffDocument, data: h.HandoffUndeliverable) -> None:
    if handoff.state == HandoffState.QUEUED:
        handoff.state = HandoffState.UNDELIVERABLE


@_on(h.HandoffSigned)
def _signed(handoff: HandoffDocument, data: h.HandoffSigned) -> None:
    handoff.signed_at = handoff.signed_at or data.occurred_at
    handoff.sign_implied = data.implied
    if handoff.state.is_open and handoff.state != HandoffState.IN_PROGRESS:
        handoff.state = HandoffState.SIGNED


@_on(h.HandoffReturned)
def _returned(handoff: HandoffDocument, data: h.HandoffReturned) -> None:
    handoff.state = HandoffState.RETURNED
    handoff.return_ground = data.ground
    handoff.proper_department = data.proper_department
    handoff.returned_at = handoff.ended_at = data.occurred_at


@_on(h.HandoffPassedOn)
def _passed_on(handoff: HandoffDocument, data: h.HandoffPassedOn) -> None:
    handoff.unit = data.unit
    handoff.state = HandoffState.IN_PROGRESS


@_on(h.HandoffProgressed)
def _progressed(handoff: HandoffDocument, data: h.HandoffProgressed) -> None:
    handoff.state = HandoffState.IN_PROGRESS


@_on(h.HandoffQuestioned)
def _questioned(handoff: HandoffDocument, data: h.HandoffQuestioned) -> None:
    handoff.questions += 1
    handoff.state = HandoffState.IN_PROGRESS


@_on(h.CitizenContacted)
def _contacted(handoff: HandoffDocument, data: h.CitizenContacted) -> None:
    handoff.contacts.append((data.contacted_at, data.reached))


@_on(h.ExtensionRequested)
def _extension_requested(handoff: HandoffDocument, data: h.ExtensionRequested) -> None:
    handoff.extension_asked = data.result_due_at


@_on(h.HandoffExtended)
def _extended(handoff: HandoffDocument, data: h.HandoffExtended) -> None:
    handoff.extension_asked = None
    handoff.extensions += data.granted


@_on(h.HandoffResolved)
def _resolved(handoff: HandoffDocument, data: h.HandoffResolved) -> None:
    handoff.state = HandoffState.RESOLVED
    handoff.result = data.result
    handoff.resolved_at = handoff.ended_at = data.occurred_at


@_on(h.ReplyRefused)
def _reply_refused(handoff: HandoffDocument, data: h.ReplyRefused) -> None:
    handoff.refused_replies += 1
    handoff.refusal = f"{data.act}: {data.why}"
    handoff.late_result = data.result or handoff.late_result


@_on(h.HandoffUrged)
def _urged(handoff: HandoffDocument, data: h.HandoffUrged) -> None:
    handoff.urgings = data.urgings


@_on(h.HandoffSupplemented)
def _supplemented(handoff: HandoffDocument, data: h.HandoffSupplemented) -> None:
    if data.text is not None:
        handoff.supplements.append(data.text)


@_on(h.HandoffRecalled)
def _recalled(handoff: HandoffDocument, data: h.HandoffRecalled) -> None:
    handoff.state = HandoffState.RECALLED
    handoff.ended_at = data.occurred_at


@_on(h.HandoffNotNeeded)
def _not_needed(handoff: HandoffDocument, data: h.HandoffNotNeeded) -> None:
    handoff.state = HandoffState.NOT_NEEDED
    handoff.ended_at = data.occurred_at


@_on(h.HandoffDeadlineFired)
def _fired(handoff: HandoffDocument, data: h.HandoffDeadlineFired) -> None:
    handoff.fired.append((data.name, data.firing))
    deadline = handoff.deadlines.get(data.name)
    if deadline is None:
        return
    if data.firing == "missed":
        del handoff.deadlines[data.name]
    else:
        handoff.deadlines[data.name] = deadline.model_copy(update={"near_at": None})


@dataclass(slots=True)
class DeliveryDocument(Document):
    """What is brought to one target about one event: planned, done, exhausted or cancelled."""

    state: str = "planned"
    purpose: str = "callback"
    tells: str = ""
    step: str = ""
    target: str | None = None
    body: str | None = None
    order: int = 0
    give_up_at: datetime | None = None
    handoff_id: str | None = None
    channel: str | None = None
    attempts: int = 0
    done_at: datetime | None = None
    by: str | None = None

    def apply(self, event: Event) -> None:
        """Apply the next event. Raises OutOfSequence if it is not the next."""
        self.advance(event)
        data = event.data
        match data:
            case h.DeliveryPlanned():
                self.purpose, self.target, self.body = data.purpose, data.target, data.body
                self.order, self.give_up_at = data.order, data.give_up_at
                self.handoff_id, self.channel = data.handoff_id, data.channel
            case h.DeliveryStarted():
                self.attempts = data.attempt
            case h.CitizenTold():
                self.state, self.done_at, self.by = "done", data.told_at, data.by
                self.attempts = data.attempts
            case h.DeliveryTaken():
                self.state, self.done_at = "done", data.occurred_at
                self.attempts = data.attempts
            case h.DeliveryExhausted():
                self.state, self.attempts = "exhausted", data.attempts
            case h.DeliveryCancelled():
                self.state = "cancelled"
            case _:
                return
        self.tells, self.step = data.tells, data.step
