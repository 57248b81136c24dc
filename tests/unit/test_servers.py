"""What the tests themselves stand on: how containers are told what the local servers are told."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from contracts.topics import SERVICES, all_topics
from deploy.local import jars, kafka
from tests.servers import given, images
from tests.servers.containers import kafka_environment


def local_settings() -> dict[str, str]:
    node = kafka.KafkaNode(1, 9092, 9093, Path("/data"))
    return dict(line.split("=", 1) for line in kafka.properties(node, [node]).splitlines())


def test_a_broker_in_a_container_has_the_settings_of_the_local_one() -> None:
    told = kafka_environment("192.0.2.7", 31000)
    differ = re.compile(r"(advertised\.)?listeners|log\.dirs|listener\.security\.protocol\.map")
    for key, value in local_settings().items():
        if not differ.fullmatch(key):
            assert told[f"KAFKA_{key.upper().replace('.', '_')}"] == value
    assert told["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"


def test_clients_outside_a_container_are_told_the_hosts_address_and_it_finds_itself_inside() -> (
    None
):
    told = kafka_environment("192.0.2.7", 31000)
    assert told["KAFKA_LISTENERS"].endswith("OUTSIDE://0.0.0.0:9092")
    advertised = told["KAFKA_ADVERTISED_LISTENERS"].split(",")
    assert "OUTSIDE://192.0.2.7:31000" in advertised
    (inside,) = (one for one in advertised if one.startswith("PLAINTEXT://"))
    assert inside.removeprefix("PLAINTEXT://") in told["KAFKA_LISTENERS"]
    assert told["KAFKA_INTER_BROKER_LISTENER_NAME"] == "PLAINTEXT"


def test_the_images_version_is_that_of_the_jars(monkeypatch: pytest.MonkeyPatch) -> None:
    (locked,) = (one.version for one in jars.read_lock() if one.artifact.startswith("kafka_2"))
    assert f"apache/kafka:{locked}" == images.KAFKA_IMAGE
    monkeypatch.setenv("JIEYOU_TEST_KAFKA_IMAGE", "mirror.example/kafka:4")
    assert images.kafka_image() == "mirror.example/kafka:4"


def test_without_an_engine_one_line_says_so() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.servers.missing"],
        env={**os.environ, "DOCKER_HOST": "unix:///nowhere/docker.sock"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr == ""
    assert len(ended.stdout.splitlines()) == 1
    assert "no Docker engine answers" in ended.stdout


def test_what_tests_write_to_is_known_and_a_strangers_names_are_not(
    unique_name: Callable[[str], str],
) -> None:
    contract = {one.name for one in all_topics(["health", "hotline-12345"])}
    ours = {unique_name("topic"), unique_name("intake")}
    strangers = {"orders.v1", "requests", "jieyou", "feed.v2", "__consumer_offsets", "prod-2024"}
    made = given.made(given.A_PLATFORMS_TOPIC, set(), contract | ours | strangers)
    assert set(made) == contract | ours
    there_before = given.made(given.A_PLATFORMS_TOPIC, ours, contract | ours)
    assert set(there_before) == contract

    databases = {f"jieyou_{service}" for service in SERVICES} | {"test_0a1b2c3d4e5f"} | ours
    assert set(given.made(given.A_PLATFORMS_DATABASE, set(), databases | {"admin", "shop"})) == (
        databases
    )
