"""The short form as a test runs it: in a process of its own, ended whatever becomes of it."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.chaos import journal

_SEED, _RATE = 7, 5
_FEWEST_CASES = 50


def run_short(folder: Path, *arguments: str, within_s: float) -> dict[str, Any]:
    """Run it to a good end; return its results. Fails as an assertion, with what it printed."""
    command = [sys.executable, "-m", "tests.chaos", "--short", "--folder", str(folder)]
    chaos = subprocess.Popen(
        [*command, "--rate", str(_RATE), "--seed", str(_SEED), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = chaos.communicate(timeout=within_s)
    finally:
        if chaos.poll() is None:
            chaos.send_signal(signal.SIGTERM)
            chaos.wait(60)
    assert chaos.returncode == 0, output
    results: dict[str, Any] = json.loads((folder / "results.json").read_bytes())
    assert results["is_good"]
    assert len(accepted(folder)) >= _FEWEST_CASES, "too small a load to show anything"
    return results


def accepted(folder: Path) -> set[str]:
    """Return the cases that the clients of a run wrote down as accepted."""
    return {one["case_no"] for one in journal.read(folder / "clients", journal.ACCEPTED)}
