"""Settings: right ones are read, a wrong one ends in one line that names it and tells no secret."""

import os
from pathlib import Path

import pytest

from services.chassis.settings import HexSecret, ServiceSettings, load

SECRET = "0f" * 32


class ExampleSettings(ServiceSettings):
    case_secret: HexSecret


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith("JIEYOU_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("JIEYOU_CASE_SECRET", SECRET)
    return monkeypatch


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as caught:
        load(ExampleSettings)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1, "not one line"
    return captured.err


def test_values_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JIEYOU_KAFKA_URL", "k1.example:9092,k2.example:9093")
    monkeypatch.setenv("JIEYOU_PORT", "8801")
    monkeypatch.setenv("JIEYOU_INSTANCE", "intake-1")
    settings = load(ExampleSettings)
    assert settings.kafka_url == "k1.example:9092,k2.example:9093"
    assert settings.port == 8801
    assert settings.instance == "intake-1"
    assert settings.case_secret.get_secret_value() == SECRET


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JIEYOU_PORT", "")
    assert load(ExampleSettings).port == 0


def test_a_secret_is_read_from_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET + "\n")
    monkeypatch.delenv("JIEYOU_CASE_SECRET")
    monkeypatch.setenv("JIEYOU_CASE_SECRET_FILE", str(tmp_path / "secret"))
    assert load(ExampleSettings).case_secret.get_secret_value() == SECRET


def test_the_url_of_the_store_may_hold_a_password_and_comes_from_a_file_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text("mongodb://user:pass-word@store:27017")
    monkeypatch.setenv("JIEYOU_MONGO_URL_FILE", str(tmp_path / "url"))
    settings = load(ExampleSettings)
    assert settings.mongo_url.get_secret_value() == "mongodb://user:pass-word@store:27017"
    assert "pass-word" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("JIEYOU_PORT", "eighty"),
        ("JIEYOU_PORT", "70000"),
        ("JIEYOU_KAFKA_URL", "localhost"),
        ("JIEYOU_KAFKA_URL", "localhost:9092, other:9092"),
        ("JIEYOU_KAFKA_URL", "localhost:99999"),
        ("JIEYOU_MONGO_URL", "http://store"),
        ("JIEYOU_LOG_LEVEL", "LOUD"),
        ("JIEYOU_INSTANCE", "two words"),
        ("JIEYOU_PUBLISH_TIMEOUT_SECONDS", "0"),
        ("JIEYOU_STOP_TIMEOUT_SECONDS", "soon"),
        ("JIEYOU_BODY_LIMIT_BYTES", "1"),
        ("JIEYOU_CASE_SECRET", "too-short-to-be-secret"),
    ],
)
def test_a_wrong_value_is_named_and_not_shown_when_secret(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    variable: str,
    value: str,
) -> None:
    monkeypatch.setenv(variable, value)
    line = refusal(capsys)
    assert f"{variable}: " in line
    assert ";" in line, "no fix is told"
    if variable in {"JIEYOU_CASE_SECRET", "JIEYOU_MONGO_URL"}:
        assert value not in line


def test_several_wrong_values_are_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JIEYOU_PORT", "x")
    monkeypatch.setenv("JIEYOU_LOG_LEVEL", "x")
    assert "1 more after this one" in refusal(capsys)


def test_a_missing_secret_is_named_with_both_ways_to_give_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JIEYOU_CASE_SECRET")
    line = refusal(capsys)
    assert "JIEYOU_CASE_SECRET: is not set" in line
    assert "JIEYOU_CASE_SECRET_FILE" in line


def test_an_unreadable_secret_file_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("JIEYOU_CASE_SECRET")
    monkeypatch.setenv("JIEYOU_CASE_SECRET_FILE", str(tmp_path / "missing"))
    assert "JIEYOU_CASE_SECRET_FILE: the file cannot be read" in refusal(capsys)


def test_a_secret_given_twice_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text(SECRET)
    monkeypatch.setenv("JIEYOU_CASE_SECRET_FILE", str(tmp_path / "secret"))
    assert "unset one of them" in refusal(capsys)


def test_no_secret_shows_in_the_settings_shown() -> None:
    assert SECRET not in repr(load(ExampleSettings))
