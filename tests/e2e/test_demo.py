"""The demonstration from its start to its exit code, with every process killed once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from deploy.local.folders import PlatformFolder
from deploy.local.state import ProcessState, read_state
from tests.servers.own import Kind, for_a_platform, kind

REQUESTS = 90
SERVICES = ("intake-1", "triage-1", "notify-1", "reporting-1")
# In containers broker and store are not the supervisor's to bring back.
KILLED = SERVICES if kind() is Kind.CONTAINERS else ("kafka", "store", *SERVICES)
GIVE_UP_SECONDS = 240


def lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a journal, but for one that is being written."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines(True) if "\n" in line]


@contextmanager
def demo(home: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A demonstration as a process of its own, stopped at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.cli", "demo", *options],
        env={**os.environ, "JIEYOU_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def processes(folder: PlatformFolder) -> dict[str, ProcessState]:
    """The processes of the platform as its supervisor last wrote them down."""
    state = read_state(folder.state_file)
    return {one.name: one for one in state.processes} if state is not None else {}


def kill(folder: PlatformFolder, name: str) -> None:
    """Kill a process at once, the very one that the supervisor started."""
    identity = processes(folder)[name].identity
    process = identity.process() if identity is not None else None
    assert process is not None, f"{name} does not run"
    process.send_signal(signal.SIGKILL)


def wait_until_told(folder: PlatformFolder, messages: int, running: subprocess.Popen[str]) -> None:
    """Return when so many messages have reached the citizens, or the demonstration has ended."""
    deadline = time.monotonic() + GIVE_UP_SECONDS
    while len(lines(folder.root / "clients" / "told.jsonl")) < messages:
        if running.poll() is not None:
            return
        assert time.monotonic() < deadline, "the play does not get on"
        time.sleep(0.1)


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_double_though_every_process_is_killed(tmp_path: Path) -> None:
    folder = PlatformFolder(tmp_path / "demo")
    options = ("--limit", str(REQUESTS), "--timeout", str(GIVE_UP_SECONDS))
    with for_a_platform(tmp_path / "servers"), demo(tmp_path, *options) as running:
        for number, name in enumerate(KILLED, start=1):
            wait_until_told(folder, number * 25, running)
            assert running.poll() is None, "it was over before everything was killed"
            kill(folder, name)
        output, _ = running.communicate(timeout=GIVE_UP_SECONDS + 60)
    assert running.returncode == 0, output
    restarted = {name for name, one in processes(folder).items() if one.restarts}
    assert restarted >= set(KILLED), output

    accepted = lines(folder.root / "clients" / "accepted.jsonl")
    assert len({one["case_no"] for one in accepted}) == len(accepted) == REQUESTS
    told = lines(folder.root / "clients" / "told.jsonl")
    assert max(Counter(one["event_id"] for one in told).values()) == 1
    closed = {one["case_no"] for one in told if one["step"] == "closed"}
    assert closed == {one["case_no"] for one in told}
    assert "与日志重新计数完全一致" in output
    assert f"渠道收到回执 {REQUESTS} = 日志受理 {REQUESTS} = 归档 {REQUESTS}" in output


def test_a_folder_that_is_no_demonstrations_is_left_alone(tmp_path: Path) -> None:
    theirs = tmp_path / "demo" / "letters.txt"
    theirs.parent.mkdir()
    theirs.write_text("mine", encoding="utf-8")
    with demo(tmp_path) as running:
        output, _ = running.communicate(timeout=60)
    assert running.returncode == 1
    assert "is not a demonstration's folder" in output
    assert len(output.strip().splitlines()) == 1
    assert theirs.read_text(encoding="utf-8") == "mine"
