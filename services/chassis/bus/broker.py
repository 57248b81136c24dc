"""The connection to Kafka: FastStream's broker with the settings that lose no record."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any, TypeAlias

import structlog
from aiokafka import ConsumerRecord
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from faststream.kafka import KafkaBroker
from faststream.kafka.subscriber.usecase import LogicSubscriber
from faststream.message import StreamMessage
from faststream.middlewares import AckPolicy

from services.chassis.backoff import backoff_seconds
from services.chassis.bus.records import repaired_headers
from services.chassis.settings import ServiceSettings
from services.chassis.telemetry import error_fields

REQUEST_TIMEOUT_MS = 15_000
"""Longer than a group's rebalance (10 s); a record given up can still land for so long."""

_GRACEFUL_SECONDS = 6.0
_START_SECONDS = 60.0
_LONGEST_WAIT_SECONDS = 5.0

log = structlog.get_logger()
RawMessage: TypeAlias = ConsumerRecord[Any, Any] | tuple[ConsumerRecord[Any, Any], ...]


class TopicMissing(KafkaError):  # type: ignore[misc]
    """A topic is not there. Nothing here creates it: it would get one partition by default."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = sorted(names)
        super().__init__(f"no topic {', '.join(self.names)}; create it with `jieyou topics`")


def make_broker(settings: ServiceSettings) -> KafkaBroker:
    """Make the broker of a service; it connects when it is started (`start_when_available`).

    acks=all without idempotence: an idempotent producer hangs while Kafka is down, and event ids
    take care of what is sent twice. No linger: while one batch is under way the next fills up
    anyway (33,000 records/s, a lone one in 1 ms; 2 ms of linger: 28,000/s, 5 ms).
    """
    return KafkaBroker(
        settings.kafka_url.split(","),
        client_id=settings.instance,
        acks="all",
        enable_idempotence=False,
        allow_auto_create_topics=False,
        ack_policy=AckPolicy.NACK_ON_ERROR,
        graceful_timeout=_GRACEFUL_SECONDS,
        parser=parse_repaired,
        max_batch_size=512 * 1024,
        linger_ms=0,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        metadata_max_age_ms=60_000,
        apply_types=False,
        logger=logging.getLogger("jieyou.faststream"),
        log_level=logging.DEBUG,
    )


async def parse_repaired(
    message: RawMessage,
    original: Callable[[RawMessage], Awaitable[StreamMessage[RawMessage]]],
) -> StreamMessage[RawMessage]:
    """FastStream's parser behind repaired headers, for every subscriber of the broker.

    Its own raises for a null or undecodable header before the acknowledgement is decided, and the
    next commit skips the record, in a batch all that came with it. `reply_to` is struck out: a
    stranger's header must not choose a topic that this process then writes to.
    """
    if isinstance(message, tuple):
        parsed = await original(tuple(_repaired(record) for record in message))
    else:
        parsed = await original(_repaired(message))
    parsed.reply_to = ""
    return parsed


def _repaired(record: ConsumerRecord[Any, Any]) -> ConsumerRecord[Any, Any]:
    headers = repaired_headers(record.headers)
    return replace(record, headers=[(name, value.encode()) for name, value in headers.items()])


async def start_when_available(
    broker: KafkaBroker, settings: ServiceSettings, publishes_to: Iterable[str] = ()
) -> None:
    """Start the broker as soon as Kafka answers and all its topics are there; wait till then.

    Run it as a background task: the service's own port opens meanwhile and says "not ready".
    """
    needed = set(publishes_to)
    for subscriber in broker.subscribers:
        if isinstance(subscriber, LogicSubscriber):
            needed.update(subscriber.topic_names)
    attempt = 0
    while True:
        try:
            await _require_topics(settings, needed)
            async with asyncio.timeout(_START_SECONDS):
                await broker.start()
        except (KafkaError, OSError, TimeoutError) as error:
            attempt += 1
            await stop_within(broker, _LONGEST_WAIT_SECONDS)
            wait = backoff_seconds(attempt, first=0.3, longest=_LONGEST_WAIT_SECONDS)
            reason = str(error) if isinstance(error, TopicMissing) else type(error).__name__
            log.warning("bus not available yet", attempt=attempt, reason=reason, seconds=wait)
            await asyncio.sleep(wait)
        else:
            log.info("bus started", topics=sorted(needed))
            return


async def _require_topics(settings: ServiceSettings, needed: set[str]) -> None:
    """Ask for the list of topics, which creates none; asking for one by name can create it."""
    admin = AIOKafkaAdminClient(
        bootstrap_servers=settings.kafka_url.split(","),
        client_id=settings.instance,
        request_timeout_ms=5_000,
    )
    try:
        async with asyncio.timeout(10):
            await admin.start()
            present = set(await admin.list_topics())
    finally:
        await admin.close()
    if not needed <= present:
        raise TopicMissing(needed - present)


async def stop_within(broker: KafkaBroker, seconds: float) -> bool:
    """Stop the broker; False if it did not end in time and was left.

    Handlers may finish what they have in hand; what they don't finish is delivered again.
    """
    try:
        async with asyncio.timeout(seconds):
            await broker.stop()
    except Exception as error:  # noqa: BLE001 -- whatever it is, the process goes on to end
        log.warning("bus left without a clean stop", **error_fields(error))
        return False
    return True


async def bus_trouble(broker: KafkaBroker, timeout_seconds: float = 2.0) -> str | None:
    """Why the bus can't be used right now, or None; for readiness."""
    if not broker.running:
        return "not started"
    return None if await broker.ping(timeout=timeout_seconds) else "does not answer"
