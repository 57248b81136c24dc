"""The supervisor with small stand-in processes: order, restarts, refusals, and no orphans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from deploy.local import child, control, ports
from deploy.local.errors import PlatformError
from deploy.local.folders import PlatformFolder
from deploy.local.plan import ProcessSpec, Readiness
from deploy.local.state import (
    Condition,
    Identity,
    PlatformState,
    ProcessState,
    read_state,
)
from deploy.local.supervisor import end_leftovers

# Serves /health/ready and notes when it came and, told to stop, went.
_STAND_IN = """
import http.server, os, signal, sys
name, port, diary = sys.argv[1], int(sys.argv[2]), sys.argv[3]
def note(what):
    descriptor = os.open(diary, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, f"{what} {name}\\n".encode())
def leave(*_):
    note("stopped")
    os._exit(0)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/health/ready" else 404)
        self.end_headers()
    def log_message(self, *_):
        pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
signal.signal(signal.SIGTERM, leave)
note("started")
server.serve_forever()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[PlatformFolder]:
    """A platform folder; whatever runs in it is stopped after the test."""
    made = PlatformFolder(tmp_path / "platform")
    made.create()
    yield made
    control.stop(made)


@pytest.fixture
def stand_in(tmp_path: Path) -> Callable[[str, int], ProcessSpec]:
    """Makes specs of stand-in services of a stage."""
    script = tmp_path / "stand_in.py"
    script.write_text(_STAND_IN, encoding="utf-8")
    taken: set[int] = set()

    def make(name: str, stage: int) -> ProcessSpec:
        port = ports.choose(taken=taken)
        taken.add(port)
        command = [sys.executable, str(script), name, str(port), str(tmp_path / "diary")]
        return ProcessSpec(name, command, stage, Readiness.HTTP, f"http://127.0.0.1:{port}")

    return make


def python(code: str, name: str = "odd", **fields: object) -> ProcessSpec:
    """A task of the first stage that runs some Python."""
    return ProcessSpec(
        name,
        [sys.executable, "-c", code],
        stage=1,
        readiness=Readiness.ENDED,
        **fields,  # type: ignore[arg-type]
    )


def diary(tmp_path: Path) -> list[str]:
    """What the stand-ins noted."""
    return (tmp_path / "diary").read_text(encoding="utf-8").splitlines()


def until(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait for a condition; fail when it does not come."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
        time.sleep(0.02)


def identity(folder: PlatformFolder, name: str) -> Identity | None:
    """Who runs under a name, as the state file says."""
    state = read_state(folder.state_file)
    assert state is not None
    return next(one.identity for one in state.processes if one.name == name)


def test_starts_stage_by_stage_and_stops_in_reverse(
    folder: PlatformFolder, stand_in: Callable[[str, int], ProcessSpec], tmp_path: Path
) -> None:
    control.start(folder, [stand_in("service", 2), stand_in("bus", 1)])
    assert [one.is_healthy for one in control.report(folder)] == [True, True]
    assert control.stop(folder)
    assert diary(tmp_path) == [
        "started bus",
        "started service",
        "stopped service",
        "stopped bus",
    ]
    assert control.running(folder) is None
    assert not control.stop(folder)


def test_a_killed_child_comes_back_and_is_counted(
    folder: PlatformFolder, stand_in: Callable[[str, int], ProcessSpec]
) -> None:
    control.start(folder, [stand_in("service", 1), stand_in("other", 1)])
    before = identity(folder, "service")
    other = identity(folder, "other")
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: identity(folder, "service") not in (None, before))
    until(lambda: all(one.is_healthy for one in control.report(folder)))
    assert {one.name: one.restarts for one in control.report(folder)} == {"service": 1, "other": 0}
    assert identity(folder, "other") == other


def test_a_child_that_keeps_dying_is_given_longer_and_longer_pauses(
    folder: PlatformFolder, stand_in: Callable[[str, int], ProcessSpec]
) -> None:
    control.start(folder, [stand_in("service", 1)])

    def kill_and_time() -> float:
        victim = identity(folder, "service")
        assert victim is not None
        began = time.monotonic()
        os.kill(victim.pid, signal.SIGKILL)
        until(lambda: identity(folder, "service") not in (None, victim))
        return time.monotonic() - began

    pauses = [kill_and_time() for _ in range(4)]
    assert pauses[3] > 2 * pauses[0]


def test_a_killed_supervisor_leaves_no_orphan_and_can_be_started_again(
    folder: PlatformFolder, stand_in: Callable[[str, int], ProcessSpec]
) -> None:
    plan = [stand_in("bus", 1), stand_in("service", 2)]
    state = control.start(folder, plan)
    children = [one.identity for one in state.processes if one.identity is not None]
    assert len(children) == 2
    os.kill(state.supervisor.pid, signal.SIGKILL)
    until(lambda: all(one.process() is None for one in children), within_s=5.0)
    with pytest.raises(PlatformError, match="no platform runs"):
        control.report(folder)
    control.start(folder, plan)
    assert all(one.is_healthy for one in control.report(folder))


def test_a_second_supervisor_of_a_folder_is_refused(
    folder: PlatformFolder, stand_in: Callable[[str, int], ProcessSpec]
) -> None:
    first = control.start(folder, [stand_in("service", 1)])
    with pytest.raises(PlatformError, match=r"runs in .* already") as refused:
        control.start(folder, [stand_in("service", 1)])
    assert refused.value.exit_code == 3
    still = control.running(folder)
    assert still is not None
    assert still.supervisor == first.supervisor


def test_what_cannot_start_ends_the_start_in_one_line_with_its_last_words(
    folder: PlatformFolder, stand_in: Callable[[str, int], ProcessSpec], tmp_path: Path
) -> None:
    broken = python("import sys; sys.exit('no bread today')")
    with pytest.raises(PlatformError, match="odd ended 3 times: no bread today") as failed:
        control.start(folder, [stand_in("bus", 0), broken])
    assert "\n" not in str(failed.value)
    assert diary(tmp_path) == ["started bus", "stopped bus"]
    assert control.running(folder) is None


def test_a_wrong_setting_is_not_tried_again(folder: PlatformFolder, tmp_path: Path) -> None:
    tried = tmp_path / "tried"
    code = f"import sys; open({str(tried)!r}, 'a').write('x'); print('JIEYOU_X: no'); sys.exit(2)"
    with pytest.raises(PlatformError, match="JIEYOU_X: no"):
        control.start(folder, [python(code)])
    assert tried.read_text(encoding="utf-8") == "x"


def test_what_is_not_ready_in_time_ends_the_start(folder: PlatformFolder) -> None:
    with pytest.raises(PlatformError, match="odd was not ready after 1 s"):
        control.start(folder, [python("import time; time.sleep(60)", ready_within_s=1.0)])


def test_what_ignores_sigterm_is_killed_after_its_grace(folder: PlatformFolder) -> None:
    port = ports.choose()
    code = (
        "import signal, socket, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"server = socket.create_server(('127.0.0.1', {port}))\nwhile True: server.accept()"
    )
    spec = ProcessSpec(
        "deaf",
        [sys.executable, "-c", code],
        1,
        Readiness.LISTENS,
        f"127.0.0.1:{port}",
        grace_s=0.5,
    )
    state = control.start(folder, [spec])
    deaf = state.processes[0].identity
    assert deaf is not None
    began = time.monotonic()
    assert control.stop(folder)
    assert 0.5 <= time.monotonic() - began < 8.0
    assert deaf.process() is None


def test_leftovers_are_ended_by_pid_and_start_time_only(folder: PlatformFolder) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(60)"]
    leftover, stranger = subprocess.Popen(sleeper), subprocess.Popen(sleeper)
    try:
        known = Identity.of(leftover.pid)
        reused = Identity(stranger.pid, Identity.of(stranger.pid).started_at - 3600)
        PlatformState(
            Identity(known.pid, 0.0),
            processes=[
                ProcessState("a", None, "ended", "", Condition.READY, known),
                ProcessState("b", None, "ended", "", Condition.READY, reused),
            ],
        ).write(folder.state_file)
        end_leftovers(folder)
        assert known.process() is None
        assert stranger.poll() is None
    finally:
        for process in (leftover, stranger):
            process.kill()
            process.wait()


def test_a_damaged_state_file_is_named_in_one_line(folder: PlatformFolder) -> None:
    folder.state_file.write_text("{", encoding="utf-8")
    with pytest.raises(PlatformError, match=r"state\.json is damaged"):
        control.running(folder)
    folder.state_file.unlink()


def test_where_the_kernel_does_not_help_a_closed_pipe_ends_the_program(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = (
        f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    )
    watch = (
        "import sys; from deploy.local.child import watch_and_run;"
        "sys.exit(watch_and_run(sys.argv[1:]))"
    )
    watcher = subprocess.Popen(
        [sys.executable, "-c", watch, sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        cwd=Path(child.__file__).parents[2],
    )
    until(lambda: pid_file.is_file() and pid_file.read_text(encoding="utf-8") != "")
    pid = int(pid_file.read_text(encoding="utf-8"))
    assert psutil.pid_exists(pid)
    assert watcher.stdin is not None
    watcher.stdin.close()
    assert watcher.wait(5) == 128 + signal.SIGKILL
    assert not psutil.pid_exists(pid)
