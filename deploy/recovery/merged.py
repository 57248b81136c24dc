"""The case topics read side by side, in about the order in which they were written.

What happens to a case stands in three topics. Read one after another, a case would be taken up
three times and more; side by side its records come as close together as they did the first time.
Kafka's times serve for that alone: what is made of the records does not depend on their order.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterator, Mapping

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.chassis.bus import Record
from services.chassis.bus.records import to_record

_REQUEST_TIMEOUT_MS = 20_000
_STILL_SECONDS = 30.0
_MOST_HELD = 20_000

Spans = Mapping[TopicPartition, tuple[int, int]]
"""The offsets from which, and up to (not including) which, partitions are read."""


class LogUnreadable(Exception):
    """Kafka does not give the records. Try again, from where things stand."""


async def read_merged(kafka_url: str, spans: Spans, at_once: int) -> AsyncGenerator[list[Record]]:
    """Yield the records of the spans, `at_once` together. Raises LogUnreadable.

    Explicit partitions and no group: nobody else's reading is disturbed.
    """
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka_url.split(","),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=_REQUEST_TIMEOUT_MS,
    )
    try:
        async with asyncio.timeout(_REQUEST_TIMEOUT_MS / 1_000):
            await consumer.start()
        consumer.assign(list(spans))
        for partition, (start, _) in spans.items():
            consumer.seek(partition, start)
        merge = _Merge(spans)
        while not merge.is_over:
            await merge.take(consumer)
            for batch in merge.give(at_once):
                yield batch
    except (KafkaError, TimeoutError, OSError) as error:
        raise LogUnreadable(type(error).__name__) from error
    finally:
        await consumer.stop()


class _Merge:
    """What was read of each partition and not yet given on."""

    def __init__(self, spans: Spans) -> None:
        self._ends = {partition: end for partition, (_, end) in spans.items()}
        self._left = {partition for partition, (start, end) in spans.items() if start < end}
        self._held: dict[TopicPartition, deque[Record]] = {one: deque() for one in spans}
        self._batch: list[Record] = []
        self._moved_at = asyncio.get_running_loop().time()

    @property
    def is_over(self) -> bool:
        """Whether everything was read and given on."""
        return not self._left and not self._batch and not any(self._held.values())

    async def take(self, consumer: AIOKafkaConsumer) -> None:
        """Read on where nothing is held; raises LogUnreadable if a partition gives nothing."""
        wanting = [one for one in self._left if not self._held[one]]
        if not wanting:
            return
        now = asyncio.get_running_loop().time()
        for partition, raws in (await consumer.getmany(*wanting, timeout_ms=300)).items():
            self._moved_at = now
            records = [to_record(raw) for raw in raws if raw.offset < self._ends[partition]]
            self._held[partition].extend(records)
        for partition in wanting:
            if await consumer.position(partition) >= self._ends[partition]:
                self._left.discard(partition)
                self._moved_at = now
        if now - self._moved_at > _STILL_SECONDS:
            stuck = min(f"{one.topic}-{one.partition}" for one in wanting)
            raise LogUnreadable(f"{stuck} gives nothing before its end")

    def give(self, at_once: int) -> Iterator[list[Record]]:
        """Give on what is the oldest for certain, or too much to be held; the rest at the end."""
        while held := [queue for queue in self._held.values() if queue]:
            is_certain = all(self._held[one] for one in self._left)
            if not is_certain and sum(map(len, held)) < _MOST_HELD:
                return
            self._batch.append(min(held, key=lambda queue: queue[0].timestamp_ms).popleft())
            if len(self._batch) >= at_once:
                batch, self._batch = self._batch, []
                yield batch
        if not self._left and self._batch:
            batch, self._batch = self._batch, []
            yield batch
