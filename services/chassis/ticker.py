"""The tick: one record in each partition of a writer's topic, once a minute.

It rolls quiet segments, so that compaction gets at what was redacted, and tells readers how
current they are where nothing else is written. One fixed key: compaction keeps the last alone.
Topics of documents (feeds, dead letters) need the first of this alone, and get a null value now
and then.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

import structlog

from contracts.envelope import TICK_KEY
from contracts.topics import CASE_PARTITIONS
from services.chassis.bus import BusUnavailable, Outgoing
from services.chassis.clock import Clock

log = structlog.get_logger()

EVERY_SECONDS = 60.0
ROLL_EVERY_SECONDS = 900.0


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


async def roll(
    publisher: Publishes, topics: Mapping[str, int], every_seconds: float = ROLL_EVERY_SECONDS
) -> None:
    """Write a null value under the tick's key to each partition of topics of documents, for ever.

    `topics` gives their numbers of partitions. Nobody has such a key, so nothing is taken off.
    """
    ticks = [
        Outgoing(topic, TICK_KEY, None, partition=number)
        for topic, partitions in topics.items()
        for number in range(partitions)
    ]
    while True:
        await asyncio.sleep(every_seconds)
        try:
            await publisher.publish_all(ticks)
        except BusUnavailable as error:
            log.warning("tick left out", topics=sorted(topics), reason=str(error))
