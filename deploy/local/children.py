"""One child of the supervisor: starts it, sees it get ready, starts it again when it has ended."""

from __future__ import annotations

import logging
import subprocess
import time
from pathlib import Path

from deploy.local import kafka, launch, log_files
from deploy.local.errors import PlatformError
from deploy.local.plan import ProcessSpec, Readiness
from deploy.local.state import Condition, Identity, ProcessState

_log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 30.0
# Who has run this long was well: the next end of it is not taken as one of a series.
_PROVEN_AFTER_S = 60.0
_ATTEMPTS_AT_START = 3
# A process that ends with this code was told something wrong: trying again does not help.
_MISCONFIGURED = 2


class Child:
    """A process of the plan with its state. `look` is called a few times a second."""

    def __init__(self, spec: ProcessSpec, log_folder: Path) -> None:
        self.spec = spec
        self.log_file = log_folder / f"{spec.name}.log"
        self.state = ProcessState(spec.name, spec.address, spec.readiness.value, str(self.log_file))
        self.process: subprocess.Popen[bytes] | None = None
        self._failures_in_a_row = 0
        self._started = 0.0
        self._start_again_at = 0.0
        self._has_just_died = False

    @property
    def has_just_died(self) -> bool:
        """Whether the last look found that it has ended, though it should run."""
        return self._has_just_died

    @property
    def is_up(self) -> bool:
        """Whether the next stage need not wait for it."""
        return self.state.condition in (Condition.READY, Condition.DONE)

    def start(self) -> None:
        """Start the process now. Call it from the main thread only."""
        self._started = time.monotonic()
        self.process = launch.start(self.spec.command, self.log_file, self.spec.environment)
        self.state.identity = Identity.of(self.process.pid)
        self.state.condition = Condition.STARTING
        _log.info("%s started with pid %d", self.spec.name, self.process.pid)

    def look(self) -> bool:
        """See what became of the process and do what follows; whether its state has changed."""
        before = (self.state.condition, self.state.identity, self.state.restarts)
        self._has_just_died = False
        if self.process is not None and self.process.poll() is not None:
            self._ended(self.process.returncode)
        elif self.state.condition is Condition.BROKEN:
            if time.monotonic() >= self._start_again_at:
                self.state.restarts += 1
                self.start()
        elif self.state.condition is Condition.STARTING and self._is_ready():
            self.state.condition = Condition.READY
            _log.info("%s ready after %.1f s", self.spec.name, time.monotonic() - self._started)
        return before != (self.state.condition, self.state.identity, self.state.restarts)

    def check_start(self) -> None:
        """During the platform's start: raises PlatformError when waiting longer is in vain."""
        if self._failures_in_a_row >= _ATTEMPTS_AT_START:
            why = f"{self.spec.name} ended {self._failures_in_a_row} times"
        elif self.state.condition is Condition.STARTING and (
            time.monotonic() - self._started > self.spec.ready_within_s
        ):
            why = f"{self.spec.name} was not ready after {self.spec.ready_within_s:.0f} s"
        else:
            return
        last = log_files.last_line(self.log_file)
        raise PlatformError(f"{why}: {last or 'it said nothing'} (see {self.log_file})")

    def _ended(self, code: int) -> None:
        self.process = None
        self.state.identity = None
        if code == 0 and self.spec.readiness is Readiness.ENDED:
            self.state.condition = Condition.DONE
            _log.info("%s done", self.spec.name)
            return
        if time.monotonic() - self._started > _PROVEN_AFTER_S:
            self._failures_in_a_row = 0
        pause = min(FIRST_PAUSE_S * 2**self._failures_in_a_row, LONGEST_PAUSE_S)
        self._failures_in_a_row += _ATTEMPTS_AT_START if code == _MISCONFIGURED else 1
        self._start_again_at = time.monotonic() + pause
        self.state.condition = Condition.BROKEN
        self._has_just_died = True
        _log.warning("%s ended with code %d, again in %.1f s", self.spec.name, code, pause)

    def _is_ready(self) -> bool:
        match self.spec.readiness:
            case Readiness.ENDED:
                return False
            case Readiness.HTTP:
                return launch.answers_ok(f"{self.spec.address}/health/ready")
            case Readiness.KAFKA:
                return kafka.is_ready(*self.spec.host_and_port)
            case Readiness.LISTENS:
                return launch.listens(*self.spec.host_and_port)
