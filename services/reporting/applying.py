"""The log applied to one generation, by a consumer in that generation's group."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from contracts.topics import CASE_TOPICS
from services.chassis.backoff import backoff_seconds
from services.chassis.bus import (
    Publisher,
    Record,
    bus_trouble,
    make_broker,
    start_when_available,
    stop_within,
    subscribe_batch,
)
from services.chassis.dead_letters import DeadLetters
from services.chassis.store import StoreUnavailable
from services.reporting.alignment import align
from services.reporting.generations import Generation
from services.reporting.handlers import Applier, Closed
from services.reporting.settings import ReportingSettings
from services.reporting.store import Projection

_BUS_STOP_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 0.1

log = structlog.get_logger()
GoesOn = Callable[[Generation, Projection], Awaitable[bool]]
"""Asked while a generation is closed: whether it is still the live one. Opens it again where the
run that closed it is gone."""


class Applying:
    """One generation's consumer, with a connection to the bus of its own."""

    def __init__(
        self,
        settings: ReportingSettings,
        generation: Generation,
        projection: Projection,
        goes_on: GoesOn,
    ) -> None:
        self.generation = generation
        self._settings = settings
        self._projection = projection
        self._goes_on = goes_on
        self._broker = make_broker(settings)
        publisher = Publisher(self._broker, settings.publish_timeout_seconds)
        dead_letters = DeadLetters(publisher, settings.service)
        self._applier = Applier(projection, dead_letters, settings.cached_cases)
        self._consumer = subscribe_batch(
            self._broker,
            *CASE_TOPICS,
            group_id=generation.group,
            handler=self._handle,
            dead_letters=dead_letters,
            max_records=settings.batch_records,
        )
        self._watching: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Begin to read where the generation stands, once store and Kafka answer.

        Raises AnotherLog.
        """
        await self._prepared()
        await align(self._settings.kafka_url, self.generation.group, self._projection.progress)
        await start_when_available(self._broker, self._settings)
        self._watching = asyncio.create_task(self._consumer.watch())

    async def stop(self) -> None:
        """Finish the batch in hand and leave the group."""
        if self._watching is not None:
            self._watching.cancel()
        await stop_within(self._broker, _BUS_STOP_SECONDS)

    async def dead(self) -> str | None:
        """Why this won't come back by itself, or None; for liveness."""
        if self._watching is not None and self._watching.done():
            return "the watch has ended"
        return await self._consumer.trouble()

    async def bus(self) -> str | None:
        """Why the bus can't be used right now, or None; for readiness."""
        return await bus_trouble(self._broker)

    async def waiting(self) -> str | None:
        """Why records are not applied right now, or None; for readiness."""
        return await self._consumer.waiting()

    async def _handle(self, records: list[Record]) -> None:
        """Apply a batch. One that meets a closed generation waits until that is decided: it is
        applied when the generation goes on, and else not, since nobody reads it any more."""
        while True:
            try:
                await self._applier.apply(records)
            except Closed:
                if not await self._goes_on(self.generation, self._projection):
                    return
                await asyncio.sleep(_LOOK_AGAIN_SECONDS)
            else:
                break
        if len(records) < self._settings.batch_records:
            await asyncio.sleep(self._settings.batch_pause_seconds)

    async def _prepared(self) -> None:
        """Wait for the store as long as it takes; the port is open meanwhile, and not ready."""
        attempt = 0
        while True:
            try:
                await self._projection.prepare()
            except StoreUnavailable as error:
                attempt += 1
                wait = backoff_seconds(attempt, first=0.3, longest=_LONGEST_WAIT_SECONDS)
                reason = str(error)
                log.warning("store not available yet", attempt=attempt, reason=reason, seconds=wait)
                await asyncio.sleep(wait)
            else:
                return
