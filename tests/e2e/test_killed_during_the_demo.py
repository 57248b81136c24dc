"""kill -9 of any process during the demo: nothing is lost, nothing is double, the demo ends well."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local import control
from deploy.local.folders import PlatformFolder

REQUESTS = 120
SECONDS = 240
VICTIMS = ("intake-1", "triage-1", "notify-1", "reporting-1", "store", "kafka")


def wait_until(
    condition: Callable[[], bool], seconds: float, process: subprocess.Popen[str]
) -> bool:
    """Wait for a condition; False when the demo ended first."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.1)
    raise TimeoutError("the condition did not come about")


def pid_of(folder: PlatformFolder, name: str) -> int | None:
    """The process id of one process of a running platform."""
    state = control.running(folder)
    for one in state.processes if state else []:
        if one.name == name and one.identity is not None and one.identity.process() is not None:
            return one.identity.pid
    return None


def accepted(folder: PlatformFolder) -> int:
    """How many requests the simulated citizens know to be accepted."""
    journal = folder.root / "clients" / "accepted.jsonl"
    return journal.read_bytes().count(b"\n") if journal.is_file() else 0


def is_healthy(folder: PlatformFolder, name: str) -> bool:
    """Whether a process answers."""
    return any(one.name == name and one.is_healthy for one in control.report(folder))


@pytest.mark.timeout(420)
def test_each_process_killed_once_during_one_demo(tmp_path: Path) -> None:
    folder = PlatformFolder(tmp_path / "home" / "demo")
    command = [sys.executable, "-m", "deploy.cli", "demo"]
    demo = subprocess.Popen(
        [*command, "--limit", str(REQUESTS), "--timeout", str(SECONDS)],
        env={**os.environ, "JIEYOU_HOME": str(tmp_path / "home"), "COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    killed: list[str] = []
    try:
        assert wait_until(lambda: accepted(folder) >= 10, 120, demo), "the demo ended too early"
        for victim in VICTIMS:
            pid = pid_of(folder, victim)
            if pid is None:
                continue
            os.kill(pid, signal.SIGKILL)
            killed.append(victim)

            def is_back(name: str = victim, old: int = pid) -> bool:
                return pid_of(folder, name) not in (None, old) and is_healthy(folder, name)

            if not wait_until(is_back, 60, demo):
                break
        output, _ = demo.communicate(timeout=SECONDS + 60)
    finally:
        demo.kill()
        control.stop(folder)
    assert demo.returncode == 0, output[-4_000:]
    assert set(killed) == set(VICTIMS), f"the demo was over before all were killed: {killed}"
