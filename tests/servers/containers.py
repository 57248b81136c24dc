"""Apache Kafka and MongoDB in containers of testcontainers, for the time of a test.

Its own classes for the two do not fit: `KafkaContainer` starts Confluent's image, and
`MongoDbContainer` a server that is no replica set, so without transactions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import PyMongoError
from testcontainers.core.container import DockerContainer

from deploy.local import kafka, ports
from tests.servers.images import kafka_image, mongo_image

_READY_WITHIN_S = 120
_LOOK_EVERY_S = 0.1
_KAFKA_PORT, _INNER_PORT, _CONTROLLER_PORT = 9092, 19092, 9093
_MONGO_PORT = 27017
_REPLICA_SET = "rs0"


@contextmanager
def kafka_container(folder: Path) -> Iterator[str]:
    """Start one broker, yield its host:port, and remove it; `folder` keeps the cluster's id."""
    # Chosen here, since the broker must be told by which port its clients find it.
    port = ports.choose()
    container = DockerContainer(kafka_image())
    host = _host(container)
    environment = kafka_environment(host, port) | {"CLUSTER_ID": kafka.cluster_id(folder)}
    container.with_bind_ports(_KAFKA_PORT, port).with_envs(**environment)
    with container:
        _wait(container, lambda: kafka.is_ready(host, port))
        yield f"{host}:{port}"


@contextmanager
def mongo_container() -> Iterator[str]:
    """Start MongoDB as a replica set of one, yield its URL, and remove it with its data."""
    container = DockerContainer(mongo_image()).with_exposed_ports(_MONGO_PORT)
    with container.with_command(["--replSet", _REPLICA_SET, "--bind_ip_all"]):
        host, port = _host(container), container.get_exposed_port(_MONGO_PORT)
        url = f"mongodb://{host}:{port}/?directConnection=true"
        with MongoClient[dict[str, object]](url, serverSelectionTimeoutMS=1_000) as client:
            _wait(container, lambda: _is_primary(client))
        yield url


def kafka_environment(host: str, port: int) -> dict[str, str]:
    """The settings of the local broker, as the image takes them: `a.b=c` is `KAFKA_A_B=c`.

    Clients come in by a door of their own, which tells them the host's address and port; by the
    ordinary listener the broker finds itself inside its container.
    """
    outside = {"outside": kafka.Door(_KAFKA_PORT, port)}
    home = Path("/var/lib/kafka/data")
    node = kafka.KafkaNode(1, _INNER_PORT, _CONTROLLER_PORT, home, doors=outside)
    settings = dict(line.split("=", 1) for line in kafka.properties(node, [node]).splitlines())
    here, told = f"OUTSIDE://{node.host}:", f"OUTSIDE://{host}:"
    settings["listeners"] = settings["listeners"].replace(here, "OUTSIDE://0.0.0.0:")
    settings["advertised.listeners"] = settings["advertised.listeners"].replace(here, told)
    named = {f"KAFKA_{key.upper().replace('.', '_')}": value for key, value in settings.items()}
    return named | {"KAFKA_HEAP_OPTS": "-Xms128m -Xmx512m"}


def _is_primary(client: MongoClient[dict[str, object]]) -> bool:
    """Whether the server takes writes; one that has not been told of a replica set is told."""
    try:
        hello = client.admin.command("hello")
        if "setName" not in hello:
            member = {"_id": 0, "host": f"127.0.0.1:{_MONGO_PORT}"}
            client.admin.command("replSetInitiate", {"_id": _REPLICA_SET, "members": [member]})
    except PyMongoError:
        return False
    return bool(hello.get("isWritablePrimary"))


def _host(container: DockerContainer) -> str:
    host = container.get_docker_client().host()
    # By its name it has two addresses, and one of them may be another program's.
    return "127.0.0.1" if host == "localhost" else host


def _wait(container: DockerContainer, is_ready: Callable[[], bool]) -> None:
    """Block until `is_ready`; raises RuntimeError with its last words when the container ends."""
    deadline = time.monotonic() + _READY_WITHIN_S
    while not is_ready():
        container.reload()
        if container.status != "running" or time.monotonic() > deadline:
            words = b"".join(container.get_logs()).decode(errors="replace")[-2_000:]
            raise RuntimeError(f"{container.image} is {container.status}, not ready:\n{words}")
        time.sleep(_LOOK_EVERY_S)
