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
from services.chassis.ticker import roll, tick


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


async def test_quiet_topics_of_documents_are_rolled_by_records_that_say_nothing(
    kafka_url: str, unique_name: Callable[[str], str]
) -> None:
    feed, letters = unique_name("feed"), unique_name("letters")
    specs = [topics.TopicSpec(feed, 3), topics.TopicSpec(letters, 1)]
    await ensure_topics(kafka_url, specs)
    settings = ServiceSettings(kafka_url=kafka_url, mongo_url=SecretStr("mongodb://x"))
    broker = make_broker(settings)
    await start_when_available(broker, settings, [feed, letters])
    rolling = asyncio.create_task(roll(Publisher(broker), {feed: 3, letters: 1}, 0.1))
    async with AIOKafkaConsumer(bootstrap_servers=kafka_url) as consumer:
        places = [TopicPartition(feed, n) for n in range(3)] + [TopicPartition(letters, 0)]
        async with asyncio.timeout(20):
            while min((await consumer.end_offsets(places)).values()) < 2:
                await asyncio.sleep(0.1)
        consumer.assign(places)
        await consumer.seek_to_beginning()
        record = await asyncio.wait_for(consumer.getone(), 20)
    assert (record.key, record.value) == (TICK_KEY, None)
    rolling.cancel()
    await stop_within(broker, 5)
