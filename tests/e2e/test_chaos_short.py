"""The short form of the chaos runs: each process killed once under load, one broker, poison in it.

The long form is `make chaos`; what it finds stands in docs/reliability.md.
"""

from pathlib import Path

import pytest

from tests.chaos import journal
from tests.chaos.short import accepted, run_short

GIVE_UP_SECONDS = 240


@pytest.mark.local_platform
@pytest.mark.timeout(GIVE_UP_SECONDS + 60)
def test_each_process_killed_under_load_with_poison_loses_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    results = run_short(tmp_path, within_s=GIVE_UP_SECONDS)
    struck = {one["fault"] for one in results["faults"] if one["recovery_s"] is not None}
    services = {f"kill-{name}" for name in ("intake", "triage", "notify", "reporting")}
    assert struck == {*services, "kill-broker", "kill-store"}
    assert results["totals"]["accepted"] == len(accepted(tmp_path))
    assert any(journal.read(tmp_path / "clients", journal.POISON)), "no poison was written"
