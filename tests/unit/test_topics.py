"""Topics: names, partitions, and what is kept of them."""

import random

import pytest
from aiokafka.partitioner import DefaultPartitioner, murmur2

from contracts import ids, topics


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_that_of_the_java_client(key: bytes, hashed: int) -> None:
    """The vectors of Apache Kafka's own UtilsTest."""
    assert murmur2(key) & 0xFFFFFFFF == hashed & 0xFFFFFFFF
    assert topics.partition_for(key.decode(), 12) == (hashed & 0x7FFFFFFF) % 12


@pytest.mark.parametrize("partitions", [1, 3, 12])
def test_a_case_stands_where_the_default_partitioner_puts_its_number(partitions: int) -> None:
    chosen = DefaultPartitioner()
    every = list(range(partitions))
    for n in range(300):
        number = ids.case_number(b"s", "app", str(n))
        assert topics.partition_for(number, partitions) == chosen(number.encode(), every, every)


def test_cases_spread_over_all_partitions() -> None:
    chance = random.Random(1)
    numbers = [ids.case_number(b"s", "app", str(chance.random())) for _ in range(1_200)]
    counts = [0] * topics.CASE_PARTITIONS
    for number in numbers:
        counts[topics.partition_for(number)] += 1
    assert min(counts) > 60
    assert max(counts) < 140


def test_the_department_is_in_the_name_of_its_topics() -> None:
    assert topics.feed("health") == "feed.health.v1"
    assert topics.replies("health") == "replies.health.v1"
    assert topics.department_of(topics.replies("health")) == "health"
    assert topics.department_of(topics.replies("edu.city")) == "edu.city"


@pytest.mark.parametrize(
    "name", ["feed.health.v1", "replies.health.v2", "replies.v1", "replies..v1", "requests.v1", ""]
)
def test_another_topic_has_no_department(name: str) -> None:
    with pytest.raises(ValueError, match="no replies topic"):
        topics.department_of(name)


def test_every_topic_stands_once_with_its_policy() -> None:
    specs = {spec.name: spec for spec in topics.all_topics(["health", "transport"])}
    names = [spec.name for spec in topics.all_topics(["health", "transport"])]
    assert len(names) == len(set(names)) == 3 + 1 + 2 * 2 + len(topics.SERVICES)
    for name in topics.CASE_TOPICS:
        assert specs[name].partitions == 12
        assert specs[name].config["cleanup.policy"] == "compact"
        assert "retention.ms" not in specs[name].config
    assert specs["feed.health.v1"].config["cleanup.policy"] == "compact,delete"
    assert specs["replies.health.v1"].config["cleanup.policy"] == "delete"
    assert specs["policies.v1"].partitions == 1
    assert specs["dead-letters.triage.v1"].partitions == 1


def test_settings_of_one_topic_are_not_shared_with_another() -> None:
    first, second, *_ = topics.all_topics([])
    first.config["segment.ms"] = "1"
    assert second.config["segment.ms"] != "1"
