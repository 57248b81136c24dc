"""API keys: hashed at rest, found by token, shut out once revoked."""

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.chassis.keys import KeyFile, KeyFileError, KeyKind, new_key


class Ticks:
    """A monotonic clock that stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_token_is_found_and_the_file_holds_only_its_hash(tmp_path: Path) -> None:
    token, record = new_key("channel", "zhoukou-app")
    keys = KeyFile(tmp_path / "keys.json")
    keys.save([record])

    found = KeyFile(keys.path)
    found.load()
    assert found.find(token) == record
    assert token.startswith(f"jy_channel_{record.id}_")
    text = keys.path.read_text()
    assert token not in text
    assert token.rsplit("_", 1)[1] not in text
    assert set(json.loads(text)["keys"][0]) == {
        "id", "kind", "name", "sha256", "created_at", "revoked_at",
    }  # fmt: skip


def test_the_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path / "keys.json")
    keys.save([new_key(KeyKind.DESK, "d1")[1]])
    assert stat.S_IMODE(keys.path.stat().st_mode) == 0o600


def test_wrong_tokens_are_refused(tmp_path: Path) -> None:
    token, record = new_key("department", "health")
    other, _ = new_key("department", "health")
    keys = KeyFile(tmp_path / "keys.json")
    keys.save([record])
    swapped = token.replace("department", "operator")
    wrong_secret = token[:-1] + ("0" if token[-1] != "0" else "1")
    for bad in ("", "jy", token + "0", token[:-1], other, swapped, wrong_secret, token.upper()):
        assert keys.find(bad) is None, bad
    assert keys.find("jy_department_" + "é" * 77) is None


def test_a_revoked_key_is_shut_out_without_a_restart(tmp_path: Path) -> None:
    ticks = Ticks()
    token, record = new_key("channel", "app")
    keys = KeyFile(tmp_path / "keys.json", monotonic=ticks)
    keys.save([record])
    assert keys.find(token) is not None

    KeyFile(keys.path).save([record.model_copy(update={"revoked_at": datetime.now(UTC)})])
    ticks.now += 1.1
    assert keys.find(token) is None


def test_the_file_is_looked_at_no_more_than_once_a_second(tmp_path: Path) -> None:
    ticks = Ticks()
    token, record = new_key("channel", "app")
    keys = KeyFile(tmp_path / "keys.json", monotonic=ticks)
    keys.save([record])
    KeyFile(keys.path).save([])
    ticks.now += 0.5
    assert keys.find(token) is not None
    ticks.now += 0.6
    assert keys.find(token) is None


def test_a_broken_file_leaves_the_last_good_keys_in_force(tmp_path: Path) -> None:
    ticks = Ticks()
    token, record = new_key("channel", "app")
    keys = KeyFile(tmp_path / "keys.json", monotonic=ticks)
    keys.save([record])
    keys.path.write_text("{")
    os.utime(keys.path, ns=(1, 1))
    ticks.now += 2
    assert keys.find(token) == record
    assert keys.trouble is not None
    assert "keys.json" in keys.trouble
    keys.save([record])
    assert keys.trouble is None


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (None, "cannot be read"),
        ("{}", "keys"),
        ('{"keys":[{"id":"x"}]}', "keys.0"),
    ],
)
def test_an_unusable_file_is_one_line_that_names_it(
    tmp_path: Path, content: str | None, named: str
) -> None:
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(KeyFileError) as caught:
        KeyFile(path).load()
    message = str(caught.value)
    assert str(path) in message
    assert named in message
    assert "\n" not in message


def test_two_keys_with_one_id_are_refused(tmp_path: Path) -> None:
    _, record = new_key("reader", "board")
    keys = KeyFile(tmp_path / "keys.json")
    with pytest.raises(KeyFileError, match="two keys have one id"):
        keys.save([record, record])


def test_names_and_hashes_do_not_show_in_the_record_shown() -> None:
    _, record = new_key("operator", "op1")
    assert record.sha256 not in repr(record)
