"""The committed schemas and AsyncAPI document are current, valid, and readable with the last
release."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from contracts import asyncapi, generate, topics
from contracts.compatibility import breaks
from contracts.envelope import event_types

SCHEMAS = generate.schemas()


def test_committed_files_are_as_generated() -> None:
    assert generate.stale() == []


def test_schemas_are_readable_with_those_of_the_last_release() -> None:
    version, released = generate.last_release()
    assert [f"{version}: {one}" for one in breaks(released, SCHEMAS)] == []


def test_generation_gives_the_same_bytes_again() -> None:
    assert generate.generated() == generate.generated()


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_schema_is_a_valid_json_schema(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])


def test_every_event_type_has_a_schema() -> None:
    assert {f"events/{name}" for name in event_types()} <= SCHEMAS.keys()


def test_stale_missing_and_foreign_files_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "schemas", lambda: SCHEMAS)
    generate.write(tmp_path)
    assert generate.stale(tmp_path) == []
    (tmp_path / "asyncapi.yaml").write_text("asyncapi: 2.0.0\n")
    (tmp_path / "schemas/headers.json").unlink()
    (tmp_path / "schemas/events/case.gone.json").write_text("{}")
    assert generate.stale(tmp_path) == [
        "asyncapi.yaml is not as generated",
        "schemas/events/case.gone.json is not generated",
        "schemas/headers.json is missing",
    ]
    generate.write(tmp_path)
    assert generate.stale(tmp_path) == []


def test_a_release_is_frozen_once_and_only_if_readers_of_the_last_stay_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generate, "schemas", lambda: SCHEMAS)
    with pytest.raises(FileNotFoundError):
        generate.last_release(tmp_path)
    generate.release("0.9.0", tmp_path)
    generate.release("0.10.0", tmp_path)
    assert generate.last_release(tmp_path)[0] == "0.10.0"
    for version in ("0.10.0", "0.2.0", "next"):
        with pytest.raises(generate.ReleaseRefusedError):
            generate.release(version, tmp_path)
    fewer = dict(SCHEMAS)
    del fewer["events/case.opened"]
    monkeypatch.setattr(generate, "schemas", lambda: fewer)
    with pytest.raises(generate.ReleaseRefusedError, match=r"events/case\.opened"):
        generate.release("1.0.0", tmp_path)


def test_the_command_says_by_its_exit_code_whether_files_are_current(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main(["--check"]) == 0
    monkeypatch.setattr(generate, "stale", lambda: ["asyncapi.yaml is missing"])
    assert generate.main(["--check"]) == 1
    assert "asyncapi.yaml is missing" in capsys.readouterr().out
    assert generate.main(["--release", "next"]) == 1


DOCUMENT: dict[str, Any] = yaml.safe_load(
    (generate.FOLDER / "asyncapi.yaml").read_text(encoding="utf-8")
)


def _references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from _references(value)
    elif isinstance(part, list):
        for value in part:
            yield from _references(value)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    found = set(_references(DOCUMENT))
    assert len(found) > 100
    for reference in found:
        if reference.startswith("#/"):
            target = DOCUMENT
            for step in reference.removeprefix("#/").split("/"):
                target = target[step]
        else:
            content = json.loads((generate.FOLDER / reference).read_text(encoding="utf-8"))
            assert content["$schema"].endswith("2020-12/schema")


def test_every_topic_stands_in_the_asyncapi_document() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    addresses = {channel["address"]: channel for channel in DOCUMENT["channels"].values()}
    for spec in topics.all_topics(["health"]):
        address = spec.name.replace(".health.", ".{department}.")
        for service in topics.SERVICES:
            address = address.replace(f"dead-letters.{service}.", "dead-letters.{service}.")
        bound = addresses[address]["bindings"]["kafka"]
        assert bound["partitions"] == spec.partitions
        assert (
            ",".join(bound["topicConfiguration"]["cleanup.policy"])
            == (spec.config["cleanup.policy"])
        )


def test_every_message_is_on_one_channel_that_is_written_and_read() -> None:
    channels = DOCUMENT["channels"]
    placed = [name for channel in channels.values() for name in channel["messages"]]
    assert sorted(placed) == sorted(DOCUMENT["components"]["messages"])
    for name, channel in channels.items():
        used = [
            operation["action"]
            for operation in DOCUMENT["operations"].values()
            if operation["channel"]["$ref"] == f"#/channels/{name}"
        ]
        assert "send" in used
        assert "receive" in used or name == "dead-letters"
        for parameter in channel.get("parameters", {}):
            assert f"{{{parameter}}}" in channel["address"]


def test_one_service_writes_a_case_topic() -> None:
    writers = {"requests": "intake", "triage": "triage", "handling": "notify"}
    for channel, owner in writers.items():
        senders = [
            operation["tags"][0]["name"]
            for operation in asyncapi.document()["operations"].values()
            if operation["action"] == "send"
            and operation["channel"]["$ref"] == f"#/channels/{channel}"
        ]
        assert senders == [owner]
