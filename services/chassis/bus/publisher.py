"""Writing to the bus: all records of a step together, acknowledged before the call returns."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from faststream.exceptions import IncorrectState
from faststream.kafka import KafkaBroker

from contracts.envelope import TICK_KEY
from services.chassis import metrics
from services.chassis.bus.broker import TopicMissing
from services.chassis.bus.records import Outgoing
from services.chassis.crash_points import crash_point

log = structlog.get_logger()


class BusUnavailable(Exception):
    """The bus did not acknowledge in time. Whether the records stand there is unknown: they can
    still land seconds later, so repeat with the same event ids and the same bytes."""


class RecordTooLarge(ValueError):
    """A record is larger than the bus takes (1 MiB); repeating does not help."""


class Publisher:
    """Writes records by way of the broker's producer.

    `send` one after another and then one wait keeps the order within a partition and is an order
    of magnitude faster than publishing one by one.
    """

    def __init__(self, broker: KafkaBroker, timeout_seconds: float = 2.0) -> None:
        self._broker = broker
        self._timeout_seconds = timeout_seconds

    async def publish_all(
        self, outgoing: Sequence[Outgoing], timeout_seconds: float | None = None
    ) -> None:
        """Return when all replicas in sync have every record.

        Raises BusUnavailable (outcome unknown, repeat) and RecordTooLarge (don't).
        """
        if not outgoing:
            return
        began = time.monotonic()
        try:
            async with asyncio.timeout(timeout_seconds or self._timeout_seconds):
                await self._send(outgoing)
        except MessageSizeTooLargeError:
            raise RecordTooLarge("a record is larger than the bus takes") from None
        except (KafkaError, TimeoutError, OSError) as error:
            metrics.PUBLISH_FAILURES.inc()
            reason = str(error) if isinstance(error, TopicMissing) else type(error).__name__
            log.warning("publish not acknowledged", records=len(outgoing), reason=reason)
            raise BusUnavailable(reason) from error
        metrics.PUBLISH_SECONDS.observe(time.monotonic() - began)
        for record in outgoing:
            metrics.RECORDS_PUBLISHED.labels(record.topic).inc()

    async def _send(self, outgoing: Sequence[Outgoing]) -> None:
        producer = self._producer()
        await self._require_topics(producer, {record.topic for record in outgoing})
        acknowledgements = [
            await producer.send(
                record.topic,
                value=record.value,
                key=record.key,
                partition=record.partition,
                headers=[(name, text.encode()) for name, text in record.headers.items()],
            )
            for record in outgoing
        ]
        if len(outgoing) > 1 and outgoing[0].key != TICK_KEY:
            acknowledgements[0].add_done_callback(lambda _: crash_point("bus.acknowledged_first"))
        await asyncio.gather(*acknowledgements)

    def _producer(self) -> AIOKafkaProducer:
        """The broker's own producer: FastStream's `publish` would add a header and a wait each."""
        try:
            fast_producer: Any = self._broker.config.producer
            return fast_producer._producer.producer  # noqa: SLF001
        except IncorrectState:
            raise BusUnavailable("not connected") from None

    async def _require_topics(self, producer: AIOKafkaProducer, topics: set[str]) -> None:
        """Refuse topics that are not there before asking for them by name would create them."""
        cluster = producer.client.cluster
        unknown = {topic for topic in topics if cluster.partitions_for_topic(topic) is None}
        if unknown:
            present = set(await self._broker.config.admin_client.list_topics())
            if not unknown <= present:
                raise TopicMissing(unknown - present)
