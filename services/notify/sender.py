"""The sender: brings planned deliveries to their targets, in the background.

What this process has planned it sends at once from memory; what a crash or a failed attempt left
it finds in the store when that is due. Before each attempt the store is asked whether something
earlier waits in the same lane, so that a citizen reads one step after the other.
"""

import asyncio
import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
import structlog

from contracts.lifecycle import DeliveryDocument
from contracts.profile import Profile
from services.chassis.clock import Clock
from services.chassis.crash_points import crash_point
from services.chassis.kept import Kept
from services.chassis.telemetry import error_fields
from services.notify import metrics
from services.notify.domain.attempts import Attempted, Failure
from services.notify.domain.webhooks import ReceiverKind
from services.notify.lanes import InHand, Lanes
from services.notify.outcomes import Outcomes, Settled
from services.notify.posting import Message, Poster
from services.notify.settings import NotifySettings
from services.notify.store import PLANNED, NotifyStore, Waiting, real_time

log = structlog.get_logger()

_MOST_IN_MEMORY = 20_000
_SCAN = 200
_SETTLED_AT_ONCE = 200
_AFTER_THE_ONE_BEFORE = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True)
class _Done:
    one: InHand
    attempted: Attempted


class Sender:
    """Sends deliveries. `run` and `settle` are two background tasks of one process."""

    def __init__(
        self,
        documents: NotifyStore,
        outcomes: Outcomes,
        poster: Poster,
        profile: Profile,
        clock: Clock,
        settings: NotifySettings,
    ) -> None:
        self._documents = documents
        self._outcomes = outcomes
        self._poster = poster
        self._profile = profile
        self._clock = clock
        self._scan_seconds = settings.scan_seconds
        self._scan_every = timedelta(seconds=settings.scan_seconds)
        self._instance = settings.instance
        self._lanes = Lanes(settings.sends_at_once, settings.sends_per_target, _MOST_IN_MEMORY)
        self._wake = asyncio.Event()
        self._done: asyncio.Queue[_Done] = asyncio.Queue()
        self._attempts: set[asyncio.Task[None]] = set()

    def offer(self, planned: Iterable[Kept[DeliveryDocument]]) -> None:
        """Take what this process has just planned, stored and published. What does not fit stays
        in the store and is found there once its lease is over."""
        for kept in planned:
            if kept.document.state == PLANNED:
                self._lanes.add(kept, attempts=0)
        self._wake.set()

    async def run(self) -> None:
        """Send for ever; trouble with the store is passing."""
        scan_at = 0.0
        while True:
            self._wake.clear()
            try:
                if time.monotonic() >= scan_at:
                    found = await self._scan()
                    scan_at = time.monotonic() + (0 if found == _SCAN else self._scan_seconds)
                await self._begin()
            except Exception as error:  # noqa: BLE001 - passing; what is planned stays planned
                log.warning("sending failed", **error_fields(error))
                await asyncio.sleep(self._scan_seconds)
            metrics.IN_MEMORY.set(len(self._lanes))
            try:
                async with asyncio.timeout(max(0.0, scan_at - time.monotonic())):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def settle(self) -> None:
        """Write down for ever what attempts came to, all that are there at once."""
        while True:
            done = [await self._done.get()]
            while len(done) < _SETTLED_AT_ONCE and not self._done.empty():
                done.append(self._done.get_nowait())
            put_off: dict[str, datetime] = {}
            try:
                settled = [Settled(d.one.kept, d.one.attempts + 1, d.attempted) for d in done]
                put_off = await self._outcomes.settle(settled)
            except Exception as error:  # noqa: BLE001 - the lease ends and it is sent once more
                log.warning("delivery not settled", **error_fields(error))
                put_off = {d.one.kept.document.document_id: real_time() for d in done}
            for each in done:
                until = put_off.get(each.one.kept.document.document_id)
                await self._release(each.one, until)
            self._wake.set()

    async def _release(self, one: InHand, put_off_until: datetime | None) -> None:
        dropped = self._lanes.done(one, drop_lane=put_off_until is not None)
        if dropped and put_off_until is not None:
            try:
                await self._documents.postpone(dropped, put_off_until + _AFTER_THE_ONE_BEFORE)
            except Exception as error:  # noqa: BLE001 - then they are looked at a little earlier
                log.warning("deliveries not postponed", **error_fields(error))

    async def _scan(self) -> int:
        """Take in hand what is due in the store; return how many those were."""
        limit = min(_SCAN, self._lanes.room)
        if limit <= 0:
            return 0
        token = f"{self._instance}/{secrets.token_hex(6)}"
        found = await self._documents.lease_due(token, limit, self._lanes.busy_hosts)
        if found:
            crash_point("delivery.leased")
        for leased in found:
            self._lanes.add(leased.kept, leased.attempts)
        return len(found)

    async def _begin(self) -> None:
        """Begin at the heads of lanes that have a slot and nothing earlier in the store."""
        begun = self._lanes.take()
        try:
            cases = [one.kept.document.case_no for one in begun]
            waiting = await self._documents.waiting_for(cases) if cases else {}
            while begun:
                one = begun[0]
                await self._begin_one(one, _first_of(one, waiting.get(one.lane, [])))
                begun.pop(0)
        finally:
            for one in begun:  # the store failed; it is found there again when its lease is over
                self._lanes.done(one, drop_lane=True)

    async def _begin_one(self, one: InHand, first: Waiting | None) -> None:
        if first is None:  # settled or cancelled meanwhile
            self._lanes.done(one)
            self._wake.set()
        elif first.place < one.place:
            await self._put_behind(one, first)
        else:
            task = asyncio.create_task(self._attempt(one))
            self._attempts.add(task)
            task.add_done_callback(self._attempts.discard)

    async def _put_behind(self, one: InHand, first: Waiting) -> None:
        """Wait for an earlier one that is not in hand here: until it is tried again, or, where
        nobody has tried it yet, a moment, since whoever planned it is sending it now."""
        until = first.next_due if first.attempts else real_time() + self._scan_every
        behind = self._lanes.in_lane(one)
        await self._documents.postpone(behind, until + _AFTER_THE_ONE_BEFORE)
        self._lanes.done(one, drop_lane=True)

    async def _attempt(self, one: InHand) -> None:
        """Attempt once. Whatever happens, the outcome reaches `settle`."""
        delivery = one.kept.document
        began = time.monotonic()
        if delivery.give_up_at is not None and self._clock.now() > delivery.give_up_at:
            attempted = Attempted(Failure.TOO_OLD)
        else:
            message = self._message(delivery)
            if message is None:
                attempted = Attempted(Failure.RECEIVER_UNKNOWN)
            else:
                attempted = await self._poster.post(message)
                crash_point("delivery.posted")
        metrics.POST_SECONDS.labels(delivery.purpose).observe(time.monotonic() - began)
        metrics.ATTEMPTS.labels(delivery.purpose, attempted.failure or "none").inc()
        self._lanes.answered(one)
        self._wake.set()
        self._done.put_nowait(_Done(one, attempted))

    def _message(self, delivery: DeliveryDocument) -> Message | None:
        """Return what is to be posted, or None if nobody knows whose key is to sign it."""
        if delivery.target is None or delivery.body is None:
            return None
        kind: ReceiverKind = "channel"
        code, may_be_private = delivery.channel, False
        if delivery.purpose == "handoff":
            kind, may_be_private = "department", True
            code = orjson.loads(delivery.body)["handoff"]["department"]
        elif code is not None:
            channel = self._profile.channels_by_code.get(code)
            may_be_private = channel is not None and channel.allow_private_callbacks
        if code is None:
            return None
        return Message(
            delivery.document_id, delivery.target, delivery.body, kind, code, may_be_private
        )


def _first_of(one: InHand, waiting: Sequence[Waiting]) -> Waiting | None:
    """Return who goes first in a lane; None if the delivery in hand is planned no more."""
    if all(other.delivery_id != one.kept.document.document_id for other in waiting):
        return None
    return waiting[0]
