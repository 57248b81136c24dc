"""The platform as people start it: the `jieyou` command, real Kafka and store, lasting data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import motor.motor_asyncio
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from contracts.topics import REQUESTS, TopicSpec, all_topics
from deploy.local import control
from deploy.local.folders import PlatformFolder
from deploy.local.state import read_state
from deploy.topics import TopicsError, ensure_topics

_NO_SERVICES = [f"--scale={name}=0" for name in ("intake", "triage", "notify", "reporting")]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PlatformFolder]:
    """An empty platform folder that the command uses, with servers of its own."""
    for name in ("JIEYOU_KAFKA_URL", "JIEYOU_MONGO_URL", "JIEYOU_MONGO_URL_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JIEYOU_HOME", str(tmp_path / "platform"))
    made = PlatformFolder.current()
    yield made
    control.stop(made)


def jieyou(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command as a person would."""
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *arguments],
        text=True,
        capture_output=True,
        timeout=180,
        check=False,
    )


async def _write(addresses: control.Addresses) -> None:
    async with AIOKafkaProducer(bootstrap_servers=addresses.kafka_url, acks="all") as producer:
        await producer.send_and_wait(REQUESTS, b"kept", b"key", partition=3)
    client: motor.motor_asyncio.AsyncIOMotorClient[dict[str, str]]
    client = motor.motor_asyncio.AsyncIOMotorClient(addresses.mongo_url)
    await client.jieyou_test.notes.insert_one({"_id": "kept"})
    client.close()


async def _assert_still_there(addresses: control.Addresses) -> None:
    partition = TopicPartition(REQUESTS, 3)
    async with AIOKafkaConsumer(bootstrap_servers=addresses.kafka_url) as consumer:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        assert (await consumer.getone()).value == b"kept"
    client: motor.motor_asyncio.AsyncIOMotorClient[dict[str, str]]
    client = motor.motor_asyncio.AsyncIOMotorClient(addresses.mongo_url)
    assert await client.jieyou_test.notes.find_one({"_id": "kept"}) == {"_id": "kept"}
    client.close()


@pytest.mark.local_platform
async def test_up_kill_up_keeps_the_data_and_down_leaves_nothing(folder: PlatformFolder) -> None:
    up = jieyou("up", *_NO_SERVICES)
    assert up.returncode == 0, up.stderr
    again = jieyou("up")
    assert again.returncode == 0
    assert "平台已在运行" in again.stdout
    await _write(control.addresses(folder))

    state = control.running(folder)
    assert state is not None
    children = [one.identity for one in state.processes if one.identity is not None]
    os.kill(state.supervisor.pid, signal.SIGKILL)
    up = jieyou("up", *_NO_SERVICES)
    assert up.returncode == 0, up.stderr
    assert all(one.process() is None for one in children)
    await _assert_still_there(control.addresses(folder))

    status = jieyou("status", "--json")
    assert status.returncode == 0
    rows = json.loads(status.stdout)
    assert [row["name"] for row in rows] == ["kafka", "store"]
    assert all(row["pid"] and row["address"] and row["health"] == "ok" for row in rows)
    topics = jieyou("topics")
    assert topics.returncode == 0, topics.stderr
    assert "新建 0，更新设置 0" in topics.stdout

    assert jieyou("down").returncode == 0
    after = jieyou("status")
    assert after.returncode == 1
    assert after.stderr.count("\n") == 1
    stopped = read_state(folder.state_file)
    assert stopped is not None
    assert stopped.phase.value == "stopped"


async def test_topics_are_made_once_and_settings_follow(
    kafka_url: str, unique_name: Callable[[str], str]
) -> None:
    name = unique_name("feed")
    first = TopicSpec(name, 3, {"cleanup.policy": "compact,delete", "retention.ms": "86400000"})
    assert (await ensure_topics(kafka_url, [first])).created == [name]
    assert (await ensure_topics(kafka_url, [first])).unchanged == [name]
    other = TopicSpec(name, 3, {**first.config, "retention.ms": "172800000"})
    assert (await ensure_topics(kafka_url, [other])).reconfigured == [name]
    assert (await ensure_topics(kafka_url, [other])).unchanged == [name]


async def test_a_topic_with_other_partitions_is_refused(
    kafka_url: str, unique_name: Callable[[str], str]
) -> None:
    name = unique_name("cases")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url)
    await admin.start()
    await admin.create_topics([NewTopic(name, 2, 1)])
    await admin.close()
    with pytest.raises(TopicsError, match="has 2 partitions instead of 12"):
        await ensure_topics(kafka_url, [TopicSpec(name, 12)])


async def test_every_topic_of_the_contract_is_accepted_by_kafka(kafka_url: str) -> None:
    specs = all_topics(["health"])
    await ensure_topics(kafka_url, specs)
    assert sorted((await ensure_topics(kafka_url, specs)).unchanged) == sorted(
        spec.name for spec in specs
    )
