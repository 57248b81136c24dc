"""Consumer groups as an operator sees them: who is in one, and where it is to begin."""

import asyncio
from collections.abc import Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.recovery.merged import LogUnreadable

_WITHIN_SECONDS = 20.0
_REQUEST_TIMEOUT_MS = 10_000
_MEMBERS, _CLIENT_ID = 5, 1
"""Where Kafka's description of a group names its members, and of a member its client."""


async def members(kafka_url: str, group_id: str) -> int:
    """Return how many consumers are in a group; one that was killed is, until its session ends.

    Raises LogUnreadable if Kafka does not answer.
    """
    return len(await _members(kafka_url, group_id))


async def clients(kafka_url: str, group_id: str) -> set[str]:
    """Return the names of the processes whose consumers are in a group; likewise."""
    return {member[_CLIENT_ID] for member in await _members(kafka_url, group_id)}


async def _members(kafka_url: str, group_id: str) -> list[tuple[Any, ...]]:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=kafka_url.split(","), request_timeout_ms=_REQUEST_TIMEOUT_MS
    )
    try:
        async with asyncio.timeout(_WITHIN_SECONDS):
            await admin.start()
            (described,) = await admin.describe_consumer_groups([group_id])
    except (KafkaError, TimeoutError, OSError) as error:
        raise LogUnreadable(type(error).__name__) from error
    finally:
        await admin.close()
    return [member for group in described.groups for member in group[_MEMBERS]]


async def begin_at(kafka_url: str, group_id: str, offsets: Mapping[tuple[str, int], int]) -> None:
    """Have a group that nobody is in begin at these offsets, by topic and partition.

    Raises LogUnreadable if Kafka does not answer.
    """
    at = {TopicPartition(*place): offset for place, offset in offsets.items()}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka_url.split(","),
        group_id=group_id,
        enable_auto_commit=False,
        request_timeout_ms=_REQUEST_TIMEOUT_MS,
    )
    try:
        consumer.assign(list(at))
        async with asyncio.timeout(_WITHIN_SECONDS):
            await consumer.start()
            await consumer.commit(at)
    except (KafkaError, TimeoutError, OSError) as error:
        raise LogUnreadable(type(error).__name__) from error
    finally:
        await consumer.stop()
