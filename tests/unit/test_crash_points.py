"""Crash points: what arms them, what they do, and that the table and the code name the same."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.chassis.crash_points import POINTS, VARIABLE, UnknownPoint, arm, armed, crash_point

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def disarmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test arms is armed in that test alone."""
    monkeypatch.delenv(VARIABLE, raising=False)
    arm()


def test_nothing_happens_at_a_point_that_is_not_armed() -> None:
    assert armed() == ()
    for name in POINTS:
        crash_point(name)


@pytest.mark.parametrize("times", [1, 3])
def test_the_process_is_killed_the_time_that_was_named(times: int) -> None:
    code = (
        "from services.chassis.crash_points import arm, crash_point\n"
        "arm()\n"
        "for number in range(1, 6):\n"
        "    print(number, flush=True)\n"
        "    crash_point('batch.saved')\n"
        "    crash_point('batch.decided')\n"
    )
    told = "batch.saved" if times == 1 else f"batch.saved:{times}"
    ended = subprocess.run(
        [sys.executable, "-c", code],
        env={VARIABLE: told, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == -signal.SIGKILL
    assert ended.stdout.split() == [str(number) for number in range(1, times + 1)]


@pytest.mark.parametrize("told", ["batch.svaed", "batch.saved:0", "batch.saved:often"])
def test_what_is_no_point_is_refused_in_one_line(
    told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, told)
    with pytest.raises(UnknownPoint) as refused:
        arm()
    assert "\n" not in str(refused.value)
    assert VARIABLE in str(refused.value)


def test_a_service_does_not_start_with_a_point_that_there_is_not() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "services.reporting"],
        env={VARIABLE: "reporting.nowhere", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"jieyou: {VARIABLE}: there is no reporting.nowhere")
    assert len(ended.stderr.splitlines()) == 1


def test_the_table_and_the_code_name_the_same_points() -> None:
    named = [
        name
        for path in (ROOT / "services").rglob("*.py")
        if path.name != "crash_points.py"
        for name in re.findall(r'crash_point\(\s*"([^"]+)"\s*\)', path.read_text("utf-8"))
    ]
    assert set(named) == set(POINTS)
