"""The platform of a run: three brokers, each service reaching them through proxies of its own."""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from deploy.local import control, credentials, kafka, launch, platform, ports
from deploy.local.folders import PlatformFolder
from deploy.local.plan import ProcessSpec
from deploy.local.state import Condition, Identity, ProcessState, read_state
from tests.chaos.plan import SERVICES
from tests.chaos.proxy import Link, Proxy

PROFILE = "zhoukou"
LOOK_EVERY_S = 0.1
_EXTRA_READY_S = 180.0
_SERVICE = "services."


class NotBack(Exception):
    """A process did not come back in time."""


@dataclass
class Stage:
    """The running platform. `down` notes when broker and store were away, by the wall clock."""

    folder: PlatformFolder
    plan: list[ProcessSpec]
    links: Mapping[str, Link]
    disk: Path | None
    """The mount of the store's own small disk, where one could be made."""
    down: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    _extra: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def addresses(self) -> control.Addresses:
        """Where the platform answers, past all proxies."""
        return control.addresses(self.folder)

    @property
    def tokens(self) -> dict[str, dict[str, str]]:
        """The tokens of its keys, by kind and name."""
        return credentials.read_tokens(self.folder)

    def url(self, service: str) -> str:
        """The address of a service's first instance."""
        return self.addresses.services[service][0]

    def state_of(self, name: str) -> ProcessState:
        """A process as the supervisor last saw it."""
        state = read_state(self.folder.state_file)
        return next(one for one in (state.processes if state else []) if one.name == name)

    def kill(self, *names: str) -> dict[str, Identity]:
        """kill -9 processes at once; returns who they were."""
        killed = {}
        for name in names:
            identity = self.state_of(name).identity
            if identity is not None:
                killed[name] = identity
        for identity in killed.values():
            os.kill(identity.pid, signal.SIGKILL)
        return killed

    async def until_back(self, name: str, old: Identity | None, within_s: float = 120.0) -> None:
        """Return when another process of this name is ready. Raises NotBack."""

        def is_back() -> bool:
            state = self.state_of(name)
            return state.condition is Condition.READY and state.identity not in (None, old)

        if not await until(is_back, within_s):
            raise NotBack(f"{name} was not back after {within_s:.0f} s")

    @contextmanager
    def away(self, what: str) -> Iterator[None]:
        """Note that a broker quorum (`bus`) or the store (`store`) is away."""
        began = time.time()
        try:
            yield
        finally:
            self.down.setdefault(what, []).append((began, time.time()))

    async def start_extra(self, service: str, number: int, **environment: str) -> str:
        """Start another instance of a service beside the supervisor's; returns its name."""
        name = f"{service}-{number}"
        spec = next(one for one in self.plan if one.name == f"{service}-1")
        port = ports.choose()
        told = {**spec.environment, "JIEYOU_PORT": str(port), "JIEYOU_INSTANCE": name}
        self._extra[name] = launch.start(spec.command, self.log_of(name), {**told, **environment})
        url = f"http://127.0.0.1:{port}/health/ready"
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            until_s = time.monotonic() + _EXTRA_READY_S
            while time.monotonic() < until_s:
                try:
                    if (await client.get(url)).is_success:
                        return name
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(LOOK_EVERY_S)
        raise NotBack(f"{name} was not ready after {_EXTRA_READY_S:.0f} s")

    async def end_extra(self, name: str, *, killed: bool) -> None:
        """End such an instance, by SIGTERM or by kill -9."""
        process = self._extra.pop(name)
        process.send_signal(signal.SIGKILL if killed else signal.SIGTERM)
        await asyncio.to_thread(process.wait, 30)

    def log_of(self, name: str) -> Path:
        """The log of a process."""
        return self.folder.logs / f"{name}.log"

    def end_extras(self) -> None:
        """End all such instances."""
        launch.end(list(self._extra.values()), grace_s=5)
        self._extra.clear()


async def until(is_so: Callable[[], bool], within_s: float) -> bool:
    """Wait until something is so; False if it did not become so in time."""
    until_s = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > until_s:
            return False
        await asyncio.sleep(LOOK_EVERY_S)
    return True


class Doors:
    """Proxies between each service and each broker."""

    def __init__(self, nodes: int) -> None:
        self.links = {service: Link() for service in SERVICES}
        self._proxies = {
            service: [Proxy(self.links[service]) for _ in range(nodes)] for service in SERVICES
        }
        taken: list[int] = []
        self.doors: dict[str, list[kafka.Door]] = {}
        for service, proxies in self._proxies.items():
            for proxy in proxies:
                port = ports.choose(taken=taken)
                taken.append(port)
                self.doors.setdefault(service, []).append(kafka.Door(port, proxy.port))

    async def open(self) -> None:
        """Begin to pass connections on."""
        for service, proxies in self._proxies.items():
            for proxy, door in zip(proxies, self.doors[service], strict=True):
                await proxy.serve(door.port)

    async def close(self) -> None:
        """End all connections."""
        for proxies in self._proxies.values():
            for proxy in proxies:
                await proxy.close()


def planned(
    folder: PlatformFolder, doors: Doors, nodes: int, department_urls: Mapping[str, str]
) -> list[ProcessSpec]:
    """The plan of the platform: like any other, but for doors and the simulated hotlines."""
    options = platform.PlatformOptions(
        PROFILE, on_usual_ports=False, kafka_nodes=nodes, kafka_doors=doors.doors
    )
    told = {"JIEYOU_DEPARTMENT_URLS": json.dumps(dict(department_urls))}
    return [
        replace(one, environment={**one.environment, **told})
        for one in platform.plan(folder, options)
    ]
