"""The tables of the guides that are marked as checked are whole and right."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydantic import SecretStr, TypeAdapter

from contracts.feeds import ACTS, FeedHandoff, Reply
from contracts.lifecycle import DeliveryDocument, Status, state_of
from contracts.profile_parts import Clocks, Step
from contracts.telling import Told
from contracts.vocabulary import TaskKind
from services.chassis.kept import Kept
from services.chassis.settings import ServiceSettings
from services.intake.domain.bodies import SubmissionBody
from services.notify.domain.deliveries import plan_callback
from services.notify.domain.replies import WORDS
from services.reporting.domain.public_view import public_view
from services.reporting.domain.words import QUEUE_NAMES
from services.triage.forms import Changes
from tests.unit.guides_code import DESK_FORMS, SETTINGS, apps, calls
from tests.unit.guides_text import first_cells, names, table
from tests.unit.triage_room import PROFILE, Room


def _room() -> Room:
    room = Room()
    room.open()
    return room


def _callback() -> dict[str, Any]:
    """The body of a callback as notify plans it."""
    event = _room().kept.events[0]
    case_no, now = event.data.case_no, event.data.recorded_at
    kept: Kept[DeliveryDocument] = Kept(DeliveryDocument("d", case_no), [], 0)
    plan_callback(
        kept,
        event,
        Told("accepted", False, "已受理"),
        now,
        callback_url="https://channel.example/steps",
        channel="app",
        unit=None,
        give_up_at=now,
    )
    body: dict[str, Any] = json.loads(kept.document.body or "{}")
    return body


def test_a_request_has_these_fields() -> None:
    assert first_cells("submission") == set(SubmissionBody.model_fields)


def test_the_feed_has_these_fields() -> None:
    assert first_cells("feed") == set(FeedHandoff.model_fields)


def test_a_callback_has_these_fields_and_steps() -> None:
    assert first_cells("callback") == set(_callback())
    rows = {row[0]: row[1] for row in table("callback")}
    steps = set(TypeAdapter(Step).json_schema()["enum"]) - {"received", "danger_ring"}
    assert set(names(rows["`step`"])) == steps


def test_a_lookup_has_these_fields_and_states() -> None:
    room = _room()
    shown = public_view(state_of(room.case_no, room.kept.events), PROFILE, is_blocked=True)
    assert first_cells("lookup") == set(shown)
    rows = {row[0]: row[1] for row in table("lookup")}
    assert set(names(rows["`status`, `status_name`"])) == {one.value for one in Status}


def test_departments_have_these_acts_fields_and_refusals() -> None:
    rows = {names(row[0])[0]: row[2] for row in table("acts")}
    assert set(rows) == set(ACTS)
    for act, kind in ACTS.items():
        told = set(names(re.sub(r"\(.*?\)", "", rows[act])))
        assert told == set(kind.model_fields) - set(Reply.model_fields) - {"act"}, act
    assert first_cells("refusals") == set(WORDS)


def test_the_desk_has_these_acts_and_fields() -> None:
    rows = {names(row[0])[0]: row for row in table("desk acts")}
    assert set(rows) == set(DESK_FORMS)
    for act, form in DESK_FORMS.items():
        parameters = calls()["POST", f"/v1/desk/cases/{{case_no}}/{act}"]
        assert ("*view*" in rows[act][0]) == ("if-match" in parameters), act
        own = rows[act][1].split(", and those of")[0]
        told = dict(re.findall(r"`(\w+)`(\??)", re.sub(r" \([^)]*\)", "", own)))
        fields = dict(form.model_fields) if form else {}
        if own != rows[act][1]:
            fields = {name: one for name, one in fields.items() if name not in Changes.model_fields}
        assert told == {name: "" if one.is_required() else "?" for name, one in fields.items()}, act


def test_the_desk_has_these_queues() -> None:
    told = {names(row[0])[0]: row[1] for row in table("tasks")}
    assert told == {kind.value: QUEUE_NAMES[kind] for kind in TaskKind}
    for row in table("tasks"):
        assert set(names(row[3])) <= {*DESK_FORMS, "sent"}, row


def _clocks(tier: str) -> Clocks:
    tiers = PROFILE.tiers
    return {"blue": tiers.blue, "orange": tiers.orange, "red": tiers.red}[tier].clocks


def test_the_clocks_are_those_of_the_profile() -> None:
    for tier, *minutes in table("citizen clocks"):
        clocks = _clocks(tier)
        expected = [clocks.seen, clocks.judged, clocks.handed_over, clocks.told]
        assert [int(cell) if cell else None for cell in minutes] == expected
    for tier, *minutes in table("department clocks"):
        clocks = _clocks(tier)
        expected = [clocks.signed, clocks.return_window, clocks.result]
        assert [int(cell) for cell in minutes] == expected


@pytest.mark.parametrize("service", SETTINGS)
def test_every_setting_is_told_with_its_default(service: str) -> None:
    kind = SETTINGS[service]
    shared = set() if kind is ServiceSettings else set(ServiceSettings.model_fields)
    told = {names(row[0])[0]: row[1].strip("`") for row in table(f"settings {service}")}
    own = {name: one for name, one in kind.model_fields.items() if name not in shared}
    assert set(told) == {f"JIEYOU_{name.upper()}" for name in own}
    for name, field in own.items():
        if name in {"instance", "model_folder"}:  # differ from machine to machine
            continue
        default = field.get_default(call_default_factory=True, validated_data={})
        if isinstance(default, SecretStr):
            default = default.get_secret_value()
        expected = "must be set" if field.is_required() else str(default)
        assert told[f"JIEYOU_{name.upper()}"] == expected, name


def test_every_metric_is_exported() -> None:
    apps()  # their modules register the metrics
    exported = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in REGISTRY.collect()
    }
    assert first_cells("metrics") <= exported
