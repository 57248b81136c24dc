"""Reading from the bus in batches, with health that means progress."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias

import structlog
from aiokafka import ConsumerRecord
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaError
from faststream.exceptions import NackMessage
from faststream.kafka import KafkaBroker
from faststream.kafka.subscriber.usecase import BatchSubscriber
from faststream.message import StreamMessage
from faststream.middlewares import AckPolicy

from services.chassis import metrics
from services.chassis.backoff import backoff_seconds
from services.chassis.bus.progress import Progress
from services.chassis.bus.records import Record, to_record
from services.chassis.crash_points import crash_point
from services.chassis.telemetry import error_fields

HANDLER_TIMEOUT_SECONDS = 120.0
"""A handler is given up after this; Kafka itself would redeliver after five minutes, for ever."""

_FIRST_WAIT_SECONDS = 0.2
_LONGEST_WAIT_SECONDS = 15.0
_ALARM_AFTER_ATTEMPTS = 5

log = structlog.get_logger()
Handler = Callable[[list[Record]], Awaitable[None]]
RawBatch: TypeAlias = tuple[ConsumerRecord[Any, Any], ...]


class DeadLetterRun(Protocol):
    """What counts dead letters in a row; it is told where batches begin and end."""

    def begin(self, records: Sequence[Record]) -> None:
        """An attempt at these records begins."""

    def end(self) -> None:
        """The attempt succeeded and its records are about to be committed."""


def subscribe_batch(
    broker: KafkaBroker,
    *topics: str,
    group_id: str,
    handler: Handler,
    dead_letters: DeadLetterRun | None = None,
    max_records: int = 500,
    batch_timeout_ms: int = 20,
    handler_timeout_seconds: float = HANDLER_TIMEOUT_SECONDS,
    stuck_after_seconds: float = 60.0,
) -> "Consumer":
    """Give the records of the topics to `handler`, batch by batch, in the order of each partition.

    When the handler returns, the batch is committed; when it raises, the whole batch is delivered
    again after a growing wait. A record that can never be handled is the handler's business: it
    awaits `DeadLetters.put` and goes on. The same member name in the group at each start (static
    membership, from the broker's client id) spares the group a rebalance when a process restarts.
    """
    return Consumer(
        broker,
        topics,
        group_id=group_id,
        handler=handler,
        dead_letters=dead_letters,
        max_records=max_records,
        batch_timeout_ms=batch_timeout_ms,
        handler_timeout_seconds=handler_timeout_seconds,
        stuck_after_seconds=stuck_after_seconds,
    )


class Consumer:
    """One batch subscriber and what is known of its health."""

    def __init__(
        self,
        broker: KafkaBroker,
        topics: Sequence[str],
        *,
        group_id: str,
        handler: Handler,
        dead_letters: DeadLetterRun | None,
        max_records: int,
        batch_timeout_ms: int,
        handler_timeout_seconds: float,
        stuck_after_seconds: float,
    ) -> None:
        self.group_id = group_id
        self._broker = broker
        self.progress = Progress()
        self._handler = handler
        self._dead_letters = dead_letters
        self._handler_timeout_seconds = handler_timeout_seconds
        self._stuck_after_seconds = stuck_after_seconds
        self._last_error = ""
        self.subscriber: BatchSubscriber = broker.subscriber(
            *topics,
            batch=True,
            group_id=group_id,
            group_instance_id=f"{group_id}.{broker.config.client_id}",
            auto_offset_reset="earliest",
            partition_assignment_strategy=(RangePartitionAssignor,),
            max_records=max_records,
            batch_timeout_ms=batch_timeout_ms,
            ack_policy=AckPolicy.NACK_ON_ERROR,
            no_reply=True,
            parser=_parse,
            decoder=_decode,
        )
        self.subscriber(self._consume)

    async def _consume(self, records: list[Record]) -> None:
        self.progress.take(records)
        try:
            if self._dead_letters is not None:
                self._dead_letters.begin(records)
            async with asyncio.timeout(self._handler_timeout_seconds):
                await self._handler(records)
            if self._dead_letters is not None:
                self._dead_letters.end()
        except Exception as error:  # noqa: BLE001 -- any failure gives the batch back
            await self._give_back(records, error)
            raise NackMessage from None
        crash_point("batch.handled")
        took = self.progress.finish(len(records))
        metrics.BATCH_SECONDS.labels(self.group_id).observe(took)
        metrics.RECORDS_HANDLED.labels(self.group_id).inc(len(records))

    async def _give_back(self, records: list[Record], error: Exception) -> None:
        """Log, count, and wait: FastStream seeks back at once, thousands of times a second."""
        attempt = self.progress.fail()
        self._last_error = type(error).__qualname__
        metrics.HANDLER_FAILURES.labels(self.group_id, self._last_error).inc()
        wait = backoff_seconds(attempt, first=_FIRST_WAIT_SECONDS, longest=_LONGEST_WAIT_SECONDS)
        log.error(
            "batch given back",
            group=self.group_id,
            topic=records[0].topic,
            partition=records[0].partition,
            offset=records[0].offset,
            records=len(records),
            attempt=attempt,
            seconds=round(wait, 2),
            alarm=attempt >= _ALARM_AFTER_ATTEMPTS,
            **error_fields(error),
        )
        while wait > 0 and self.subscriber.running:
            await asyncio.sleep(min(wait, 0.1))
            wait -= 0.1

    async def trouble(self) -> str | None:
        """Why this consumer is dead and won't come back by itself, or None; for liveness.

        FastStream's ping asks the broker and knows nothing of this. A handler that fails is no
        reason here: a restart would not mend it.
        """
        consumer: Any = self.subscriber.consumer
        if not self._broker.running:
            return None
        if consumer is None or not self.subscriber.running:
            return "the consumer has stopped by itself"
        if all(task.done() for task in self.subscriber.tasks):
            return "the consuming task has ended"
        if consumer._coordinator._coordination_task.done():  # noqa: SLF001 -- told nowhere else
            return "the group's coordination has ended"
        if consumer._fetcher._fetch_task.done():  # noqa: SLF001
            return "the fetching task has ended"
        stuck = self.progress.stuck_seconds()
        if stuck > self._stuck_after_seconds:
            return f"records have waited {stuck:.0f} s and none was taken"
        return None

    async def waiting(self) -> str | None:
        """Why records are not handled right now, or None; for readiness."""
        if not self.subscriber.running:
            return "not started"
        if self.progress.failed_attempts >= _ALARM_AFTER_ATTEMPTS:
            return f"{self.progress.failed_attempts} attempts failed, lately by {self._last_error}"
        return None

    async def watch(self, every_seconds: float = 5.0) -> None:
        """Look for ever whether records wait that nobody takes; run it in the background."""
        while True:
            await self.look()
            metrics.OLDEST_UNHANDLED_SECONDS.labels(self.group_id).set(
                self.progress.oldest_unhandled_seconds()
            )
            await asyncio.sleep(every_seconds)

    async def look(self) -> None:
        """Compare what Kafka has with what was taken, once. While Kafka itself does not answer,
        nobody is behind: a restart of this process would not help."""
        consumer = self.subscriber.consumer
        if consumer is None or not self.subscriber.running:
            return
        try:
            async with asyncio.timeout(10):
                ends = await consumer.end_offsets(list(consumer.assignment()))
        except (KafkaError, TimeoutError, OSError):
            self.progress.see(behind=False)
            return
        try:
            async with asyncio.timeout(5):
                behind = False
                for partition, end in ends.items():
                    behind = behind or await consumer.position(partition) < end
        except TimeoutError:
            behind = True
        except KafkaError:
            behind = False
        self.progress.see(behind)


async def _parse(
    raw: RawBatch, original: Callable[[RawBatch], Awaitable[StreamMessage[RawBatch]]]
) -> StreamMessage[RawBatch]:
    """One bare record goes through FastStream's parser, for the acknowledgement's sake; headers
    and values of the batch are read record by record in `_decode` and can't fail there."""
    message = await original((replace(raw[0], value=None, headers=()),))
    message.raw_message = raw
    return message


async def _decode(message: StreamMessage[RawBatch]) -> list[Record]:
    return [to_record(raw) for raw in message.raw_message]
