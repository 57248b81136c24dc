"""What is recorded when an attempt to deliver has ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from contracts import handling as h
from contracts.envelope import Event
from contracts.ids import delivery_id
from contracts.lifecycle import DeliveryDocument, HandoffDocument
from services.chassis.backoff import backoff_seconds
from services.chassis.bus import BusUnavailable
from services.chassis.clock import Clock
from services.chassis.crash_points import crash_point
from services.chassis.documents import Publish, Unit
from services.chassis.kept import Kept
from services.chassis.store import Stale
from services.notify import metrics
from services.notify.domain import handoffs
from services.notify.domain.attempts import Attempted, Failure
from services.notify.domain.because import Because
from services.notify.domain.deliveries import attempt_cause, settle
from services.notify.domain.feed import notice_of
from services.notify.store import PLANNED, NotifyStore, real_time
from services.notify.work import ORDERED, Place, Work, erasure_id

log = structlog.get_logger()

_TRIES = 8


@dataclass(frozen=True, slots=True)
class Settled:
    """A delivery with what its attempt of this number came to."""

    kept: Kept[DeliveryDocument]
    attempt: int
    attempted: Attempted

    @property
    def cause(self) -> str:
        """What its events are caused by."""
        return attempt_cause(self.kept.document, self.attempt)


@dataclass(frozen=True, slots=True)
class RetryRule:
    """How long to wait between attempts, in seconds."""

    first: float
    longest: float


class Outcomes:
    """Writes outcomes into deliveries, and into hand-offs where the delivery brought one."""

    def __init__(self, place: Place, publish: Publish, clock: Clock, retry: RetryRule) -> None:
        self._place = place
        self._documents: NotifyStore = place.documents
        self._publish = publish
        self._clock = clock
        self._retry = retry

    async def settle(self, settled: Sequence[Settled]) -> dict[str, datetime]:
        """Record outcomes. Returns the deliveries that are tried again, with when that is."""
        told = [s for s in settled if not s.attempted.failure and _is_callback(s)]
        others = [s for s in settled if s.attempted.failure or not _is_callback(s)]
        if not await self._told_together(told):
            others += told
        put_off: dict[str, datetime] = {}
        for one in others:
            again_at = await self._settle_one(one)
            if again_at is not None:
                put_off[one.kept.document.document_id] = again_at
        return put_off

    async def _told_together(self, told: Sequence[Settled]) -> bool:
        """Record in one transaction that channels took their messages; False if one has changed,
        then each has to be looked at by itself."""
        if not told:
            return True
        now = self._clock.now()
        unit = Unit(self._documents.store, owed_by_offset=False)
        for one in told:
            _record_told(one.kept, one, now)
            unit.add(self._documents.deliveries, one.kept)
        try:
            await unit.save()
        except Stale:
            return False
        await self._publish_pending(unit)
        return True

    async def _settle_one(self, one: Settled) -> datetime | None:
        """Settle one delivery as it stands in the store now; return when it is tried again."""
        document_id = one.kept.document.document_id
        for _ in range(_TRIES):
            kept = (await self._documents.deliveries.load([document_id])).get(document_id)
            if kept is None:
                return None
            is_taken = one.attempted.failure is None
            if kept.document.state != PLANNED and not is_taken:
                return None
            again_at = None if is_taken else self._retry_at(kept.document, one)
            if again_at is not None:
                failure = one.attempted.failure or ""
                await self._documents.retry_later(kept, one.attempt, failure, again_at)
                crash_point("delivery.put_off")
                return again_at
            try:
                await self._end(kept, one)
            except Stale:
                continue
            return None
        raise Stale(f"a delivery kept changing through {_TRIES} attempts")

    def _retry_at(self, delivery: DeliveryDocument, one: Settled) -> datetime | None:
        """Return when to try again; None if that would be of no use or too late."""
        failure = one.attempted.failure
        if failure is None or failure.is_permanent:
            return None
        seconds = backoff_seconds(one.attempt, first=self._retry.first, longest=self._retry.longest)
        wait = timedelta(seconds=max(seconds, one.attempted.retry_after_seconds or 0.0))
        if delivery.give_up_at is not None and self._clock.now() + wait > delivery.give_up_at:
            return None
        return real_time() + wait

    async def _end(self, kept: Kept[DeliveryDocument], one: Settled) -> None:
        """Record the end of a delivery, with what it means for its hand-off. Raises Stale."""
        now = self._clock.now()
        unit = Unit(self._documents.store, owed_by_offset=False)
        work = Work(self._place, unit, now)
        work.take_deliveries([kept])
        delivery = kept.document
        if one.attempted.failure is not None:
            attempts = one.attempt - (one.attempted.failure is Failure.TOO_OLD)
            why = one.attempted.failure.value
            settle(kept, h.DeliveryExhausted, one.cause, now, attempts=attempts, why=why)
            metrics.EXHAUSTED.labels(delivery.purpose).inc()
            log.error(
                "delivery given up",
                case_no=delivery.case_no,
                delivery_id=delivery.document_id,
                kind=delivery.purpose,
                reason=why,
                attempt=attempts,
            )
        elif delivery.state == PLANNED and _is_callback(one):
            _record_told(kept, one, now)
        elif delivery.state == PLANNED:
            receipt = one.attempted.receipt
            settle(kept, h.DeliveryTaken, one.cause, now, attempts=one.attempt, receipt=receipt)
        if delivery.handoff_id is not None:
            await self._end_for_handoff(work, delivery, one)
        await unit.save()
        await self._publish_pending(unit)

    async def _end_for_handoff(self, work: Work, delivery: DeliveryDocument, one: Settled) -> None:
        """An order that was taken is sent; one that nobody took is a person's task. If it was
        taken back while it was in flight, its receiver has to hear of that."""
        handoff_id = delivery.handoff_id or ""
        loaded = await self._documents.handoffs.load([handoff_id])
        kept = loaded.get(handoff_id)
        if kept is None or delivery.step != ORDERED:
            return
        work.take_handoffs([kept])
        because = Because(one.cause, work.now, after=one.kept.events[-1].data)
        if one.attempted.failure is not None:
            handoffs.undeliverable(because, kept, one.attempted.failure.value)
            return
        sent = handoffs.sent(because, kept, "http", one.attempted.receipt)
        if sent is not None and kept.is_erased:
            await self._post_erasure(work, kept, sent)
        last_notice = _last_notice(kept)
        target = delivery.target or one.kept.document.target  # the stored one may be redacted
        if last_notice is not None and target is not None:
            step = notice_of(last_notice) or ""
            notice_id = delivery_id(kept.document.case_no, last_notice.id, target)
            work.take_deliveries((await self._documents.deliveries.load([notice_id])).values())
            work.post_news(kept, last_notice, step, target)

    async def _post_erasure(self, work: Work, kept: Kept[HandoffDocument], sent: Event) -> None:
        """The order was in flight while its case was erased: its receiver deletes it again."""
        url = work.place.departments.url(kept.document.department)
        if url is not None:
            known = await self._documents.deliveries.load([erasure_id(kept.document, url)])
            work.take_deliveries(known.values())
            work.post_erasure(kept, sent)

    async def _publish_pending(self, unit: Unit) -> None:
        """What the bus does not take now, the relay publishes later."""
        try:
            await unit.publish_pending(self._publish)
        except BusUnavailable:
            log.warning("outcome left to the relay")


def _is_callback(one: Settled) -> bool:
    return one.kept.document.purpose == "callback"


def _record_told(kept: Kept[DeliveryDocument], one: Settled, now: datetime) -> None:
    settle(
        kept,
        h.CitizenTold,
        one.cause,
        now,
        by="callback",
        told_at=now,
        attempts=one.attempt,
    )


def _last_notice(kept: Kept[HandoffDocument]) -> Event | None:
    """Return the last event that ended a hand-off from our side."""
    ends = (h.HandoffRecalled, h.HandoffNotNeeded)
    return next((e for e in reversed(kept.events) if isinstance(e.data, ends)), None)
