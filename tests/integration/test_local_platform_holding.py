"""Services of the local platform held: ended, not started again, and released."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local import control, holding, ports
from deploy.local.errors import PlatformError
from deploy.local.folders import PlatformFolder
from deploy.local.plan import ProcessSpec, Readiness
from deploy.local.state import ProcessState, read_state

# Serves /health/ready, unless a file says that it cannot, and /health/live.
_STAND_IN = """
import http.server, pathlib, sys
port, sick = int(sys.argv[1]), pathlib.Path(sys.argv[2])
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        is_ready = self.path == "/health/live" or not sick.exists()
        self.send_response(200 if is_ready else 503)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""
# Holds a service and says so, until it is killed.
_HOLDER = """
import sys, time
from pathlib import Path
from deploy.local import holding
from deploy.local.folders import PlatformFolder
with holding.held(PlatformFolder(Path(sys.argv[1])), ["triage"]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[PlatformFolder]:
    made = PlatformFolder(tmp_path / "platform")
    made.create()
    yield made
    control.stop(made)


@pytest.fixture
def plan(tmp_path: Path) -> list[ProcessSpec]:
    script = tmp_path / "stand_in.py"
    script.write_text(_STAND_IN, encoding="utf-8")
    taken: list[int] = []
    specs = []
    for name in ("triage-1", "triage-2", "notify-1"):
        taken.append(ports.choose(taken=taken))
        command = [sys.executable, str(script), str(taken[-1]), str(tmp_path / f"{name}.sick")]
        address = f"http://127.0.0.1:{taken[-1]}"
        specs.append(
            ProcessSpec(name, command, 1, Readiness.HTTP, address, ready_within_s=3.0, grace_s=5.0)
        )
    return specs


def states(folder: PlatformFolder) -> dict[str, ProcessState]:
    state = read_state(folder.state_file)
    return {one.name: one for one in state.processes} if state is not None else {}


def conditions(folder: PlatformFolder) -> dict[str, str]:
    return {one.name: one.condition for one in control.report(folder)}


def until(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def all_ready(folder: PlatformFolder) -> bool:
    return set(conditions(folder).values()) == {"ready"}


def test_a_held_service_ends_and_stays_so_and_the_others_do_not_notice(
    folder: PlatformFolder, plan: list[ProcessSpec]
) -> None:
    control.start(folder, plan)
    before = states(folder)
    with holding.held(folder, ["triage"]) as held:
        assert [one.name for one in held] == ["triage-1", "triage-2"]
        assert all(one.identity is None for one in held)
        assert conditions(folder) == {"triage-1": "held", "triage-2": "held", "notify-1": "ready"}
        time.sleep(0.5)  # longer than the pause after which a dead process is started again
        assert states(folder)["triage-1"].identity is None
    until(lambda: all_ready(folder))
    after = states(folder)
    assert after["notify-1"].identity == before["notify-1"].identity
    assert after["triage-1"].identity not in (None, before["triage-1"].identity)
    assert {one.restarts for one in after.values()} == {0}


def test_one_command_holds_a_service_and_who_was_killed_holds_it_until_the_next(
    folder: PlatformFolder, plan: list[ProcessSpec]
) -> None:
    control.start(folder, plan)
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder.root)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with (
        pytest.raises(PlatformError, match=f"held by another command .pid {holder.pid}"),
        holding.held(folder, ["triage"]),
    ):
        pass
    assert holding.release_abandoned(folder) == []
    holder.kill()
    holder.wait()
    assert conditions(folder)["triage-1"] == "held"
    with holding.held(folder, ["triage"]) as held:
        assert len(held) == 2
    until(lambda: all_ready(folder))


def test_a_platform_starts_without_what_is_held_and_starts_it_when_it_is_released(
    folder: PlatformFolder, plan: list[ProcessSpec]
) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder.root)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    control.start(folder, plan)
    assert conditions(folder) == {"triage-1": "held", "triage-2": "held", "notify-1": "ready"}
    holder.kill()
    holder.wait()
    assert holding.release_abandoned(folder) == ["triage"]
    until(lambda: all_ready(folder))


def test_a_platform_starts_though_a_service_lives_and_is_not_ready(
    folder: PlatformFolder, plan: list[ProcessSpec], tmp_path: Path
) -> None:
    sick = tmp_path / "triage-1.sick"
    sick.touch()
    control.start(folder, plan)
    healthy = {one.name: one.is_healthy for one in control.report(folder)}
    assert healthy == {"triage-1": False, "triage-2": True, "notify-1": True}
    sick.unlink()
    until(lambda: all_ready(folder))
