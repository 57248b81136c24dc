"""A Kafka and a MongoDB that are there already are left as they were."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from pymongo import MongoClient

from contracts.topics import TRIAGE, TopicSpec, all_topics
from deploy.topics import ensure_topics
from tests.servers.given import given_kafka, given_mongo
from tests.servers.own import own_kafka, own_store

Unique = Callable[[str], str]


@pytest.fixture(scope="module")
def somebodys_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with own_kafka(tmp_path_factory.mktemp("given-kafka")) as url:
        yield url


@asynccontextmanager
async def admin(url: str) -> AsyncIterator[AIOKafkaAdminClient]:
    one = AIOKafkaAdminClient(bootstrap_servers=url)
    await one.start()
    try:
        yield one
    finally:
        await one.close()


async def topics(url: str) -> set[str]:
    async with admin(url) as to:
        return {name for name in await to.list_topics() if not name.startswith("__")}


async def make(url: str, specs: list[TopicSpec]) -> None:
    """Make topics, and wait until the broker lists them all."""
    await ensure_topics(url, specs)
    async with asyncio.timeout(60):
        while not {one.name for one in specs} <= await topics(url):
            await asyncio.sleep(0.05)


def test_the_tests_topics_go_and_the_others_stay(somebodys_kafka: str, unique_name: Unique) -> None:
    theirs = TopicSpec("orders", 1)
    asyncio.run(make(somebodys_kafka, [theirs]))
    with given_kafka(somebodys_kafka) as url:
        ours = [*all_topics(["health"]), TopicSpec(unique_name("trap"), 1)]
        asyncio.run(make(url, ours))
        assert len(asyncio.run(topics(url))) == len(ours) + 1
    assert asyncio.run(topics(somebodys_kafka)) == {theirs.name}


def test_where_a_group_has_read_to_goes_with_the_topic(somebodys_kafka: str) -> None:
    with given_kafka(somebodys_kafka) as url:
        asyncio.run(make(url, all_topics([])))
        asyncio.run(commit(url, "intake", TopicPartition(TRIAGE, 0)))
        assert asyncio.run(committed(url, "intake")) == 7
    asyncio.run(make(somebodys_kafka, all_topics([])))
    assert asyncio.run(committed(somebodys_kafka, "intake")) is None


async def commit(url: str, group: str, partition: TopicPartition) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=url, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([partition])
        await consumer.commit({partition: 7})
    finally:
        await consumer.stop()


async def committed(url: str, group: str) -> int | None:
    async with admin(url) as to:
        offsets = await to.list_consumer_group_offsets(group)
    return next((one.offset for one in offsets.values() if one.offset >= 0), None)


def test_a_kafka_with_a_platform_on_it_is_refused_untouched(somebodys_kafka: str) -> None:
    asyncio.run(make(somebodys_kafka, all_topics(["health"])))
    before = asyncio.run(topics(somebodys_kafka))
    with (
        pytest.raises(pytest.exit.Exception, match=r"topic .* of a platform"),
        given_kafka(somebodys_kafka),
    ):
        pass
    assert asyncio.run(topics(somebodys_kafka)) == before


def test_the_tests_databases_go_the_others_stay_and_a_platforms_are_refused(
    tmp_path: Path, unique_name: Unique
) -> None:
    with own_store(tmp_path) as url, MongoClient[dict[str, object]](url) as client:
        client["shop"]["orders"].insert_one({"_id": 1})
        with given_mongo(url):
            for name in ("jieyou_triage", unique_name("intake"), "test_0a1b2c3d4e5f"):
                client[name]["rows"].insert_one({"_id": 1})
        there = set(client.list_database_names()) - {"admin", "config", "local"}
        assert there == {"shop"}

        client["jieyou_intake"]["rows"].insert_one({"_id": 1})
        with (
            pytest.raises(pytest.exit.Exception, match="database jieyou_intake of a platform"),
            given_mongo(url),
        ):
            pass
        assert client["jieyou_intake"]["rows"].count_documents({}) == 1
