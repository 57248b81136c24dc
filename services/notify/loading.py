"""What notify reads: records from the bus, and the documents that they concern."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from contracts import triage as t
from contracts.envelope import ContractError, Event
from contracts.feeds import REPLY, AnyReply
from contracts.lifecycle import HandoffDocument
from contracts.topics import TRIAGE, department_of
from services.chassis.batches import Input, read_event
from services.chassis.bus import Record
from services.chassis.clock import Clock
from services.chassis.documents import Unit
from services.chassis.kept import Kept
from services.notify.work import Place, Work

_CHANNELS_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class DepartmentReply:
    """A reply with the department whose topic it came by: only that department writes there."""

    department: str
    reply: AnyReply


Read = Event | DepartmentReply


def read(record: Record) -> Read | None:
    """Read a record. What was redacted says nothing new, unless it was so from the start: the
    documents tell. Raises ContractError."""
    if record.topic == TRIAGE:
        return read_event(record)
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
        erasures = set(_erased_by(read_inputs))
        await documents.erased.add(erasures)
        created = {
            one.data.handoff_id
            for one in read_inputs
            if isinstance(one, Event) and isinstance(one.data, t.HandoffOrdered)
        }
        known = {
            one.data.handoff_id
            for one in read_inputs
            if isinstance(one, Event) and isinstance(one.data, t.HandoffOrdered) and one.data.rev
        }
        named = {handoff_id for one in read_inputs for handoff_id in _named(one)}
        if unit.attempt == 1:
            found = await documents.handoffs.cached(named - created | known)
        else:
            found = await documents.handoffs.load(named | created)
        for one in await documents.handoffs_of(erasures):
            found.setdefault(one.document.document_id, one)
        work.take_handoffs(found.values())
        if unit.attempt > 1:
            cases = {_case_of(one, found) for one in read_inputs}
            work.take_deliveries(await documents.deliveries_of(case for case in cases if case))
        else:
            await self._load_cancellable(work, read_inputs)
        await self._load_channels(work, read_inputs)
        return work

    async def _load_cancellable(self, work: Work, inputs: Sequence[Read]) -> None:
        """Read what recalls, ends and replies may find still to be posted, and all that was ever
        to be told of an erased case: whether it was shows there alone."""
        departments = self._place.departments
        cases = {
            kept.document.case_no
            for kept in work.handoffs.values()
            if not departments.takes_feed(kept.document.department)
        }
        documents = self._place.documents
        erased = {
            one.data.case_no
            for one in inputs
            if isinstance(one, Event) and one.data.case_no in documents.erased
        }
        work.take_deliveries(await documents.deliveries_of(cases - erased, only_planned=True))
        work.take_deliveries(await documents.deliveries_of(erased))

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


def _erased_by(inputs: Sequence[Read]) -> Iterator[str]:
    for one in inputs:
        if isinstance(one, Event) and isinstance(one.data, t.CaseErased):
            yield one.data.case_no


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
