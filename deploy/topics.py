"""Create the topics that a platform needs: nothing else does, and no client creates them unasked.

`python -m deploy.topics` does it for JIEYOU_KAFKA_URL and JIEYOU_PROFILE, as the supervisor does
at each start; `jieyou topics` is the same for people.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, for_code

from contracts.profile import ProfileError, load_profile
from contracts.topics import TopicSpec, all_topics

_LARGEST_REPLICATION = 3
_TIMEOUT_S = 60.0
_BROKERS_WITHIN_S = 20.0
_LOOK_EVERY_S = 0.2


class TopicsError(Exception):
    """The topics cannot be made as they must be; the message is one line."""


@dataclass
class TopicsReport:
    """What was found and done. `reconfigured` are topics whose settings were set anew."""

    created: list[str] = field(default_factory=list)
    reconfigured: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)


async def ensure_topics(kafka_url: str, topics: Iterable[TopicSpec]) -> TopicsReport:
    """Create what is missing and set differing settings; called again it changes nothing.

    Raises TopicsError when Kafka cannot be reached or a topic has another number of partitions:
    a case's partition follows from that number, so it is never changed under a written log.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url, request_timeout_ms=20_000)
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            await admin.start()
            return await _ensure(admin, list(topics), await _brokers(admin, kafka_url))
    except (KafkaError, TimeoutError, OSError) as error:
        raise TopicsError(
            f"Kafka at {kafka_url} does not answer ({type(error).__name__}): "
            "check JIEYOU_KAFKA_URL and that it runs"
        ) from error
    finally:
        await admin.close()


async def _brokers(admin: AIOKafkaAdminClient, kafka_url: str) -> int:
    """How many brokers there are. A cluster that is just starting knows fewer of them than are
    named; topics that were made then would have too few copies for ever."""
    named = min(_LARGEST_REPLICATION, len(set(kafka_url.split(","))))
    until = time.monotonic() + _BROKERS_WITHIN_S
    while True:
        brokers = len((await admin.describe_cluster())["brokers"])
        if brokers >= named or time.monotonic() > until:
            return brokers
        await asyncio.sleep(_LOOK_EVERY_S)


async def _ensure(
    admin: AIOKafkaAdminClient, topics: list[TopicSpec], brokers: int
) -> TopicsReport:
    report = TopicsReport()
    replication = min(_LARGEST_REPLICATION, brokers)
    there = {
        topic["topic"]: len(topic["partitions"])
        for topic in await admin.describe_topics()
        if topic["error_code"] == 0
    }
    missing = [topic for topic in topics if topic.name not in there]
    known = [topic for topic in topics if topic.name in there]
    for topic in known:
        if there[topic.name] != topic.partitions:
            raise TopicsError(
                f"topic {topic.name} has {there[topic.name]} partitions instead of "
                f"{topic.partitions}: use a Kafka of its own for this platform"
            )
    if missing:
        await _create(admin, missing, replication)
        report.created = [topic.name for topic in missing]
    differing = await _differing(admin, known) if known else []
    if differing:
        await _reconfigure(admin, differing)
        report.reconfigured = [topic.name for topic in differing]
    report.unchanged = [topic.name for topic in known if topic not in differing]
    return report


async def _create(admin: AIOKafkaAdminClient, topics: list[TopicSpec], replication: int) -> None:
    answer = await admin.create_topics(
        [
            NewTopic(topic.name, topic.partitions, replication, topic_configs=topic.config)
            for topic in topics
        ]
    )
    for name, code, message in answer.topic_errors:
        error = for_code(code)
        if code and error.__name__ != "TopicAlreadyExistsError":
            raise TopicsError(f"topic {name} was not created: {message or error.__name__}")


async def _differing(admin: AIOKafkaAdminClient, topics: list[TopicSpec]) -> list[TopicSpec]:
    resources = [
        ConfigResource(ConfigResourceType.TOPIC, topic.name, dict(topic.config)) for topic in topics
    ]
    found: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(resources):
        for resource in answer.to_object()["resources"]:
            found[resource["resource_name"]] = {
                entry["config_names"]: entry["config_value"] for entry in resource["config_entries"]
            }
    return [topic for topic in topics if not _is_set(topic.config, found.get(topic.name, {}))]


def _is_set(wanted: dict[str, str], found: dict[str, str]) -> bool:
    return all(
        sorted(found.get(key, "").split(",")) == sorted(value.split(","))
        for key, value in wanted.items()
    )


async def _reconfigure(admin: AIOKafkaAdminClient, topics: list[TopicSpec]) -> None:
    for answer in await admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, one.name, dict(one.config)) for one in topics]
    ):
        for resource in answer.to_object()["resources"]:
            if resource["error_code"]:
                name, why = resource["resource_name"], resource["error_message"]
                raise TopicsError(f"topic {name} was not reconfigured: {why}")


def main() -> int:
    """Ensure the topics of the profile; prints one line and returns the exit code."""
    kafka_url = os.environ.get("JIEYOU_KAFKA_URL", "127.0.0.1:9092")
    try:
        profile = load_profile(os.environ.get("JIEYOU_PROFILE", "zhoukou"))
        names = (department.code for department in profile.departments)
        report = asyncio.run(ensure_topics(kafka_url, all_topics(names)))
    except (TopicsError, ProfileError) as error:
        print(error, file=sys.stderr)
        return 1
    print(
        f"topics: {len(report.created)} created, {len(report.reconfigured)} reconfigured, "
        f"{len(report.unchanged)} unchanged"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
