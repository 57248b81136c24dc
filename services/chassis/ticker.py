"""The tick: one record in each partition of a writer's topic, once a minute.

It rolls quiet segments, so that compaction gets at what was redacted, and tells readers how
current they are where nothing else is written. One fixed key: compaction keeps the last alone.
"""

import asyncio
from typing import Protocol

import structlog

from contracts.envelope import TICK_KEY
from contracts.topics import CASE_PARTITIONS
from services.chassis.bus import BusUnavailable, Outgoing
from services.chassis.clock import Clock

log = structlog.get_logger()

EVERY_SECONDS = 60.0


class Publishes(Protocol):
    """What can write records (`bus.Publisher`)."""

    async def publish_all(
        self, outgoing: list[Outgoing], timeout_seconds: float | None = None
    ) -> None:
        """Return when all are acknowledged."""
        ...


def ticks(topic: str, clock: Clock) -> list[Outgoing]:
    """Return one tick for each partition."""
    headers = {"ce_time": clock.now().isoformat(), "content-type": "application/json"}
    return [Outgoing(topic, TICK_KEY, b"{}", headers, number) for number in range(CASE_PARTITIONS)]


async def tick(
    publisher: Publishes, topic: str, clock: Clock, every_seconds: float = EVERY_SECONDS
) -> None:
    """Write ticks for ever; one that the bus does not take is left out."""
    while True:
        try:
            await publisher.publish_all(ticks(topic, clock))
        except BusUnavailable as error:
            log.warning("tick left out", topic=topic, reason=str(error))
        await asyncio.sleep(every_seconds)
