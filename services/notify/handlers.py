"""What notify does on each event of triage and on each reply of a department."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from contracts import triage as t
from contracts.envelope import ContractError, Event
from contracts.feeds import REPLY, AnyReply
from contracts.lifecycle import HandoffDocument
from contracts.telling import told_step
from contracts.topics import TRIAGE, department_of
from contracts.vocabulary import Role, Tier
from services.chassis.batches import Input, Undecidable, read_event
from services.chassis.bus import Outgoing, Record
from services.chassis.clock import Clock
from services.chassis.documents import Unit
from services.chassis.kept import Kept
from services.notify.domain import handoffs, replies
from services.notify.domain.because import Because
from services.notify.work import Decide, Place, Work

_CHANNELS_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class DepartmentReply:
    """A reply with the department whose topic it came by: only that department writes there."""

    department: str
    reply: AnyReply


Read = Event | DepartmentReply


def read(record: Record) -> Read | None:
    """Read a record. What was redacted says nothing new. Raises ContractError."""
    if record.topic == TRIAGE:
        event = read_event(record)
        return event if event is not None and event.data.rev == 0 else None
    if record.value is None:
        raise ContractError("value", "is null")
    try:
        reply = REPLY.validate_json(record.value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(step) for step in first["loc"]) or "value"
        raise ContractError(field, first["type"]) from None
    return DepartmentReply(department_of(record.topic), reply)


class Loading:
    """Reads the documents that a batch concerns.

    At the first attempt, what an input creates is taken for new and not looked for: the insert
    says if it was there already, and then everything is read.
    """

    def __init__(self, place: Place, clock: Clock) -> None:
        self._place = place
        self._clock = clock
        self._channels: dict[str, str] = {}

    async def load(self, inputs: Sequence[Input[Read]], unit: Unit) -> Work:
        """Return the work of a batch with its documents."""
        documents = self._place.documents
        work = Work(self._place, unit, self._clock.now())
        read_inputs = [one.read for one in inputs]
        created = {
            one.data.handoff_id
            for one in read_inputs
            if isinstance(one, Event) and isinstance(one.data, t.HandoffOrdered)
        }
        named = {handoff_id for one in read_inputs for handoff_id in _named(one)}
        if unit.attempt == 1:
            found = await documents.handoffs.cached(named - created)
        else:
            found = await documents.handoffs.load(named | created)
        work.take_handoffs(found.values())
        if unit.attempt > 1:
            cases = {_case_of(one, found) for one in read_inputs}
            work.take_deliveries(await documents.deliveries_of(case for case in cases if case))
        else:
            await self._load_cancellable(work, read_inputs)
        await self._load_leads(work, read_inputs)
        await self._load_channels(work, read_inputs)
        return work

    async def _load_cancellable(self, work: Work, inputs: Sequence[Read]) -> None:
        """Read what recalls, ends, replies and erasures may find still to be posted."""
        departments = self._place.departments
        by_http = {
            handoff_id
            for handoff_id, kept in work.handoffs.items()
            if not departments.takes_feed(kept.document.department)
        }
        erased = {
            one.data.case_no
            for one in inputs
            if isinstance(one, Event) and isinstance(one.data, t.CaseErased)
        }
        documents = self._place.documents
        waiting = await documents.planned_for(by_http)
        waiting += await documents.deliveries_of(erased, only_planned=True)
        work.take_deliveries({one.document.document_id: one for one in waiting}.values())

    async def _load_leads(self, work: Work, inputs: Sequence[Read]) -> None:
        """Read who leads the cases whose withdrawal came too late: the event does not say."""
        cases = {
            one.data.case_no
            for one in inputs
            if isinstance(one, Event) and isinstance(one.data, t.WithdrawalEnded)
        }
        if not cases:
            return
        found = await self._place.documents.handoffs.find({"case_no": {"$in": sorted(cases)}}, 1000)
        leads = [one.document for one in found if one.document.role == Role.LEAD]
        for lead in sorted(leads, key=lambda one: (one.round, one.ordered_at or work.now)):
            work.leads[lead.case_no] = lead.department

    async def _load_channels(self, work: Work, inputs: Sequence[Read]) -> None:
        """Find the channel of each case that is to be told something: its key signs."""
        asked: set[str] = set()
        for one in inputs:
            if not isinstance(one, Event) or not isinstance(one.data, t.CaseEvent):
                continue
            case_no = one.data.case_no
            if isinstance(one.data, t.CaseOpened):
                self._channels[case_no] = one.data.request.channel
            if one.data.callback_url is not None:
                asked.add(case_no)
        unknown = asked - self._channels.keys()
        self._channels.update(await self._place.documents.channels_of(unknown))
        work.channels = {one: self._channels[one] for one in asked & self._channels.keys()}
        while len(self._channels) > _CHANNELS_KEPT:
            self._channels.pop(next(iter(self._channels)))


def _ended(event: Event) -> Iterator[str]:
    """Yield the hand-offs that an event takes back or makes unneeded."""
    if isinstance(event.data, t.RecallOrdered):
        yield event.data.handoff_id
    if isinstance(event.data, t.CaseEvent):
        yield from event.data.ends


def _named(one: Read) -> Iterator[str]:
    """Yield the hand-offs that an input concerns and that must be there."""
    if isinstance(one, DepartmentReply):
        yield one.reply.handoff_id
        return
    yield from _ended(one)
    match one.data:
        case t.CaseUrged() | t.ExtensionDecided():
            yield one.data.handoff_id
        case t.CaseSupplemented():
            yield from one.data.reaches
        case t.CaseResolved(handoff_id=str() as resolved, callback_url=str()):
            yield resolved


def _case_of(one: Read, found: dict[str, Kept[HandoffDocument]]) -> str | None:
    if isinstance(one, Event):
        return one.data.case_no
    kept = found.get(one.reply.handoff_id)
    return kept.document.case_no if kept else None


def decide(work: Work, one: Input[Read]) -> list[Outgoing]:
    """Record what an input means, and return what is to be published. Raises Undecidable."""
    if isinstance(one.read, DepartmentReply):
        return take_reply(work, one.read, came_late=True)
    return _on_event(work, one.read)


def take_reply(work: Work, said: DepartmentReply, *, came_late: bool) -> list[Outgoing]:
    """Record what a department's reply means for its hand-off. Raises Undecidable for a hand-off
    that is not the department's own."""
    reply = said.reply
    kept = work.handoff(reply.handoff_id)
    if kept.document.department != said.department:
        raise Undecidable("names a hand-off of another department")
    because = Because(replies.cause_of(said.department, reply), work.now)
    waited = handoffs.is_waiting_to_be_sent(kept.document)
    published = work.on(
        kept,
        because.cause,
        lambda handoff: replies.take(
            because, handoff, reply, work.place.profile, came_late=came_late
        ),
    )
    if waited:
        published += work.cancel(because, reply.handoff_id)
    return published


def _on_event(work: Work, event: Event) -> list[Outgoing]:
    because = Because.of(event, work.now)
    published: list[Outgoing] = []
    match event.data:
        case t.HandoffOrdered() as ordered:
            published += _ordered(work, because, ordered)
        case t.RecallOrdered(handoff_id=handoff_id, ground=ground):
            published += _take_back(
                work, because, handoff_id, lambda kept: handoffs.recall(because, kept, ground)
            )
        case t.CaseSupplemented(text=text, reaches=reached):
            for handoff_id in reached:
                kept = work.handoff(handoff_id)
                published += work.on(
                    kept, because.cause, lambda k: handoffs.supplement(because, k, text)
                )
        case t.CaseUrged(handoff_id=handoff_id):
            kept = work.handoff(handoff_id)
            published += work.on(kept, because.cause, lambda k: handoffs.urge(because, k))
        case t.ExtensionDecided(handoff_id=handoff_id, granted=granted, result_due_at=due_at):
            kept = work.handoff(handoff_id)
            published += work.on(
                kept, because.cause, lambda k: handoffs.extend(because, k, granted, due_at)
            )
        case t.CaseErased(case_no=case_no):
            own = [d for d in work.deliveries.values() if d.document.case_no == case_no]
            published += work.cancel_all(because, own)
    if isinstance(event.data, t.CaseEvent):
        for handoff_id in event.data.ends:
            published += _take_back(
                work, because, handoff_id, lambda kept: handoffs.end(because, kept)
            )
    return published + _tell(work, event)


def _ordered(work: Work, because: Because, ordered: t.HandoffOrdered) -> list[Outgoing]:
    department = ordered.order.department

    def take(kept: Kept[HandoffDocument]) -> None:
        if work.place.departments.takes_feed(department):
            handoffs.take_to_feed(because, kept, ordered)
            return
        handoffs.take_to_queue(because, kept, ordered)
        if work.place.departments.url(department) is None:
            handoffs.undeliverable(because, kept, "no_address")

    kept = work.new_handoff(ordered.handoff_id, ordered.case_no)
    return work.on(kept, because.cause, take)


def _take_back(work: Work, because: Because, handoff_id: str, decide_end: Decide) -> list[Outgoing]:
    kept = work.handoff(handoff_id)
    published = work.on(kept, because.cause, decide_end)
    if kept.document.state.is_open:
        return published
    return published + work.cancel(because, handoff_id)


def _tell(work: Work, event: Event) -> list[Outgoing]:
    data = event.data
    if not isinstance(data, t.CaseEvent):
        return []
    told = told_step(event, work.place.profile, department=work.leads.get(data.case_no))
    if told is None:
        return []
    url, channel = data.callback_url, work.channels.get(data.case_no)
    if isinstance(data, t.HandoffOrdered):
        url, channel = data.order.request.callback_url, data.order.request.channel
    return work.tell(event, told, callback_url=url, channel=channel, tier=_tier(work, data))


def _tier(work: Work, data: t.CaseEvent) -> Tier | None:
    match data:
        case t.CaseOpened():
            return data.decision.tier
        case t.HandoffOrdered():
            return data.order.tier
        case t.CaseReopened():
            return data.tier
        case t.CaseResolved(handoff_id=str() as handoff_id):
            kept = work.handoffs.get(handoff_id)
            return kept.document.order.tier if kept and kept.document.order else None
        case _:
            return None
