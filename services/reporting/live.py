"""What a process does with the live generation: reads from it, and has the log applied to it.

Readers look at the pointer before each answer, so no process answers from an older generation than
another did before. Appliers look once a second: the new consumer is started before the old one is
stopped, so the process is ready all the time and need not be started anew.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from services.chassis.backoff import backoff_seconds
from services.chassis.store import Stale, Store, StoreUnavailable
from services.reporting.alignment import AnotherLog
from services.reporting.applying import Applying
from services.reporting.generations import Generation, Generations, Live
from services.reporting.settings import ReportingSettings
from services.reporting.store import ProgressLost, Projection

KEPT_SECONDS = 5.0
"""How long a generation is kept at least after another was turned to: for answers under way."""
SILENT_SECONDS = 8.0
"""A run whose beat has not been seen to grow for so long is taken for dead."""

_LOOK_EVERY_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 5.0
_TRIES = 3

log = structlog.get_logger()
T = TypeVar("T")


class LiveReads:
    """Reads from whichever generation is live."""

    def __init__(self, generations: Generations, store: Store) -> None:
        self._generations = generations
        self._store = store
        self._projections: dict[str, Projection] = {}

    def projection_of(self, generation: Generation) -> Projection:
        """Return what a generation holds."""
        name = generation.database
        if name not in self._projections:
            self._projections[name] = Projection(self._store.beside(name))
        return self._projections[name]

    async def ask(self, read: Callable[[Projection], Awaitable[T]]) -> T:
        """Return what `read` finds in the live generation. Raises StoreUnavailable.

        What took so long that the generation can have been dropped meanwhile is read once more:
        of a dropped one everything would be empty.
        """
        for _ in range(_TRIES):
            began = time.monotonic()
            projection = await self._projection()
            try:
                found = await read(projection)
            except ProgressLost:
                continue
            if time.monotonic() - began < KEPT_SECONDS or await self._projection() is projection:
                return found
        raise StoreUnavailable("what is live has changed, or is gone")

    async def _projection(self) -> Projection:
        return self.projection_of((await self._generations.live()).generation)


class LiveApplying:
    """Has the log applied to whichever generation is live."""

    def __init__(
        self, settings: ReportingSettings, generations: Generations, reads: LiveReads
    ) -> None:
        self._settings = settings
        self._generations = generations
        self._reads = reads
        self._applying: Applying | None = None
        self._coming: Applying | None = None
        self._refused: str | None = None
        self._beat: tuple[str, int] | None = None
        self._beat_seen_at = 0.0

    async def run(self) -> None:
        """Apply for ever; run it in the background."""
        attempt = 0
        while True:
            try:
                live = await self._generations.live()
            except StoreUnavailable as error:
                attempt += 1
                wait = backoff_seconds(attempt, first=0.3, longest=_LONGEST_WAIT_SECONDS)
                reason = str(error)
                log.warning("store not available yet", attempt=attempt, reason=reason, seconds=wait)
                await asyncio.sleep(wait)
                continue
            attempt = 0
            if self._applying is None or not _is_same(self._applying.generation, live.generation):
                await self._turn_to(live.generation)
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def stop(self) -> None:
        """Finish the batch in hand and leave the group."""
        for applying in (self._coming, self._applying):
            if applying is not None:
                await applying.stop()

    async def dead(self) -> str | None:
        """Why the consumer won't come back by itself, or None; for liveness."""
        return await self._applying.dead() if self._applying else None

    async def begun(self) -> str | None:
        """Why nothing is applied at all, or None; for readiness."""
        return self._refused or (None if self._applying else "not begun")

    async def bus(self) -> str | None:
        """Why the bus can't be used right now, or None; for readiness."""
        return await self._applying.bus() if self._applying else "not started"

    async def waiting(self) -> str | None:
        """Why records are not applied right now, or None; for readiness."""
        return await self._applying.waiting() if self._applying else "not started"

    async def _turn_to(self, generation: Generation) -> None:
        """Begin with one generation, and only then end with the one before."""
        projection = self._reads.projection_of(generation)
        self._coming = Applying(self._settings, generation, projection, self._goes_on)
        try:
            await self._coming.begin()
        except AnotherLog as error:
            self._refused = str(error)
            log.critical("not the log that was applied", reason=self._refused, alarm=True)
        else:
            self._refused = None
            log.info("generation served", group=generation.group)
        before, self._applying, self._coming = self._applying, self._coming, None
        if before is not None:
            await before.stop()

    async def _goes_on(self, generation: Generation, projection: Projection) -> bool:
        live = await self._generations.live()
        if not _is_same(live.generation, generation):
            return False
        if live.closing is None:
            await projection.reopen()
        elif await self._is_silent(live.closing):
            await self._open_again(live, projection)
        return True

    async def _is_silent(self, run: str) -> bool:
        """Whether a run has shown no beat for so long that it must be dead."""
        building = await self._generations.building()
        if building is None or building.run != run:
            return True
        if (run, building.beat) != self._beat:
            self._beat, self._beat_seen_at = (run, building.beat), time.monotonic()
        return time.monotonic() - self._beat_seen_at > SILENT_SECONDS

    async def _open_again(self, live: Live, projection: Projection) -> None:
        try:
            await self._generations.open_again(live)
        except Stale:
            return
        await projection.reopen()
        log.warning("generation opened again", reason="the run that closed it shows no life")


def _is_same(one: Generation, other: Generation) -> bool:
    return one.database == other.database
