"""Kafka and the embedded store as child processes, for the time of a test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local import jars, kafka, launch, ports, store

_READY_WITHIN_S = 60


@contextmanager
def local_kafka(folder: Path) -> Iterator[str]:
    """Start one node with its data in `folder`, yield its host:port, and end it."""
    port = ports.choose()
    node = kafka.KafkaNode(1, port, ports.choose(taken=[port]), folder / "1")
    kafka.write_configuration([node])
    log_file, class_path = folder / "kafka.log", jars.ensure_jars()
    formatted = launch.start(
        kafka.format_command(node, class_path, kafka.cluster_id(folder)), log_file
    )
    assert formatted.wait(_READY_WITHIN_S) == 0, log_file.read_text()
    process = launch.start(kafka.run_command(node, class_path), log_file)
    try:
        launch.wait_until_ready(
            "kafka",
            process,
            lambda: kafka.is_ready(node.host, node.port),
            log_file=log_file,
            timeout_s=_READY_WITHIN_S,
        )
        yield f"{node.host}:{node.port}"
    finally:
        launch.end([process], grace_s=5)


@contextmanager
def local_store(folder: Path) -> Iterator[str]:
    """Start the store with its data in `folder`, yield its URL, and end it."""
    port, log_file = ports.choose(), folder / "store.log"
    process = launch.start(store.run_command(port, folder / "data"), log_file)
    try:
        launch.wait_until_ready(
            "store",
            process,
            lambda: launch.listens("127.0.0.1", port),
            log_file=log_file,
            timeout_s=_READY_WITHIN_S,
        )
        yield store.url(port)
    finally:
        launch.end([process], grace_s=5)
