"""What the platform keeps on disk: jars, secrets, keys, logs, and the ports it chooses."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from contracts.profile import load_profile
from deploy.local import credentials, jars, log_files, platform, ports
from deploy.local.errors import PlatformError
from deploy.local.folders import PlatformFolder
from services.chassis.keys import KeyFile


@pytest.fixture
def folder(tmp_path: Path) -> PlatformFolder:
    """An empty platform folder."""
    made = PlatformFolder(tmp_path / "platform")
    made.create()
    return made


def test_a_jar_with_another_digest_is_refused_in_one_line(tmp_path: Path) -> None:
    lock = tmp_path / "jars.lock"
    lock.write_text(f"org.example:bread:1.0 sha256:{'0' * 64}\n", encoding="utf-8")
    (tmp_path / "kafka-jars").mkdir()
    (tmp_path / "kafka-jars" / "bread-1.0.jar").write_bytes(b"not bread")
    with pytest.raises(PlatformError, match=r"bread-1\.0\.jar has sha256 .*make setup") as refused:
        jars.ensure_jars(lock, cache=tmp_path)
    assert "\n" not in str(refused.value)


def test_a_jar_that_is_not_in_the_lock_leaves_the_class_path(tmp_path: Path) -> None:
    lock = tmp_path / "jars.lock"
    lock.write_text("# none\n", encoding="utf-8")
    (tmp_path / "kafka-jars").mkdir()
    stray = tmp_path / "kafka-jars" / "stray-1.0.jar"
    stray.touch()
    jars.ensure_jars(lock, cache=tmp_path)
    assert not stray.exists()


def test_a_damaged_lock_is_named_with_its_line(tmp_path: Path) -> None:
    lock = tmp_path / "jars.lock"
    lock.write_text("# jars\norg.example:bread sha256:12\n", encoding="utf-8")
    with pytest.raises(PlatformError, match=r"jars\.lock line 2"):
        jars.read_lock(lock)


def test_secrets_and_keys_are_made_once_and_private(folder: PlatformFolder) -> None:
    profile = load_profile("zhoukou")
    credentials.ensure_secrets(folder)
    credentials.ensure_keys(folder, profile)
    files = [*folder.secrets.iterdir(), folder.keys_file]
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    before = {file: file.read_bytes() for file in files}
    credentials.ensure_secrets(folder)
    credentials.ensure_keys(folder, profile)
    assert {file: file.read_bytes() for file in files} == before
    assert len(bytes.fromhex((folder.secrets / "case_secret").read_text().strip())) == 32


def test_every_channel_and_department_gets_a_key_that_works(folder: PlatformFolder) -> None:
    profile = load_profile("zhoukou")
    credentials.ensure_keys(folder, profile)
    tokens = credentials.read_tokens(folder)
    assert set(tokens["channel"]) == {channel.code for channel in profile.channels}
    assert set(tokens["department"]) == {one.code for one in profile.departments}
    assert set(tokens) == {"channel", "department", "desk", "supervisor", "operator", "reader"}
    key_file = KeyFile(folder.keys_file)
    for kind, named in tokens.items():
        for name, token in named.items():
            record = key_file.find(token)
            assert record is not None
            assert (record.kind.value, record.name) == (kind, name)
            assert token not in folder.keys_file.read_text(encoding="utf-8")


def test_a_revoked_key_does_not_come_back(folder: PlatformFolder) -> None:
    profile = load_profile("zhoukou")
    credentials.ensure_keys(folder, profile)
    key_file = KeyFile(folder.keys_file)
    first, *others = key_file.load()
    key_file.save([first.model_copy(update={"revoked_at": datetime.now(UTC)}), *others])
    credentials.ensure_keys(folder, profile)
    assert len(KeyFile(folder.keys_file).load()) == len(others) + 1


def test_a_log_is_bounded_while_its_process_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "service.log"
    with path.open("ab", buffering=0) as log:  # as the process has it open
        for text in (b"first" * 10, b"second" * 10, b"third" * 10, b"fourth" * 10):
            log.write(text)
            log_files.bound(path, largest_bytes=40)
        log.write(b"\xff now\n\n")
    assert path.read_bytes() == b"\xff now\n\n"
    assert (tmp_path / "service.log.1").read_bytes() == b"fourth" * 10
    assert (tmp_path / "service.log.2").read_bytes() == b"third" * 10
    assert not (tmp_path / "service.log.3").exists()
    assert log_files.last_line(path) == "\ufffd now"


def test_a_taken_port_is_not_chosen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        assert not ports.is_free(taken)
        assert ports.choose([taken]) != taken
    assert ports.choose([taken]) == taken
    assert ports.choose([taken], taken=[taken]) != taken


def test_the_plan_of_a_platform_scales_services_with_ports_of_their_own(
    folder: PlatformFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JIEYOU_KAFKA_URL", "127.0.0.1:1")
    monkeypatch.setenv("JIEYOU_MONGO_URL", "mongodb://127.0.0.1:2")
    options = platform.PlatformOptions(scale={"triage": 2, "notify": 0})
    plan = platform.plan(folder, options)
    assert [spec.name for spec in plan] == [
        "topics",
        "intake-1",
        "triage-1",
        "triage-2",
        "reporting-1",
    ]
    addresses = [spec.address for spec in plan if spec.address]
    assert len(set(addresses)) == 4
    # What servers somebody else gave holds by inheritance and is not written anywhere.
    assert not any("JIEYOU_MONGO_URL" in spec.environment for spec in plan)


def test_an_unknown_service_is_refused_in_one_line(folder: PlatformFolder) -> None:
    with pytest.raises(PlatformError, match="--scale bakery: there is no such service"):
        platform.plan(folder, platform.PlatformOptions(scale={"bakery": 1}))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["up", "--profile", "atlantis"], "no such profile"),
        (["keys", "revoke", "000000000000"], "there is no live key"),
        (["status"], "no platform runs"),
    ],
)
def test_errors_of_the_command_are_one_line(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JIEYOU_HOME", str(tmp_path))
    ended = subprocess.run(
        [sys.executable, "-m", "deploy.cli", *arguments],
        text=True,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert says in ended.stderr
