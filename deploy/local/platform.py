"""The plan of a whole platform: Kafka, the store, the topics and the services."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from contracts.profile import load_profile
from deploy.local import credentials, jars, kafka, ports, store
from deploy.local.errors import PlatformError
from deploy.local.folders import PlatformFolder
from deploy.local.plan import ProcessSpec, Readiness
from deploy.local.state import PlatformState, read_state

HOST = "127.0.0.1"
SERVICE_PORTS = {"intake": 8801, "triage": 8802, "notify": 8803, "reporting": 8804}
_BUS_STAGE, _TOPICS_STAGE, _SERVICES_STAGE = 1, 2, 3
_FORMAT_STAGE = 0
# Longer than a service's own bound for a graceful stop (20 s), so that it is the one that ends it.
_SERVICE_GRACE_S = 25.0


@dataclass(frozen=True)
class PlatformOptions:
    """How a platform is to be started. `scale`: instances by service, 1 where not named.

    `on_usual_ports`: False leaves the usual ports to another platform of this machine.
    `kafka_nodes`: 1, or 3 for copies that outlive a broker. `kafka_doors`: by service, a door of
    each node through which its instances reach Kafka instead of the ordinary listener.
    """

    profile: str = "zhoukou"
    scale: Mapping[str, int] = field(default_factory=dict)
    on_usual_ports: bool = True
    kafka_nodes: int = 1
    kafka_doors: Mapping[str, Sequence[kafka.Door]] = field(default_factory=dict)


class _Ports:
    """Gives each address the port it had last time if that is free, else the usual, else a free."""

    def __init__(self, state: PlatformState | None, on_usual_ports: bool) -> None:
        self._on_usual_ports = on_usual_ports
        self._last = {
            process.name: int(process.address.rpartition(":")[2])
            for process in (state.processes if state else [])
            if process.address
        }
        self._given: set[int] = set()

    def give(self, name: str, usual: int) -> int:
        preferred = [self._last[name]] if name in self._last else []
        if self._on_usual_ports:
            preferred.append(usual)
        port = ports.choose(preferred, self._given)
        self._given.add(port)
        return port


def plan(folder: PlatformFolder, options: PlatformOptions) -> list[ProcessSpec]:
    """Everything that `jieyou up` starts, with what must stand on disk before it made now.

    JIEYOU_KAFKA_URL and JIEYOU_MONGO_URL name servers that are there: then none of that kind is
    started. Raises PlatformError, contracts.profile.ProfileError or KeyFileError, each one line.
    """
    unknown = set(options.scale) - set(SERVICE_PORTS)
    if unknown:
        known = ", ".join(SERVICE_PORTS)
        raise PlatformError(f"--scale {unknown.pop()}: there is no such service, only {known}")
    folder.create()
    profile = load_profile(options.profile)
    credentials.ensure_secrets(folder)
    credentials.ensure_keys(folder, profile)
    chosen = _Ports(read_state(folder.state_file), options.on_usual_ports)
    specs: list[ProcessSpec] = []
    environment = {
        "JIEYOU_PROFILE": _profile_for_children(options.profile),
        "JIEYOU_HOST": HOST,
        "JIEYOU_HOME": str(folder.root),
        "JIEYOU_KEYS_FILE": str(folder.keys_file),
        "PYTHONUNBUFFERED": "1",
    }
    if not os.environ.get("JIEYOU_KAFKA_URL"):
        kafka_specs, environment["JIEYOU_KAFKA_URL"] = _kafka(folder, options, chosen)
        specs += kafka_specs
    if not (os.environ.get("JIEYOU_MONGO_URL") or os.environ.get("JIEYOU_MONGO_URL_FILE")):
        store_spec, environment["JIEYOU_MONGO_URL"] = _store(folder, chosen)
        specs.append(store_spec)
    specs.append(_topics(environment))
    specs += _services(folder, options, chosen, environment)
    return specs


def _profile_for_children(profile: str) -> str:
    path = Path(profile)
    return str(path.absolute()) if path.is_file() else profile


def _kafka(
    folder: PlatformFolder, options: PlatformOptions, chosen: _Ports
) -> tuple[list[ProcessSpec], str]:
    nodes = _kafka_nodes(folder.data / "kafka", options, chosen)
    kafka.write_configuration(nodes)
    class_path = jars.ensure_jars()
    cluster = kafka.cluster_id(folder.data / "kafka")
    specs = []
    for node in nodes:
        name = _node_name(node.node_id, len(nodes))
        if not node.is_formatted:
            command = kafka.format_command(node, class_path, cluster)
            specs.append(ProcessSpec(f"{name}-format", command, _FORMAT_STAGE, Readiness.ENDED))
        specs.append(
            ProcessSpec(
                name,
                kafka.run_command(node, class_path),
                _BUS_STAGE,
                Readiness.KAFKA,
                f"{HOST}:{node.port}",
                ready_within_s=120.0,
                grace_s=30.0,
            )
        )
    return specs, ",".join(f"{HOST}:{node.port}" for node in nodes)


def _node_name(node_id: int, count: int) -> str:
    return "kafka" if count == 1 else f"kafka-{node_id}"


def _kafka_nodes(home: Path, options: PlatformOptions, chosen: _Ports) -> list[kafka.KafkaNode]:
    """The nodes with their ports. Raises PlatformError where the data is of another number."""
    count = options.kafka_nodes
    there = len(list(home.glob("*/log/meta.properties")))
    if there not in (0, count):
        raise PlatformError(f"{home} is the data of {there} Kafka nodes, not of {count}")
    nodes = []
    for number in range(1, count + 1):
        name, usual = _node_name(number, count), kafka.USUAL_PORT + 2 * (number - 1)
        port = chosen.give(name, usual)
        controller_port = chosen.give(f"{name}-controller", usual + 1)
        doors = {service: doors[number - 1] for service, doors in options.kafka_doors.items()}
        nodes.append(
            kafka.KafkaNode(number, port, controller_port, home / str(number), doors=doors)
        )
    return nodes


def _store(folder: PlatformFolder, chosen: _Ports) -> tuple[ProcessSpec, str]:
    port = chosen.give("store", store.USUAL_PORT)
    command = store.run_command(port, folder.data / "store")
    spec = ProcessSpec(
        "store", command, _BUS_STAGE, Readiness.LISTENS, f"{HOST}:{port}", grace_s=20.0
    )
    return spec, store.url(port)


def _topics(environment: dict[str, str]) -> ProcessSpec:
    command = [sys.executable, "-m", "deploy.topics"]
    return ProcessSpec(
        "topics", command, _TOPICS_STAGE, Readiness.ENDED, environment=dict(environment)
    )


def _services(
    folder: PlatformFolder, options: PlatformOptions, chosen: _Ports, environment: dict[str, str]
) -> list[ProcessSpec]:
    ports_of = {
        f"{service}-{number}": chosen.give(f"{service}-{number}", usual)
        for service, usual in SERVICE_PORTS.items()
        for number in range(1, options.scale.get(service, 1) + 1)
    }
    through_doors = {
        service: {"JIEYOU_KAFKA_URL": ",".join(f"{HOST}:{door.advertised_port}" for door in doors)}
        for service, doors in options.kafka_doors.items()
    }
    secrets = {
        f"JIEYOU_{name.upper()}_FILE": str(folder.secrets / name) for name in credentials.SECRETS
    }
    if "reporting-1" in ports_of:
        environment = {"JIEYOU_PUBLIC_URL": _address(ports_of["reporting-1"]), **environment}
    return [
        ProcessSpec(
            name,
            [sys.executable, "-m", f"services.{name.rpartition('-')[0]}"],
            _SERVICES_STAGE,
            Readiness.HTTP,
            _address(port),
            {
                **environment,
                **through_doors.get(name.rpartition("-")[0], {}),
                **secrets,
                "JIEYOU_PORT": str(port),
                "JIEYOU_INSTANCE": name,
            },
            grace_s=_SERVICE_GRACE_S,
        )
        for name, port in ports_of.items()
    ]


def _address(port: int) -> str:
    return f"http://{HOST}:{port}"
