"""Fixtures that several kinds of test share: a real Kafka, a real store, started when needed."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local import jars, kafka, launch, ports, store


@pytest.fixture(scope="session")
def kafka_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a real Kafka: JIEYOU_KAFKA_URL, else one node started for this test run."""
    given = os.environ.get("JIEYOU_KAFKA_URL")
    if given:
        yield given
        return
    folder = tmp_path_factory.mktemp("kafka")
    port = ports.choose()
    node = kafka.KafkaNode(1, port, ports.choose(taken=[port]), folder / "1")
    kafka.write_configuration([node])
    log_file = folder / "kafka.log"
    class_path = jars.ensure_jars()
    formatted = launch.start(
        kafka.format_command(node, class_path, kafka.cluster_id(folder)), log_file
    )
    assert formatted.wait(60) == 0, log_file.read_text()
    process = launch.start(kafka.run_command(node, class_path), log_file)
    try:
        launch.wait_until_ready(
            "kafka",
            process,
            lambda: kafka.is_ready(node.host, node.port),
            log_file=log_file,
            timeout_s=60,
        )
        yield f"{node.host}:{node.port}"
    finally:
        launch.end([process], grace_s=5)


@pytest.fixture(scope="session")
def mongo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real store: JIEYOU_MONGO_URL, else the local one started for this test run."""
    given = os.environ.get("JIEYOU_MONGO_URL")
    if given:
        yield given
        return
    folder = tmp_path_factory.mktemp("store")
    port = ports.choose()
    log_file: Path = folder / "store.log"
    process = launch.start(store.run_command(port, folder / "data"), log_file)
    try:
        launch.wait_until_ready(
            "store",
            process,
            lambda: launch.listens("127.0.0.1", port),
            log_file=log_file,
            timeout_s=60,
        )
        yield store.url(port)
    finally:
        launch.end([process], grace_s=5)


@pytest.fixture
def unique_name() -> Callable[[str], str]:
    """Makes names for topics, groups and databases that no other test uses."""

    def make(prefix: str) -> str:
        return f"{prefix}-{uuid.uuid4().hex[:12]}"

    return make
