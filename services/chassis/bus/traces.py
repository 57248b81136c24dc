"""Whether a service has worked before: what it leaves on Kafka."""

import asyncio

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.chassis.settings import ServiceSettings
from services.chassis.telemetry import error_fields

_WITHIN_SECONDS = 15.0
_REQUEST_TIMEOUT_MS = 5_000

log = structlog.get_logger()


async def has_worked_before(settings: ServiceSettings, group_id: str, topic: str) -> bool | None:
    """Whether a group has committed an offset, or its service's own topic holds any record; None
    when Kafka does not say. Offsets alone would not do: Kafka forgets those of a group that was
    away for a week."""
    try:
        async with asyncio.timeout(_WITHIN_SECONDS):
            return await _has_committed(settings, group_id) or await _has_written(settings, topic)
    except (KafkaError, TimeoutError, OSError) as error:
        log.warning("bus not available yet", **error_fields(error))
        return None


async def _has_committed(settings: ServiceSettings, group_id: str) -> bool:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=settings.kafka_url.split(","),
        client_id=settings.instance,
        request_timeout_ms=_REQUEST_TIMEOUT_MS,
    )
    try:
        await admin.start()
        committed = await admin.list_consumer_group_offsets(group_id)
    finally:
        await admin.close()
    return any(one.offset > 0 for one in committed.values())


async def _has_written(settings: ServiceSettings, topic: str) -> bool:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka_url.split(","),
        client_id=settings.instance,
        group_id=None,
        request_timeout_ms=_REQUEST_TIMEOUT_MS,
    )
    try:
        await consumer.start()
        if topic not in await consumer.topics():
            return False
        numbers = consumer.partitions_for_topic(topic) or set()
        ends = await consumer.end_offsets([TopicPartition(topic, number) for number in numbers])
    finally:
        await consumer.stop()
    return any(end > 0 for end in ends.values())
