"""What was accepted and is not on the bus yet gets there: this process's spool, and what others
left when they died. Any number of instances may do this at once: the bytes are frozen, so that a
record published twice is the same record.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import structlog

from services.chassis.bus import BusUnavailable
from services.chassis.crash_points import crash_point
from services.chassis.store import Stale, StoreUnavailable
from services.chassis.telemetry import error_fields
from services.intake import metrics
from services.intake.handlers import Ports
from services.intake.store import Records, Run, Runs

BATCH = 500
DEAD_AFTER = timedelta(seconds=10)
"""A process that has not said how far it is for so long is taken for dead."""
_BEAT_SECONDS = 1.0
_LOOK_SECONDS = 5.0
_PAUSE_SECONDS = 0.5

log = structlog.get_logger()


async def drain_once(ports: Ports) -> int:
    """Publish what has waited longest; return how many records that were.

    While the bus is away a single one asks for it: what is given up can still land, twice. Raises
    BusUnavailable and StoreUnavailable.
    """
    oldest = ports.ledger.oldest(BATCH if ports.bus.is_closed else 1)
    if not oldest:
        return 0
    kept = await ports.records.find(oldest.values())
    if kept:
        try:
            await ports.publish([record.event for record in kept])
        except BusUnavailable:
            ports.bus.failed()
            raise
        ports.bus.succeeded()
    crash_point("intake.drained")
    # One that is not in the store was never accepted: its insert failed, the caller knows.
    ports.ledger.done(*oldest)
    crash_point("intake.drain_noted")
    metrics.SPOOL_PUBLISHED.labels("own").inc(len(kept))
    return len(oldest)


async def drain(ports: Ports) -> None:
    """Drain the spool for ever; trouble with bus or store is passing and is tried again."""
    while True:
        try:
            drained = await drain_once(ports)
        except (BusUnavailable, StoreUnavailable):
            drained = 0
        if drained == 0:
            await asyncio.sleep(_PAUSE_SECONDS)
        elif ports.ledger.waiting == 0:
            log.info("spool is empty again")


class Caretaker:
    """Writes down once a second how far this process is, and takes over from dead ones."""

    def __init__(self, ports: Ports, records: Records, runs: Runs, instance: str) -> None:
        self._ports = ports
        self._records = records
        self._runs = runs
        self._instance = instance
        self._well_since: datetime | None = None

    async def beat(self) -> None:
        """Write how far this process is. Raises StoreUnavailable."""
        ledger = self._ports.ledger
        # The number is read before the write: what begins meanwhile is above it.
        run = Run(
            ledger.run,
            self._instance,
            ledger.published_through,
            ledger.waiting,
            self._ports.clock.now(),
        )
        try:
            await self._runs.beat(run)
            crash_point("intake.progress_written")
            if not self._ports.is_registered:
                await self._records.prepare()
                self._ports.is_registered = True
        except StoreUnavailable:
            self._well_since = None
            raise
        self._well_since = self._well_since or run.beat_at

    async def keep_beating(self) -> None:
        """Beat for ever; trouble with the store is passing and is tried again."""
        while True:
            try:
                await self.beat()
            except StoreUnavailable as error:
                log.warning("progress not written", reason=str(error))
            metrics.SPOOL_RECORDS.labels("here").set(self._ports.ledger.waiting)
            metrics.SPOOL_RECORDS.labels("elsewhere").set(self._ports.elsewhere)
            metrics.SPOOL_OLDEST_SECONDS.set(self._ports.ledger.oldest_seconds)
            await asyncio.sleep(_BEAT_SECONDS)

    async def keep_looking(self) -> None:
        """Look after dead processes for ever; trouble is passing and is tried again."""
        while True:
            try:
                await self.look_after()
            except (StoreUnavailable, BusUnavailable) as error:
                log.warning("dead processes not looked after", **error_fields(error))
            await asyncio.sleep(_LOOK_SECONDS)

    async def look_after(self) -> None:
        """Publish what dead processes left. Raises StoreUnavailable and BusUnavailable.

        An earlier process of this instance's name is dead for certain. While this one itself could
        not write lately, nor could the others, so their silence tells nothing.
        """
        now = self._ports.clock.now()
        others = [run for run in await self._runs.all() if run.id != self._ports.ledger.run]
        is_sure = self._well_since is not None and now - self._well_since > DEAD_AFTER
        self._ports.elsewhere = sum(run.waiting for run in others)
        for run in others:
            silent = now - run.beat_at > DEAD_AFTER
            if run.instance == self._instance or (silent and is_sure):
                await self._take_over(run)

    async def _take_over(self, run: Run) -> None:
        try:
            await self._runs.take_over(run, self._instance, self._ports.clock.now())
        except Stale:
            return
        crash_point("intake.run_claimed")
        left = await self._records.of_run(run.id, run.published_through)
        log.info("taking over", count=len(left))
        while left:
            chunk, left = left[:BATCH], left[BATCH:]
            await self._publish(run, chunk, len(left))
        await self._runs.finish(run.id)

    async def _publish(self, run: Run, chunk: Sequence[tuple[int, str]], still: int) -> None:
        kept = await self._records.find([id_ for _, id_ in chunk])
        await self._ports.publish([record.event for record in kept])
        crash_point("intake.run_published")
        metrics.SPOOL_PUBLISHED.labels("orphan").inc(len(kept))
        now = self._ports.clock.now()
        await self._runs.beat(Run(run.id, self._instance, chunk[-1][0] + 1, still, now))
        crash_point("intake.run_progress_written")

    async def stop(self) -> None:
        """Write the last word of this process; another one takes what still waits."""
        try:
            if self._ports.ledger.is_clear:
                await self._runs.finish(self._ports.ledger.run)
            else:
                await self.beat()
        except StoreUnavailable as error:
            log.warning("progress not written", **error_fields(error))
