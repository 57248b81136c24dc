"""The databases of triage and notify, dropped under load one after the other and restored.

The run is one of `python -m tests.chaos`: its check knows nothing of the services and reads what
clients, departments and citizens wrote down, and the log.
"""

from pathlib import Path

import pytest

from tests.chaos.short import run_short

GIVE_UP_SECONDS = 400


@pytest.mark.long
@pytest.mark.local_platform
@pytest.mark.timeout(GIVE_UP_SECONDS + 60)
def test_a_database_lost_in_the_middle_of_a_run_costs_no_case_and_doubles_nothing(
    tmp_path: Path,
) -> None:
    faults = ["lose-triage", "lose-notify"]
    results = run_short(tmp_path, "--only", *faults, within_s=GIVE_UP_SECONDS)
    restored = {one["name"]: one for one in results["faults"]}
    assert set(restored) == set(faults)
    for one in restored.values():
        assert one["recovery_s"] is not None
        assert int(one["note"].split()[0]) >= 20, "too little was lost to show anything"
    logs = "".join(path.read_text("utf-8") for path in (tmp_path / "logs").glob("*-1.log"))
    for service in ("triage", "notify"):
        assert f"the database is gone; run `jieyou restore {service}`" in logs
