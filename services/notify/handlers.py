"""What notify does on each event of triage and on each reply of a department."""

from collections.abc import Callable, Sequence

from contracts import triage as t
from contracts.envelope import Event
from contracts.lifecycle import DeliveryDocument, HandoffDocument
from contracts.telling import told_step
from contracts.vocabulary import Tier
from services.chassis.batches import Input, PutAside, Undecidable, work_through
from services.chassis.bus import Outgoing, Publisher, Record
from services.chassis.documents import Unit
from services.chassis.kept import Kept
from services.notify.domain import handoffs, replies
from services.notify.domain.because import Because
from services.notify.loading import DepartmentReply, Loading, Read, read
from services.notify.work import Decide, Place, Work

Offer = Callable[[Sequence[Kept[DeliveryDocument]]], None]
"""Gives the sender what was planned and is stored and published."""


class Handler:
    """Works through batches of `triage.v1` and of the departments' replies."""

    def __init__(
        self,
        place: Place,
        loading: Loading,
        publisher: Publisher,
        dead_letters: PutAside,
        offer: Offer,
    ) -> None:
        self._place = place
        self._loading = loading
        self._publisher = publisher
        self._dead_letters = dead_letters
        self._offer = offer

    async def handle(self, records: Sequence[Record]) -> None:
        """Handle a batch. Raises what gives it back."""
        works: list[Work] = []

        async def load(inputs: Sequence[Input[Read]], unit: Unit) -> Work:
            works.append(await self._loading.load(inputs, unit))
            return works[-1]

        await work_through(
            records,
            read=read,
            load=load,
            decide=decide,
            store=self._place.documents.store,
            publisher=self._publisher,
            dead_letters=self._dead_letters,
        )
        self._offer(works[-1].planned)


def decide(work: Work, one: Input[Read]) -> list[Outgoing]:
    """Record what an input means, and return what is to be published. Raises Undecidable."""
    if isinstance(one.read, DepartmentReply):
        return take_reply(work, one.read, came_late=True)
    is_erasure = isinstance(one.read.data, t.CaseErased)
    if one.read.data.rev and not is_erasure and work.knows(one.read):
        return []  # only its words went
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
        published += work.cancel(because, kept)
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
        case t.CaseErased():
            published += work.erase(event)
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
    return published + work.cancel(because, kept)


def _tell(work: Work, event: Event) -> list[Outgoing]:
    data = event.data
    if not isinstance(data, t.CaseEvent):
        return []
    told = told_step(event, work.place.profile)
    if told is None:
        return []
    url, channel = data.callback_url, work.channels.get(data.case_no)
    if isinstance(data, t.HandoffOrdered):
        url, channel = data.order.request.callback_url, data.order.request.channel
    return work.tell(event, told, callback_url=url, channel=channel, tier=_tier(data))


def _tier(data: t.CaseEvent) -> Tier | None:
    match data:
        case t.CaseOpened():
            return data.decision.tier
        case t.HandoffOrdered():
            return data.order.tier
        case _:
            return data.tier
