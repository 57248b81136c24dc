"""Reading topics whole with a plain consumer, one partition number at a time."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

_STILL_S = 30.0
_STOP_S = 5.0


class Unread(Exception):
    """A partition gives nothing though it is not at its end."""


async def partitions(kafka_url: str) -> list[TopicPartition]:
    """All partitions of all topics."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url.split(","))
    await admin.start()
    try:
        described = await admin.describe_topics()
    finally:
        await admin.close()
    return [
        TopicPartition(topic["topic"], part["partition"])
        for topic in described
        for part in topic["partitions"]
    ]


async def read(kafka_url: str, wanted: Iterable[TopicPartition]) -> AsyncIterator[Sequence[Any]]:
    """Yield the records of these partitions up to their ends as they are now. Raises Unread."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka_url.split(","),
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=4 * 1024 * 1024,
    )
    await consumer.start()
    try:
        parts = list(wanted)
        consumer.assign(parts)
        ends = await consumer.end_offsets(parts)
        left, still_since = {p for p in parts if ends[p] > 0}, time.monotonic()
        while left:
            batches = await consumer.getmany(*left, timeout_ms=500, max_records=5_000)
            for partition, records in batches.items():
                still_since = time.monotonic()
                yield [one for one in records if one.offset < ends[partition]]
            done = [p for p in left if await consumer.position(p) >= ends[p]]
            left.difference_update(done)
            if time.monotonic() - still_since > _STILL_S:
                raise Unread(f"{min(left)} gives nothing before its end")
            await asyncio.sleep(0)
    finally:
        await stopped(consumer)


async def stopped(client: AIOKafkaConsumer | AIOKafkaProducer) -> None:
    """Stop a client, whatever its connections are like: among brokers that were killed aiokafka's
    own stop can hang, or fail on a connection that is closed already."""
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_STOP_S):
            await client.stop()
