"""Reading small topics whole in every instance: what all of them need at once, as policies."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from services.chassis import metrics
from services.chassis.backoff import backoff_seconds
from services.chassis.bus.broker import REQUEST_TIMEOUT_MS, TopicMissing
from services.chassis.bus.records import Record, to_record
from services.chassis.settings import ServiceSettings
from services.chassis.telemetry import error_fields

log = structlog.get_logger()


class WholeTopic:
    """Follows all partitions of a topic, or of several alike, from the beginning, in no group, so
    that no other instance takes a share of them. `ready` is set once the end was reached."""

    def __init__(
        self,
        settings: ServiceSettings,
        topic: str | Sequence[str],
        apply: Callable[[Record], Awaitable[None]],
        partitions: int = 1,
    ) -> None:
        self._settings = settings
        self._topics = [topic] if isinstance(topic, str) else list(topic)
        self._apply = apply
        self._partitions = [
            TopicPartition(name, number) for name in self._topics for number in range(partitions)
        ]
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Read for ever. After a break of the connection all is read once more, so `apply` must
        bear repetition; a record that it refuses is logged, counted and left out."""
        attempt = 0
        while True:
            try:
                await self._follow()
            except (KafkaError, OSError, TimeoutError) as error:
                attempt += 1
                reason = str(error) if isinstance(error, TopicMissing) else type(error).__name__
                log.warning("topic not readable", topics=self._topics, reason=reason)
                await asyncio.sleep(backoff_seconds(attempt, first=0.5, longest=10.0))

    async def trouble(self) -> str | None:
        """Why what was read can't be relied on yet, or None; for readiness."""
        return None if self.ready.is_set() else "not read to the end yet"

    async def _follow(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.kafka_url.split(","),
            client_id=self._settings.instance,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            await consumer.start()
            if missing := set(self._topics) - await consumer.topics():
                raise TopicMissing(missing)
            consumer.assign(self._partitions)
            await consumer.seek_to_beginning(*self._partitions)
            ends = await consumer.end_offsets(self._partitions)
            while True:
                batches = await consumer.getmany(timeout_ms=200)
                for records in batches.values():
                    for raw in records:
                        await self._apply_one(to_record(raw))
                if not self.ready.is_set() and await self._reached(consumer, ends):
                    self.ready.set()
        finally:
            await consumer.stop()

    async def _reached(self, consumer: AIOKafkaConsumer, ends: dict[TopicPartition, int]) -> bool:
        for partition, end in ends.items():
            if await consumer.position(partition) < end:
                return False
        return True

    async def _apply_one(self, record: Record) -> None:
        try:
            await self._apply(record)
        except Exception as error:  # noqa: BLE001 -- one document must not stop the others
            metrics.WHOLE_TOPIC_FAILURES.labels(record.topic).inc()
            log.error(
                "record not applied",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                **error_fields(error),
            )
