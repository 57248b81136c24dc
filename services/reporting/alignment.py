"""Before reading begins: the group's offsets are set back to where the store stands.

Offsets and figures are stored in one transaction, so the group's own offsets never lead: they do
only when the database was thrown away or restored from a backup, and reading on from them would
leave a gap that nobody finds. They can be set back while no process is in the group; a process
that was killed is in it until its session ends (10 s).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.chassis.backoff import backoff_seconds
from services.chassis.store import StoreUnavailable
from services.reporting.domain.progress import Progress, is_behind, places_of

_TIMEOUT_SECONDS = 20.0
_LONGEST_WAIT_SECONDS = 5.0

log = structlog.get_logger()
ReadProgress = Callable[[], Awaitable[Mapping[int, Progress]]]


class AnotherLog(Exception):
    """The log ends before what was applied of it: it is not the one that the database is of."""

    def __init__(self) -> None:
        super().__init__(
            "the log is shorter than what was applied of it; stop reporting, remove its database "
            "and start it again"
        )


async def align(kafka_url: str, group_id: str, read_progress: ReadProgress) -> None:
    """Return when the group will not begin beyond what is stored.

    Waits for Kafka and the store as long as it takes. Raises AnotherLog.
    """
    attempt = 0
    while True:
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await _align(kafka_url, group_id, await read_progress())
        except (KafkaError, StoreUnavailable, TimeoutError, OSError) as error:
            attempt += 1
            wait = backoff_seconds(attempt, first=0.3, longest=_LONGEST_WAIT_SECONDS)
            reason = type(error).__name__
            log.warning("offsets not aligned yet", attempt=attempt, reason=reason, seconds=wait)
            await asyncio.sleep(wait)
        else:
            return


async def _align(kafka_url: str, group_id: str, progress: Mapping[int, Progress]) -> None:
    places = {TopicPartition(*place): at.next_offset for place, at in places_of(progress).items()}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka_url.split(","), group_id=group_id, enable_auto_commit=False
    )
    consumer.assign(list(places))
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(places))
        if is_behind(progress, {(at.topic, at.partition): end for at, end in ends.items()}):
            raise AnotherLog
        committed = await asyncio.gather(*map(consumer.committed, places))
        back = {
            place: stored
            for (place, stored), reached in zip(places.items(), committed, strict=True)
            if reached is not None and reached > stored
        }
        if back:
            await consumer.commit(back)
            log.warning("group set back to what is stored", group=group_id, count=len(back))
    finally:
        await consumer.stop()
