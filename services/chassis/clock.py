"""The time as a port: the store's in service, the story's in demos and tests.

Deadlines are compared on several machines, so they go by one clock, the store's. What only this
process waits for (ticks, back-off, signatures) uses real time and not this port.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog

from services.chassis.telemetry import error_fields

log = structlog.get_logger()


class Clock(Protocol):
    """Something that tells the time, always aware and in UTC."""

    def now(self) -> datetime:
        """Return the present time in UTC."""
        ...


SKEW_VARIABLE = "JIEYOU_CLOCK_SKEW_SECONDS"
"""For tests alone: sets this process's own clock off by so much, as a machine's can be."""


class SystemClock:
    """The clock of this machine."""

    def __init__(self) -> None:
        self._skew = timedelta(seconds=float(os.environ.get(SKEW_VARIABLE) or 0))

    def now(self) -> datetime:
        """Return the machine's time in UTC."""
        return datetime.now(UTC) + self._skew


class StoreClock:
    """The store's time, measured now and then and carried on by the monotonic clock between.

    `trusted` says whether deadlines may fire here: only if the store was asked lately and this
    machine's own clock is no further than `tolerance` off it. A machine that is off has some fault
    that may touch more than its clock, so it leaves the firing to others.
    """

    def __init__(
        self,
        read_store_time: Callable[[], Awaitable[datetime]],
        *,
        tolerance: timedelta = timedelta(seconds=2),
        longest_without_measure: timedelta = timedelta(seconds=60),
        monotonic: Callable[[], float] = time.monotonic,
        system: Clock | None = None,
    ) -> None:
        self._read_store_time = read_store_time
        self._tolerance = tolerance
        self._longest_without_measure = longest_without_measure
        self._monotonic = monotonic
        self._system = system or SystemClock()
        self._measured_at: float | None = None
        self._store_time = self._system.now()
        self.offset = timedelta(0)

    async def measure(self) -> timedelta:
        """Ask the store for its time; return how far this machine is behind it (negative: ahead).

        The answer is taken to stand for the middle of the call. Raises what the reading raises.
        """
        before = self._monotonic()
        store_time = (await self._read_store_time()).astimezone(UTC)
        after = self._monotonic()
        self._store_time = store_time + timedelta(seconds=(after - before) / 2)
        self._measured_at = after
        self.offset = self._store_time - self._system.now()
        return self.offset

    def now(self) -> datetime:
        """Return the store's time; before the first measure the machine's own."""
        if self._measured_at is None:
            return self._system.now()
        return self._store_time + timedelta(seconds=self._monotonic() - self._measured_at)

    @property
    def trusted(self) -> bool:
        """Whether deadlines may fire by this clock."""
        if self._measured_at is None:
            return False
        age = timedelta(seconds=self._monotonic() - self._measured_at)
        return age <= self._longest_without_measure and abs(self.offset) <= self._tolerance

    async def keep_measured(self, every: timedelta = timedelta(seconds=15)) -> None:
        """Measure for ever; a store that does not answer costs trust after a while, no error."""
        is_told = False
        while True:
            try:
                async with asyncio.timeout(5):
                    await self.measure()
            except Exception as error:  # noqa: BLE001 -- whatever it is, trust runs out
                log.warning("store clock not measured", **error_fields(error))
            if self._measured_at is not None and not (is_told or self.trusted):
                log.error(
                    "clock not trusted, deadlines don't fire here",
                    seconds=self.offset.total_seconds(),
                    alarm=True,
                )
            is_told = self._measured_at is not None and not self.trusted
            await asyncio.sleep(every.total_seconds() if self.trusted else 1.0)


class StoryClock:
    """A clock that is set by hand and stands still between; it never goes back."""

    def __init__(self, start: datetime) -> None:
        self._now = _utc(start)

    trusted = True

    def now(self) -> datetime:
        """Return the time last set."""
        return self._now

    def set(self, to: datetime) -> None:
        """Move on to a time; raises ValueError for one before the present."""
        to = _utc(to)
        if to < self._now:
            raise ValueError("a story's clock does not go back")
        self._now = to

    def advance(self, by: timedelta) -> None:
        """Move on by a duration."""
        self.set(self._now + by)


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    return moment.astimezone(UTC)
