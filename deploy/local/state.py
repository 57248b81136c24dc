"""The run state of a platform: who runs, where, how it goes. Written by the supervisor alone."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

import psutil

from deploy.local.errors import PlatformError

# The system counts start times in ticks since its boot, and the boot time moves with the clock.
_START_TOLERANCE_S = 2.0


class Phase(StrEnum):
    """How far the whole platform is."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class Condition(StrEnum):
    """How far one process is."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    DONE = "done"
    BROKEN = "broken"
    """It has ended and is started again after a pause."""
    HELD = "held"
    """It was ended on purpose and is not started while it is held."""
    STOPPED = "stopped"


@dataclass(frozen=True)
class Identity:
    """A process for sure: process ids are used again, a pid with its start time is not."""

    pid: int
    started_at: float

    @classmethod
    def of(cls, pid: int) -> Identity:
        """The identity of a running process. Raises psutil.NoSuchProcess."""
        return cls(pid, psutil.Process(pid).create_time())

    def process(self) -> psutil.Process | None:
        """The process, if it is still this one and runs."""
        try:
            process = psutil.Process(self.pid)
            is_same = abs(process.create_time() - self.started_at) < _START_TOLERANCE_S
            return process if is_same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


@dataclass
class ProcessState:
    """One process as the supervisor last saw it. `restarts` counts since the platform's start."""

    name: str
    address: str | None
    readiness: str
    log_file: str
    condition: Condition = Condition.WAITING
    identity: Identity | None = None
    restarts: int = 0


@dataclass
class PlatformState:
    """The whole platform. `failure` is one line, set when the phase is FAILED."""

    supervisor: Identity
    phase: Phase = Phase.STARTING
    failure: str | None = None
    processes: list[ProcessState] = field(default_factory=list)

    @property
    def is_alive(self) -> bool:
        """Whether the supervisor of this state still runs."""
        return self.supervisor.process() is not None

    def write(self, path: Path) -> None:
        """Replace the state file in one step: who reads it sees the old state or this one."""
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(self), indent=1), encoding="utf-8")
        temporary.chmod(0o600)
        os.replace(temporary, path)  # noqa: PTH105 -- said as it is meant: atomically


def read_state(path: Path) -> PlatformState | None:
    """The state last written, or None when there never was one.

    Raises PlatformError when the file cannot be read as a state.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        processes = [
            ProcessState(
                **{
                    **process,
                    "condition": Condition(process["condition"]),
                    "identity": _identity(process["identity"]),
                }
            )
            for process in content["processes"]
        ]
        return PlatformState(
            supervisor=Identity(**content["supervisor"]),
            phase=Phase(content["phase"]),
            failure=content["failure"],
            processes=processes,
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise PlatformError(
            f"{path} is damaged ({type(error).__name__}): delete it; no data is in it"
        ) from error


def _identity(content: dict[str, float] | None) -> Identity | None:
    return None if content is None else Identity(int(content["pid"]), content["started_at"])
