"""Ticks against the real bus: one for each partition, and no reader takes one for an event."""

import asyncio
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, TopicPartition
from pydantic import SecretStr

from contracts import topics
from contracts.envelope import TICK_KEY
from deploy.topics import ensure_topics
from services.chassis.batches import read_event
from services.chassis.bus import Publisher, make_broker, start_when_available, stop_within
from services.chassis.bus.records import to_record
from services.chassis.clock import SystemClock
from services.chassis.settings import ServiceSettings
from services.chassis.ticker import tick


async def test_every_partition_gets_a_tick_that_is_no_event(
    kafka_url: str, unique_name: Callable[[str], str]
) -> None:
    topic = unique_name("ticked")
    await ensure_topics(kafka_url, [topics.TopicSpec(topic, topics.CASE_PARTITIONS)])
    settings = ServiceSettings(kafka_url=kafka_url, mongo_url=SecretStr("mongodb://x"))
    broker = make_broker(settings)
    await start_when_available(broker, settings, [topic])
    ticking = asyncio.create_task(tick(Publisher(broker), topic, SystemClock(), 600))
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_url, enable_auto_commit=False)
    await consumer.start()
    partitions = [TopicPartition(topic, n) for n in range(topics.CASE_PARTITIONS)]
    consumer.assign(partitions)
    await consumer.seek_to_beginning()
    seen: set[int] = set()
    async with asyncio.timeout(20):
        while len(seen) < topics.CASE_PARTITIONS:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    assert record.key == TICK_KEY
                    assert read_event(to_record(record)) is None
                    seen.add(record.partition)
    ticking.cancel()
    await consumer.stop()
    await stop_within(broker, 5)
