"""Start, stop and see a platform from another process: what the commands and the tests call."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.local import launch, store
from deploy.local.errors import PlatformError
from deploy.local.folders import PlatformFolder
from deploy.local.plan import ProcessSpec, Readiness, to_json
from deploy.local.state import Condition, Phase, PlatformState, ProcessState, read_state

_STOP_WITHIN_S = 90.0
_LOOK_EVERY_S = 0.1


@dataclass(frozen=True)
class ProcessReport:
    """One process as it is found now. `is_healthy` was asked of it, not remembered."""

    name: str
    pid: int | None
    address: str | None
    is_healthy: bool
    condition: str
    restarts: int
    log_file: str


@dataclass(frozen=True)
class Addresses:
    """Where a platform answers. `services` holds the base URLs of all instances by service."""

    kafka_url: str
    mongo_url: str
    services: dict[str, list[str]]


def running(folder: PlatformFolder) -> PlatformState | None:
    """The state of the platform whose supervisor runs in this folder, else None."""
    state = read_state(folder.state_file)
    return state if state is not None and state.is_alive else None


def start(
    folder: PlatformFolder,
    plan: Sequence[ProcessSpec],
    on_progress: Callable[[PlatformState], None] = lambda state: None,
) -> PlatformState:
    """Start a supervisor with this plan and return when all is ready; it stays running.

    `on_progress` is called whenever something may have changed. Raises PlatformError when one
    runs there already (exit code 3) or something does not start; then nothing is left running.
    """
    folder.create()
    started = subprocess.run(
        [sys.executable, "-m", "deploy.local.supervisor", str(folder.root)],
        input=to_json(plan),
        text=True,
        capture_output=True,
        check=False,
    )
    if started.returncode != 0:
        last = started.stderr.strip().splitlines()[-1:] or ["the supervisor did not start"]
        raise PlatformError(last[0], exit_code=started.returncode)
    pid = int(started.stdout)
    while True:
        is_there = psutil.pid_exists(pid)  # asked first: a state written since then still counts
        state = read_state(folder.state_file)
        if state is not None and state.supervisor.pid == pid:
            on_progress(state)
            if state.phase is Phase.RUNNING and state.is_alive:
                return state
            if state.phase in (Phase.FAILED, Phase.STOPPED) and not state.is_alive:
                raise PlatformError(state.failure or "the platform was stopped while it started")
            is_there = is_there and state.is_alive
        if not is_there:
            raise PlatformError(f"the supervisor is gone: see {folder.logs}/supervisor.log")
        time.sleep(_LOOK_EVERY_S)


def stop(folder: PlatformFolder) -> bool:
    """Stop the platform and return when it is gone; False when none was running.

    A supervisor that does not end in time is killed, and its children with it.
    """
    state = running(folder)
    process = state.supervisor.process() if state is not None else None
    if state is None or process is None:
        return False
    process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _STOP_WITHIN_S
    while state.is_alive:
        if time.monotonic() > deadline:
            process.kill()
        time.sleep(_LOOK_EVERY_S)
    return True


def report(folder: PlatformFolder) -> list[ProcessReport]:
    """Every process that should run now, asked for its health at this moment.

    Raises PlatformError when no platform runs in the folder.
    """
    state = running(folder)
    if state is None:
        raise PlatformError(f"no platform runs in {folder.root}: start it with `jieyou up`")
    return [_ask(one) for one in state.processes if one.readiness != Readiness.ENDED.value]


def addresses(folder: PlatformFolder) -> Addresses:
    """Where the platform of this folder answers; JIEYOU_KAFKA_URL and JIEYOU_MONGO_URL come first.

    Raises PlatformError when neither they nor a running platform tell.
    """
    state = running(folder)
    found = {one.name: one.address for one in state.processes if one.address} if state else {}
    kafka_url = os.environ.get("JIEYOU_KAFKA_URL") or _kafka_url(found)
    mongo_url = _given_mongo_url()
    if mongo_url is None and "store" in found:
        mongo_url = store.url(int(found["store"].rpartition(":")[2]))
    if kafka_url is None or mongo_url is None:
        raise PlatformError(
            f"no platform runs in {folder.root}: start it with `jieyou up`, "
            "or set JIEYOU_KAFKA_URL and JIEYOU_MONGO_URL"
        )
    services: dict[str, list[str]] = {}
    for name, address in found.items():
        if address.startswith("http://"):
            services.setdefault(name.rpartition("-")[0], []).append(address)
    return Addresses(kafka_url, mongo_url, services)


def has_own_store() -> bool:
    """Whether the store is the local platform's own, since nobody has named another."""
    return _given_mongo_url() is None


def log_and_store(folder: PlatformFolder) -> tuple[str, str | None]:
    """Where log and store are, for what can do with the log alone: JIEYOU_KAFKA_URL without
    JIEYOU_MONGO_URL and without a platform names no store. Raises PlatformError."""
    try:
        found = addresses(folder)
    except PlatformError:
        given = os.environ.get("JIEYOU_KAFKA_URL")
        if given:
            return given, None
        raise
    return found.kafka_url, found.mongo_url


def _kafka_url(found: Mapping[str, str]) -> str | None:
    """Return the addresses of all nodes; None when there is none."""
    nodes = [address for name, address in found.items() if re.fullmatch(r"kafka(-\d)?", name)]
    return ",".join(nodes) or None


def _given_mongo_url() -> str | None:
    secret_file = os.environ.get("JIEYOU_MONGO_URL_FILE")
    if secret_file:
        return Path(secret_file).read_text(encoding="utf-8").strip()
    return os.environ.get("JIEYOU_MONGO_URL")


def _ask(state: ProcessState) -> ProcessReport:
    alive = state.identity is not None and state.identity.process() is not None
    return ProcessReport(
        name=state.name,
        pid=state.identity.pid if state.identity is not None and alive else None,
        address=state.address,
        is_healthy=alive and _is_healthy(state),
        condition=_condition(state, alive),
        restarts=state.restarts,
        log_file=state.log_file,
    )


def _condition(state: ProcessState, alive: bool) -> str:
    if alive or state.condition is Condition.HELD:
        return state.condition.value
    return Condition.BROKEN.value


def _is_healthy(state: ProcessState) -> bool:
    if state.address is None:
        return True
    if state.readiness == Readiness.HTTP.value:
        return launch.answers_ok(f"{state.address}/health/ready")
    host, _, port = state.address.rpartition(":")
    return launch.listens(host, int(port))
