"""The guides name only what there is, and their examples do what they say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from typer.main import get_command
from typer.testing import CliRunner

from contracts.feeds import ACTS, FeedHandoff
from contracts.ids import case_number
from contracts.profile import load_profile
from deploy.cli import make_app
from examples.department_consumer import Inbox
from examples.department_consumer import reply as written_reply
from services.chassis.clock import SystemClock
from services.intake.domain import bodies
from services.notify.domain.webhooks import printed, receiver_key, signed_headers
from tests.unit.guides_code import BODIES, DESK_FORMS, SECRET, SETTINGS, calls
from tests.unit.guides_text import GUIDES, ROOT, calls_named, curls, documents, fits

_COMMANDS_KNOW = {"JIEYOU_HOME", "JIEYOU_CACHE", "JIEYOU_DEBUG", "JIEYOU_CLOCK_SKEW_SECONDS"}
_TESTS_KNOW = {
    *("JIEYOU_CRASH_AT", "JIEYOU_TEST_BROKER"),
    *("JIEYOU_TEST_KAFKA_IMAGE", "JIEYOU_TEST_MONGO_IMAGE"),
}


def test_there_is_a_guide_for_each_reader() -> None:
    assert set(GUIDES) == {"channel", "department", "desk", "operator"}


def test_every_call_in_the_guides_exists() -> None:
    for name, text in GUIDES.items():
        for method, written in calls_named(text):
            assert any(method in ("", known) and fits(written, path) for known, path in calls()), (
                f"{name}: {method} {written}"
            )


def test_every_call_is_in_a_guide() -> None:
    everything = "\n".join(GUIDES.values())
    case = "/v1/desk/cases/{case_no}"
    for _, path in calls():
        last = path.rpartition("/")[2]
        is_desk_act = path == f"{case}/{last}" and f"| `{last}`" in GUIDES["desk"]
        is_reply = last in ACTS and f"| `{last}`" in GUIDES["department"]
        said = path.replace("{id_}", "{id}")
        assert is_desk_act or is_reply or f"{said}`" in everything or f"{said}?" in everything, path


def test_the_curl_examples_call_what_exists_with_headers_and_bodies_that_are_taken() -> None:
    against = bodies.CheckedAgainst(load_profile("zhoukou"), False, SystemClock().now())
    examples = [line for text in GUIDES.values() for line in curls(text)]
    assert len(examples) >= 6
    for line in examples:
        written = re.search(r"http://127\.0\.0\.1:\d+(/[^\s?\"]+)", line)
        body = re.search(r"-d '(.*)'", line)
        assert written is not None, line
        method = "POST" if body else "GET"
        path = next(p for m, p in calls() if m == method and fits(written[1], p))
        headers = {one.lower() for one in re.findall(r'-H "([\w-]+):', line)}
        assert headers <= calls()[method, path] | {"authorization", "content-type"}, line
        if body is None:
            continue
        if path == "/v1/requests":
            bodies.SubmissionBody.model_validate_json(body[1], context=against)
        elif path in BODIES:
            BODIES[path].model_validate_json(body[1])
        else:
            ids = {"reply_id": "r", "handoff_id": "h"}
            ACTS[path.rpartition("/")[2]].model_validate({**json.loads(body[1]), **ids})


def test_every_variable_in_the_documents_is_known() -> None:
    known = _COMMANDS_KNOW | _TESTS_KNOW
    for kind in SETTINGS.values():
        for name, field in kind.model_fields.items():
            known.add(f"JIEYOU_{name.upper()}")
            if field.annotation is SecretStr:
                known.add(f"JIEYOU_{name.upper()}_FILE")
    for path, text in documents():
        for name in re.findall(r"\bJIEYOU_[A-Z_]*[A-Z]\b", text):
            assert name in known, f"{path.name}: {name}"


def test_every_command_and_option_in_the_guides_exists() -> None:
    app: Any = get_command(make_app())
    for name, text in GUIDES.items():
        for written in re.findall(r"(?<![\w.-])jieyou ([a-z][^`\n#|;()]*)", text):
            assert written.split()[0] in app.commands, f"{name}: jieyou {written}"
            command = _command(app, written)
            assert set(re.findall(r"--[a-z-]+", written)) <= _options(command), (name, written)


def test_every_command_is_in_the_operators_table_with_options_that_it_has() -> None:
    app: Any = get_command(make_app())
    told = set()
    for row in re.findall(r"\| (`jieyou .*)", GUIDES["operator"].split("## Settings")[0]):
        written = re.findall(r"`jieyou ([\w -]+)`", row)[0]
        told.add(written.split()[0])
        assert set(re.findall(r"`(--[a-z-]+)", row)) <= _options(_command(app, written)), written
    assert told == set(app.commands)


def _command(app: Any, written: str) -> Any:
    command = app
    for word in written.split():
        command = getattr(command, "commands", {}).get(word, command)
    return command


def _options(command: Any) -> set[str]:
    return {option for one in command.params for option in (*one.opts, *one.secondary_opts)}


def test_every_link_between_documents_leads_somewhere() -> None:
    broken = [
        f"{path.relative_to(ROOT)}: {target}"
        for path, text in documents()
        for target in re.findall(r"\]\((?!https?://|#)([^)#\s]+)", text)
        if not (path.parent / target).exists()
    ]
    assert broken == []


def test_the_check_of_signatures_that_receivers_copy_is_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDES["channel"], re.DOTALL)
    defined: dict[str, Any] = {}
    exec(code, defined)
    is_signed: Callable[[str, dict[str, str], bytes], bool] = defined["is_signed"]
    monkeypatch.setattr("time.time", lambda: 1_642_480_000)
    key, body = receiver_key(bytes.fromhex(SECRET), "channel", "app"), '{"text":"您好"}'.encode()
    headers = signed_headers(key, "m-1", 1_642_479_999, body)
    assert is_signed(printed(key), headers, body)
    assert not is_signed(printed(key), headers, body + b" ")
    assert not is_signed(printed(receiver_key(b"other", "channel", "app")), headers, body)
    assert not is_signed(printed(key), signed_headers(key, "m-1", 1_642_479_000, body), body)


def test_the_command_that_prints_a_receivers_key_prints_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "`jieyou keys webhook channel app`" in GUIDES["operator"]
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    monkeypatch.setenv("JIEYOU_WEBHOOK_SECRET_FILE", str(secret))
    said = CliRunner().invoke(make_app(), ["keys", "webhook", "channel", "app"])
    assert said.exit_code == 0, said.output
    assert said.output.strip() == printed(receiver_key(bytes.fromhex(SECRET), "channel", "app"))


def _handoff(version: int, state: str) -> dict[str, Any]:
    """A hand-off as it comes by the feed."""
    handoff = FeedHandoff.model_validate(
        {
            "handoff_id": "h-1",
            "version": version,
            "state": state,
            "case_no": case_number(b"secret", "app", "1"),
            "department": "health",
            "role": "lead",
            "round": 0,
            "attempt": 1,
            "category": "medical",
            "tier": "red",
            "ordered_at": "2022-01-18T08:00:00Z",
        }
    )
    content: dict[str, Any] = json.loads(handoff.model_dump_json(exclude_none=True))
    return content


def test_the_example_keeps_the_newest_version_whatever_comes_again_or_late(tmp_path: Path) -> None:
    path = str(tmp_path / "inbox.sqlite")
    with closing(Inbox(path)) as inbox:
        assert inbox.take(_handoff(1, "sent"))
        assert not inbox.take(_handoff(1, "sent"))
        assert inbox.take(_handoff(4, "in_progress"))
        assert not inbox.take(_handoff(2, "signed"))
    with closing(Inbox(path)) as inbox:
        assert [one["version"] for one in inbox.open_handoffs()] == [4]
        assert inbox.take(_handoff(5, "resolved"))
        assert inbox.open_handoffs() == []


def test_the_example_keeps_nothing_of_a_citizen_who_was_erased(tmp_path: Path) -> None:
    with closing(Inbox(str(tmp_path / "inbox.sqlite"))) as inbox:
        known = {**_handoff(4, "in_progress"), "text": "楼道灯坏了"}
        erased = {**_handoff(4, "in_progress"), "erased": True}
        assert inbox.take(known)
        assert inbox.take(erased)
        assert not inbox.take(erased)
        assert not inbox.take(known)
        assert inbox.open_handoffs() == [erased]


def test_the_example_writes_replies_that_notify_reads() -> None:
    handoff = _handoff(1, "sent")
    signed = ACTS["sign"].model_validate_json(written_reply(handoff, "sign", "sign-h-1"))
    assert (signed.handoff_id, signed.reply_id) == ("h-1", "sign-h-1")
    said = written_reply(handoff, "return", "r-1", ground="不属本单位", proper_department="police")
    assert ACTS["return"].model_validate_json(said).reply_id == "r-1"


def test_the_desks_forms_are_those_of_its_calls() -> None:
    case = "/v1/desk/cases/{case_no}/"
    assert {p.removeprefix(case) for _, p in calls() if p.startswith(case)} == set(DESK_FORMS)
