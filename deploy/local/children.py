"""One child of the supervisor: starts it, sees it get ready, starts it again when it has ended."""

from __future__ import annotations

import logging
import signal
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
        self._is_held = False
        self._kill_at = 0.0
        self._lives_unready = False

    @property
    def is_held(self) -> bool:
        """Whether it is to stay ended for now."""
        return self._is_held

    @property
    def has_just_died(self) -> bool:
        """Whether the last look found that it has ended, though it should run."""
        return self._has_just_died

    @property
    def is_up(self) -> bool:
        """Whether the next stage need not wait for it."""
        is_done = self.state.condition in (Condition.READY, Condition.DONE, Condition.HELD)
        return is_done or self._lives_unready

    def start(self) -> None:
        """Start the process now. Call it from the main thread only."""
        self._started = time.monotonic()
        self.process = launch.start(self.spec.command, self.log_file, self.spec.environment)
        self.state.identity = Identity.of(self.process.pid)
        self.state.condition = Condition.STARTING
        _log.info("%s started with pid %d", self.spec.name, self.process.pid)

    def hold(self, is_held: bool) -> None:
        """End the process in an orderly way and leave it so, or let it be started again."""
        if is_held == self._is_held:
            return
        self._is_held = is_held
        if is_held and self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self._kill_at = time.monotonic() + self.spec.grace_s
        elif not is_held and self.state.condition is Condition.HELD:
            self._failures_in_a_row = 0
            self.start()

    def look(self) -> bool:
        """See what became of the process and do what follows; whether its state has changed."""
        before = (self.state.condition, self.state.identity, self.state.restarts)
        self._has_just_died = False
        if self.process is not None and self.process.poll() is not None:
            self._ended(self.process.returncode)
        elif self._is_held:
            self._look_at_held()
        elif self.state.condition is Condition.BROKEN:
            if time.monotonic() >= self._start_again_at:
                self.state.restarts += 1
                self.start()
        elif self.state.condition is Condition.STARTING and self._is_ready():
            self.state.condition = Condition.READY
            _log.info("%s ready after %.1f s", self.spec.name, time.monotonic() - self._started)
        return before != (self.state.condition, self.state.identity, self.state.restarts)

    def _look_at_held(self) -> None:
        if self.process is None:
            self.state.condition = Condition.HELD
        elif time.monotonic() >= self._kill_at:
            self.process.kill()

    def check_start(self) -> None:
        """During the platform's start: raises PlatformError when waiting longer is in vain.

        A service that lives and says that it is not ready is not waited for any longer: it may
        wait for something that is only put right once the platform runs, as a lost database.
        """
        if self._failures_in_a_row >= _ATTEMPTS_AT_START:
            why = f"{self.spec.name} ended {self._failures_in_a_row} times"
        elif self.state.condition is Condition.STARTING and (
            time.monotonic() - self._started > self.spec.ready_within_s
        ):
            if self._lives():
                self._lives_unready = True
                _log.warning("%s lives and is not ready; the start goes on", self.spec.name)
                return
            why = f"{self.spec.name} was not ready after {self.spec.ready_within_s:.0f} s"
        else:
            return
        last = log_files.last_line(self.log_file)
        raise PlatformError(f"{why}: {last or 'it said nothing'} (see {self.log_file})")

    def _ended(self, code: int) -> None:
        self.process = None
        self.state.identity = None
        if self._is_held:
            self.state.condition = Condition.HELD
            self._has_just_died = code != 0
            _log.info("%s is held, it ended with code %d", self.spec.name, code)
            return
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

    def _lives(self) -> bool:
        is_asked = self.spec.readiness is Readiness.HTTP
        return is_asked and launch.answers_ok(f"{self.spec.address}/health/live")

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
