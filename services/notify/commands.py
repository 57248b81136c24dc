"""What people do by HTTP: read fresh, decide, save, publish; what fails to publish is relayed."""

from collections.abc import Callable

import structlog

from contracts.feeds import AnyReply
from contracts.lifecycle import HandoffDocument
from services.chassis.batches import Undecidable
from services.chassis.bus import BusUnavailable
from services.chassis.clock import Clock
from services.chassis.documents import Unit
from services.chassis.kept import Kept
from services.chassis.store import Stale, StoreUnavailable
from services.notify.domain import handoffs, replies
from services.notify.domain.because import Because
from services.notify.handlers import take_reply
from services.notify.loading import DepartmentReply
from services.notify.publishing import Publishing
from services.notify.sender import Sender
from services.notify.work import Place, Work

log = structlog.get_logger()

_TRIES = 8

Act = Callable[[Work], None]


class UnknownHandoff(Exception):
    """There is no such hand-off, or it is not the caller's."""


class NotPossible(Exception):
    """The hand-off's state does not allow it; `why` says so in Chinese."""

    def __init__(self, why: str) -> None:
        super().__init__("not possible")
        self.why = why


class KeyUsedOtherwise(Exception):
    """The idempotency key was used for something else."""


class Commands:
    """The commands on hand-offs."""

    def __init__(self, place: Place, publishing: Publishing, sender: Sender, clock: Clock) -> None:
        self._place = place
        self._publishing = publishing
        self._sender = sender
        self._clock = clock

    async def reply(self, department: str, reply: AnyReply) -> Kept[HandoffDocument]:
        """Take a department's reply. The same reply again has the same answer and no effect.

        Raises UnknownHandoff, NotPossible for a reply that does not apply (it is recorded as
        refused), KeyUsedOtherwise, Stale and StoreUnavailable.
        """
        cause = replies.cause_of(department, reply)

        def act(work: Work) -> None:
            try:
                take_reply(work, DepartmentReply(department, reply), came_late=False)
            except Undecidable:
                raise UnknownHandoff from None

        kept = await self._do(reply.handoff_id, act)
        outcome = replies.outcome_of(kept, cause, reply.act)
        if outcome is replies.Outcome.OTHER:
            raise KeyUsedOtherwise
        if outcome is not None and outcome is not replies.Outcome.TAKEN:
            raise NotPossible(replies.WORDS[outcome])
        return kept

    async def sent_by_telephone(
        self, handoff_id: str, command_id: str, person: str
    ) -> Kept[HandoffDocument]:
        """A person rang the department, since no machine could bring the order.

        Raises UnknownHandoff, NotPossible if the department has it already, Stale and
        StoreUnavailable.
        """
        cause = f"command:{command_id}"

        def act(work: Work) -> None:
            kept = work.handoffs.get(handoff_id)
            if kept is None:
                raise UnknownHandoff
            because = Because(cause, work.now)
            if not kept.document.has_cause(cause) and not handoffs.is_waiting_to_be_sent(
                kept.document
            ):
                raise NotPossible("对方已经收到这份交办，不用再登记电话转交。")
            work.on(kept, cause, lambda k: _sent_by(because, k, person))
            work.cancel(because, kept)

        return await self._do(handoff_id, act)

    async def _do(self, handoff_id: str, act: Act) -> Kept[HandoffDocument]:
        documents = self._place.documents
        for attempt in range(1, _TRIES + 1):
            unit = Unit(documents.store, owed_by_offset=False, attempt=attempt)
            work = Work(self._place, unit, self._clock.now())
            found = await documents.handoffs.load([handoff_id])
            if handoff_id not in found:
                raise UnknownHandoff
            kept = found[handoff_id]
            work.take_handoffs([kept])
            if attempt > 1:
                case_no = kept.document.case_no
                work.take_deliveries(await documents.deliveries_of([case_no]))
            elif handoffs.is_waiting_to_be_sent(kept.document):
                case_no = kept.document.case_no
                waiting = await documents.deliveries_of([case_no], only_planned=True)
                work.take_deliveries(waiting)
            act(work)
            try:
                await unit.save()
            except Stale:
                continue
            await self._publish(unit, kept)
            self._sender.offer(work.planned)
            return kept
        raise Stale(f"a hand-off kept changing through {_TRIES} attempts")

    async def _publish(self, unit: Unit, kept: Kept[HandoffDocument]) -> None:
        """What the bus does not take now, the relay publishes: the command has succeeded."""
        try:
            await unit.publish_pending(lambda events: self._publishing.of(kept, events))
        except (BusUnavailable, StoreUnavailable):
            log.warning("command left to the relay", handoff_id=kept.document.document_id)


def _sent_by(because: Because, kept: Kept[HandoffDocument], person: str) -> None:
    handoffs.sent(because, kept, "telephone", receipt=person)
