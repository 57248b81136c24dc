"""The short form of the chaos runs: each process killed once under load, one broker, poison in it.

The long form is `make chaos`; what it finds stands in docs/reliability.md.
"""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos import journal

GIVE_UP_SECONDS = 240


@pytest.mark.local_platform
@pytest.mark.timeout(GIVE_UP_SECONDS + 60)
def test_each_process_killed_under_load_with_poison_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--short", "--rate", "5", "--seed", "7"]
    chaos = subprocess.Popen(
        [*command, "--folder", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = chaos.communicate(timeout=GIVE_UP_SECONDS)
    finally:
        if chaos.poll() is None:
            chaos.send_signal(signal.SIGTERM)
            chaos.wait(60)
    assert chaos.returncode == 0, output

    results = json.loads((tmp_path / "results.json").read_bytes())
    assert results["is_good"]
    struck = {one["fault"] for one in results["faults"] if one["recovery_s"] is not None}
    services = {f"kill-{name}" for name in ("intake", "triage", "notify", "reporting")}
    assert struck == {*services, "kill-broker", "kill-store"}
    accepted = {one["case_no"] for one in journal.read(tmp_path / "clients", journal.ACCEPTED)}
    assert len(accepted) >= 50, "too small a load to show anything"
    assert results["totals"]["accepted"] == len(accepted)
    assert any(journal.read(tmp_path / "clients", journal.POISON)), "no poison was written"
