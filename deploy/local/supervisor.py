"""The supervisor: one detached process that runs a platform and outlives the command.

`python -m deploy.local.supervisor FOLDER` with a plan (see `deploy.local.plan`) on standard input.
It prints the pid of the supervisor that now runs and returns at once, or with code 3 when one
runs there already.
"""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import IO

import psutil

from deploy.local import holding, launch, log_files, store
from deploy.local.children import Child
from deploy.local.errors import PlatformError
from deploy.local.folders import PlatformFolder
from deploy.local.plan import ProcessSpec, from_json
from deploy.local.state import Condition, Identity, Phase, PlatformState, read_state

_log = logging.getLogger(__name__)

ALREADY_RUNS = 3
_LOOK_EVERY_S = 0.1
_LOGS_EVERY_S = 5.0
_STORE_EVERY_S = 2.0
_STORE_FAILURES = 2
_STORE = "store"
# What a killed process had sent may be begun after its end was seen.
_STILL_UNDER_WAY_S = 3.0


class Supervisor:
    """Runs a plan until it is told to stop. Everything happens in the main thread."""

    def __init__(self, folder: PlatformFolder, plan: list[ProcessSpec]) -> None:
        self._folder = folder
        self._children = [Child(spec, folder.logs) for spec in plan]
        self._state = PlatformState(
            Identity.of(os.getpid()), processes=[child.state for child in self._children]
        )
        self._told_to_stop = threading.Event()
        self._logs_bounded_at = 0.0
        self._store_asked_at = 0.0
        self._store_failures = 0
        self._end_transactions_at: list[float] = []

    def run(self) -> int:
        """Start stage by stage, watch, stop in reverse; the exit code."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            self._write()
            self._start()
            self._watch()
        except PlatformError as error:
            _log.error("%s", error)
            self._state.failure = str(error)
        finally:
            self._stop()
        return 1 if self._state.failure else 0

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._told_to_stop.set()

    def _start(self) -> None:
        for stage in sorted({child.spec.stage for child in self._children}):
            starting = [child for child in self._children if child.spec.stage == stage]
            self._hold()
            for child in starting:
                if child.state.condition is Condition.WAITING and not child.is_held:
                    child.start()
            self._write()
            while not all(child.is_up for child in starting):
                if self._told_to_stop.wait(_LOOK_EVERY_S):
                    return
                self._look()
                for child in starting:
                    child.check_start()
        self._state.phase = Phase.RUNNING
        self._write()

    def _watch(self) -> None:
        while not self._told_to_stop.wait(_LOOK_EVERY_S):
            self._look()

    def _hold(self) -> None:
        held = holding.held_services(self._folder)
        for child in self._children:
            child.hold(holding.service_of(child.spec.name) in held)

    def _look(self) -> None:
        self._hold()
        started = [
            child
            for child in self._children
            if child.state.condition != Condition.WAITING or child.is_held
        ]
        changes = [child.look() for child in started]
        if any(changes):
            self._write()
        now = time.monotonic()
        if any(child.has_just_died and child.spec.name != _STORE for child in started):
            self._end_transactions_at += [now, now + _STILL_UNDER_WAY_S]
        if any(at <= now for at in self._end_transactions_at):
            self._end_transactions_at = [at for at in self._end_transactions_at if at > now]
            self._end_open_transactions()
        if now - self._store_asked_at > _STORE_EVERY_S:
            self._store_asked_at = now
            self._restart_broken_store()
        if time.monotonic() - self._logs_bounded_at > _LOGS_EVERY_S:
            self._logs_bounded_at = time.monotonic()
            for log_file in self._folder.logs.glob("*.log"):
                log_files.bound(log_file)

    def _restart_broken_store(self) -> None:
        """A store whose engine has given up does not end by itself; two answers that say so do."""
        for child in self._children:
            if child.spec.name != _STORE or child.state.condition is not Condition.READY:
                continue
            is_broken = store.must_restart(child.spec.host_and_port[1])
            self._store_failures = self._store_failures + 1 if is_broken else 0
            if self._store_failures >= _STORE_FAILURES and child.process is not None:
                _log.error("the store answers with faults of its own and is ended")
                child.process.kill()
                self._store_failures = 0

    def _end_open_transactions(self) -> None:
        """A process that was killed may have left one in the store, which holds up the others."""
        for child in self._children:
            if child.spec.name == _STORE and child.state.condition is Condition.READY:
                ended = store.end_open_transactions(child.spec.host_and_port[1])
                _log.info("open transactions %s", "ended" if ended else "could not be ended")

    def _stop(self) -> None:
        self._state.phase = Phase.STOPPING
        self._write()
        for stage in sorted({child.spec.stage for child in self._children}, reverse=True):
            stopping = [child for child in self._children if child.spec.stage == stage]
            running = [child.process for child in stopping if child.process is not None]
            launch.end(running, max(child.spec.grace_s for child in stopping))
            for child in stopping:
                child.state.identity = None
                if child.state.condition not in (Condition.DONE, Condition.WAITING):
                    child.state.condition = Condition.STOPPED
            self._write()
        self._state.phase = Phase.FAILED if self._state.failure else Phase.STOPPED
        self._write()
        _log.info("platform %s", self._state.phase.value)

    def _write(self) -> None:
        self._state.write(self._folder.state_file)


def end_leftovers(folder: PlatformFolder) -> None:
    """End what an earlier supervisor of this folder left running: by pid and start time alone.

    Call it with the lock held, so that nobody else's children are meant.
    """
    state = read_state(folder.state_file)
    identities = [process.identity for process in state.processes] if state else []
    leftovers = [found for one in identities if one and (found := one.process())]
    for process in leftovers:
        _log.warning("pid %d is left from an earlier run and is ended", process.pid)
        process.terminate()
    _, stubborn = psutil.wait_procs(leftovers, timeout=10)
    for process in stubborn:
        process.kill()
    psutil.wait_procs(stubborn, timeout=5)


def _lock(folder: PlatformFolder) -> IO[bytes] | None:
    """The lock of the folder, held while the returned file is open; None when another holds it."""
    lock = folder.lock_file.open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _detach(log_file: Path) -> None:
    """Go on as a process of its own, without a terminal, writing to the log.

    The process that was started prints the pid of the one that goes on, and exits.
    """
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        os._exit(0)
    os.setsid()
    log = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)


def main(arguments: list[str]) -> int:
    """See the module's docstring."""
    os.umask(0o077)
    folder = PlatformFolder(Path(arguments[0]))
    plan = from_json(sys.stdin.read())
    lock = _lock(folder)
    if lock is None:
        print(f"a platform runs in {folder.root} already", file=sys.stderr)
        return ALREADY_RUNS
    _detach(folder.logs / "supervisor.log")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    try:
        end_leftovers(folder)
    except PlatformError as error:  # a damaged state file: what was left is not known
        _log.error("%s", error)
        folder.state_file.unlink()
    with lock:
        return Supervisor(folder, plan).run()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
