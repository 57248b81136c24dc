"""The figures rebuilt from the log: a new generation beside the live one, which is then turned to.

Nothing that is served is touched before the last step (`turning`). A run that dies leaves a
half-built generation; the next run goes on with it where it stands.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from aiokafka.errors import KafkaError
from pydantic import SecretStr

from contracts.topics import CASE_PARTITIONS, CASE_TOPICS
from deploy.local.store import end_open_transactions
from deploy.recovery import groups
from deploy.recovery.alone import beating, left_alone
from deploy.recovery.comparing import Compared, compared, recounted
from deploy.recovery.filling import Filling, left
from deploy.recovery.known_letters import SERVICE, OnlyNew, count, known_letters
from deploy.recovery.lasting import given_up, in_one_line, lasting
from deploy.recovery.merged import LogUnreadable
from deploy.recovery.rebuilt import Outcome, Plan, RebuildError, Stage, Step
from deploy.recovery.turning import Turning, follow_and_drop, reached
from services.chassis.bus import Publisher, make_broker, stop_within
from services.chassis.dead_letters import DeadLetters
from services.chassis.settings import ServiceSettings
from services.chassis.store import Stale, Store, StoreUnavailable
from services.reporting.domain.progress import Ends, is_behind
from services.reporting.generations import FIRST, LAID_DOWN, Building, Generation, Generations, Live
from services.reporting.log_ends import LogEnds
from services.reporting.store import ProgressLost, Projection

_START_SECONDS = 20.0

OnStep = Callable[[Step], None]


@dataclass(slots=True)
class _Read:
    """What was read in this run, told on as it grows."""

    on_step: OnStep
    records: int = 0
    done: int = 0
    total: int = 0
    letters: list[OnlyNew] = field(default_factory=list)

    def take(self, offsets: int, records: int) -> None:
        self.done += offsets
        self.records += records
        self.tell(Stage.READING, self.done, self.total)

    def tell(self, stage: Stage, done: int, total: int) -> None:
        self.on_step(Step(stage, done, max(done, total), self.records))


class Rebuild:
    """Rebuilds the figures of one platform."""

    def __init__(
        self,
        kafka_url: str,
        mongo_url: str,
        store: Store,
        generations: Generations,
        publisher: Publisher,
        ends: LogEnds,
        is_local: bool,
    ) -> None:
        self._kafka_url = kafka_url
        self._mongo_url = mongo_url
        self._store = store
        self._generations = generations
        self._publisher = publisher
        self._ends = ends
        self._is_local = is_local

    async def plan(self) -> Plan:
        """Return what a run would do; nothing is written. Raises RebuildError."""
        live = (await lasting(self._generations.live)).generation
        half_built = await lasting(self._generations.building)
        new = half_built.generation if half_built else self._generations.after(live.number)
        ends = await lasting(self._log_ends)
        before: dict[tuple[str, int], int] = {}
        if new.number > live.number:
            with contextlib.suppress(ProgressLost):
                before = reached(await lasting(self._projection(new).progress))
        records = {
            topic: sum(
                max(0, ends[topic, number] - before.get((topic, number), 0))
                for number in range(CASE_PARTITIONS)
            )
            for topic in CASE_TOPICS
        }
        return Plan(live, new, records, sum(before.values()), new.number <= live.number)

    async def run(self, on_step: OnStep, *, keeps_old: bool = False) -> Outcome:
        """Rebuild, compare, turn to the new generation, and drop the old one unless `keeps_old`.

        Raises RebuildError; what was live still is then.
        """
        half_built = await left_alone(self._generations)
        live = (await lasting(self._generations.live)).generation
        new = half_built.generation if half_built else self._generations.after(live.number)
        try:
            now = await self._store.time()
            building = await self._generations.take_up(new, half_built, now)
        except Stale:
            raise RebuildError("another rebuild has just begun") from None
        except StoreUnavailable as error:
            raise given_up(error) from error
        async with beating(self._generations, building.run):
            if half_built and half_built.run != LAID_DOWN:
                await self._end_transactions()
            live, retired = await self._live_of_nobody_else()
            if half_built is None and new != self._generations.after(live.number):
                raise RebuildError("another rebuild has just ended: begin again")
            if new.number <= live.number:  # that run had turned, and died before it had dropped
                old = retired[-1] if retired else live
                outcome = await self._followed(Outcome(old, live, had_turned=True), None)
            else:
                is_continued = half_built is not None
                with in_one_line():
                    outcome = await self._rebuilt(
                        building, live, _Read(on_step), keeps_old, is_continued=is_continued
                    )
        await lasting(lambda: self._generations.end(building.run))
        return outcome

    async def _live_of_nobody_else(self) -> tuple[Generation, tuple[Generation, ...]]:
        """Return what is live, and retired, once no other run can turn any more: what another has
        closed is opened again, so that its turn fails, or it was quicker."""

        async def look() -> Live:
            live = await self._generations.live()
            if live.closing is not None:
                live = await self._generations.open_again(live)
                await self._projection(live.generation).reopen()
            return live

        live = await lasting(look)
        return live.generation, live.retired

    async def _end_transactions(self) -> None:
        """End what a killed run left open in the local store, as the supervisor does; elsewhere
        the store does it by itself, within a minute."""
        if self._is_local:
            at = urlsplit(self._mongo_url)
            await asyncio.to_thread(end_open_transactions, at.port or 0, at.hostname or "")

    async def _rebuilt(
        self,
        building: Building,
        live: Generation,
        read: _Read,
        keeps_old: bool,
        *,
        is_continued: bool,
    ) -> Outcome:
        old, new = self._projection(live), self._projection(building.generation)
        await lasting(old.prepare)
        if not is_continued or not await self._is_of_this_log(new):
            await lasting(new.drop)
        await lasting(new.prepare)
        began = time.monotonic()
        filling = await self._filling(new, read)
        is_of_one_log = await self._is_of_this_log(old)
        found = await lasting(lambda: self._compared(old, new, filling, read))
        await self._fill(new, filling, await lasting(self._log_ends), read)
        seconds = time.monotonic() - began
        again = await lasting(
            lambda: recounted(new, lambda done, of: read.tell(Stage.RECOUNTING, done, of))
        )
        if again.differences and is_continued:  # another release had begun it
            await lasting(new.drop)
            read = _Read(read.on_step)
            return await self._rebuilt(building, live, read, keeps_old, is_continued=False)
        if again.differences:
            raise RebuildError(
                f"{len(again.differences)} of the new figures are not equal to their recount; "
                "the old ones stay"
            )
        read.tell(Stage.TURNING, 0, 1)
        members = await lasting(lambda: groups.members(self._kafka_url, live.group))
        turning = Turning(
            self._kafka_url,
            self._generations,
            self._store.time,
            self._log_ends,
            old,
            new,
            filling,
            is_of_one_log,
            keeps_old,
        )
        await lasting(lambda: turning.turn(building))
        outcome = Outcome(
            live,
            building.generation,
            read.records,
            seconds,
            again.cases,
            count(read.letters),
            found.numbers,
            found.differences,
        )
        return await self._followed(outcome, members)

    async def _followed(self, outcome: Outcome, members: int | None) -> Outcome:
        """Wait for the processes, and drop what is retired."""
        group, of = outcome.old.group, self._projection
        followed = await lasting(
            lambda: follow_and_drop(self._kafka_url, self._generations, group, members, of)
        )
        return replace(
            outcome,
            processes=followed.processes,
            dropped=followed.dropped,
            undropped=followed.undropped,
        )

    async def _filling(self, new: Projection, read: _Read) -> Filling:
        known = await known_letters(self._kafka_url, self._mongo_url)

        def letters() -> OnlyNew:
            read.letters.append(OnlyNew(DeadLetters(self._publisher, SERVICE), known))
            return read.letters[-1]

        return Filling(self._kafka_url, new, letters, read.take)

    async def _fill(self, new: Projection, filling: Filling, ends: Ends, read: _Read) -> None:
        """Read up to these ends, with a bar of its own."""
        read.done, read.total = 0, left(await lasting(new.progress), ends)
        if read.total:
            await lasting(lambda: filling.fill(ends))

    async def _compared(
        self, old: Projection, new: Projection, filling: Filling, read: _Read
    ) -> Compared:
        """Read as far as the live generation is, and compare."""
        at = reached(await old.progress())
        if not any(at.values()) or not await self._is_of_this_log(old):
            return Compared(0, ())
        await self._fill(new, filling, at, read)
        return await compared(
            old, new, filling, lambda done, of: read.tell(Stage.COMPARING, done, of)
        )

    async def _is_of_this_log(self, generation: Projection) -> bool:
        ends = await lasting(self._log_ends)
        try:
            return not is_behind(await lasting(generation.progress), ends)
        except ProgressLost:
            return False

    async def _log_ends(self) -> Ends:
        ends = await self._ends.read()
        if ends is None:
            raise LogUnreadable("it does not say where it ends")
        return ends

    def _projection(self, generation: Generation) -> Projection:
        return Projection(self._store.beside(generation.database))


@contextlib.asynccontextmanager
async def rebuilding(
    kafka_url: str,
    mongo_url: str,
    *,
    first: Generation = FIRST,
    is_local: bool = False,
) -> AsyncIterator[Rebuild]:
    """Connect to a platform; `is_local`: its store is one of ours. Raises RebuildError."""
    settings = ServiceSettings(
        kafka_url=kafka_url, mongo_url=SecretStr(mongo_url), instance=f"rebuild-{os.getpid()}"
    )
    broker, ends, store = (
        make_broker(settings),
        LogEnds(kafka_url),
        Store(mongo_url, first.database),
    )
    try:
        async with asyncio.timeout(_START_SECONDS):
            await broker.start()
    except (KafkaError, TimeoutError, OSError) as error:
        await stop_within(broker, _START_SECONDS)
        store.close()
        raise RebuildError(f"Kafka does not answer ({type(error).__name__})") from error
    try:
        generations = Generations(store, first)
        publisher = Publisher(broker)
        yield Rebuild(kafka_url, mongo_url, store, generations, publisher, ends, is_local)
    finally:
        await ends.stop()
        await stop_within(broker, _START_SECONDS)
        store.close()
