"""Every kind of change that breaks a reader is found; what readers ignore is not a break."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from contracts.compatibility import breaks
from contracts.generate import schemas

Schemas = dict[str, dict[str, Any]]
Change = Callable[[Schemas], object]

OPENED = "events/case.opened"
FEED = "feeds/handoff"
RELEASED = {
    name: of for name, of in schemas().items() if name in (OPENED, FEED) or name[:7] == "replies"
}


def _changed(change: Change) -> Schemas:
    changed = copy.deepcopy(RELEASED)
    change(changed)
    return changed


def _field(of: Schemas, schema: str, *path: str) -> dict[str, Any]:
    """Return a field of a schema; a first step that begins with a capital names a definition."""
    part = of[schema]
    if path[0][0].isupper():
        part, path = part["$defs"][path[0]], path[1:]
    for step in path:
        part = part["properties"][step]
    return part


def _remove(of: dict[str, Any], name: str) -> None:
    del of["properties"][name]
    of["required"] = [one for one in of.get("required", ()) if one != name]


def _rename(of: dict[str, Any], name: str, to: str) -> None:
    of["properties"][to] = of["properties"].pop(name)
    of["required"] = [to if one == name else one for one in of["required"]]


def _add(of: dict[str, Any], name: str, *, required: bool) -> None:
    of["properties"][name] = {"type": "string"}
    of["required"] = [*of.get("required", ()), *([name] if required else ())]


BREAKS: dict[str, tuple[Change, str, str]] = {
    "a removed event type": (lambda s: s.pop(OPENED), "", "is removed"),
    "a removed field": (
        lambda s: _remove(s[OPENED], "decision"), "decision", "removed or renamed",
    ),
    "a removed optional field": (
        lambda s: _remove(s[OPENED], "supersedes"), "supersedes", "removed or renamed",
    ),
    "a renamed field": (
        lambda s: _rename(s[OPENED], "accepted_at", "taken_at"), "accepted_at", "renamed",
    ),
    "a removed field of a nested value": (
        lambda s: _remove(s[OPENED]["$defs"]["Contact"], "phone"), "request.contact.phone", "remov",
    ),
    "a new required field": (
        lambda s: _add(s[OPENED], "novel", required=True), "novel", "new and required",
    ),
    "a field that becomes required": (
        lambda s: s[OPENED]["required"].append("supersedes"), "supersedes", "required now",
    ),
    "a required field that may be missing": (
        lambda s: s[OPENED]["required"].remove("decision"), "decision", "may be missing now",
    ),
    "another type": (
        lambda s: _field(s, OPENED, "lc").update(type="number"), "lc", "type changes",
    ),
    "a narrowed type": (
        lambda s: _field(s, OPENED, "supersedes")["anyOf"].pop(), "supersedes", "alternative",
    ),
    "a widened type": (
        lambda s: _field(s, OPENED, "seq")["anyOf"].append({"type": "string"}),
        "seq",
        "new alternative",
    ),
    "a lost value of an enum": (
        lambda s: s[OPENED]["$defs"]["Tier"]["enum"].remove("red"), "decision.tier", "no longer",
    ),
    "a new value of an enum": (
        lambda s: s[OPENED]["$defs"]["Tier"]["enum"].append("violet"),
        "decision.tier",
        "takes violet, which the released reader refuses",
    ),
    "an enum that becomes a text": (
        lambda s: s[OPENED]["$defs"]["Tier"].pop("enum"), "decision.tier", "enum in one",
    ),
    "another pattern": (
        lambda s: _field(s, OPENED, "case_no").update(pattern="^[0-9]+$"), "case_no", "pattern",
    ),
    "a new pattern": (
        lambda s: _field(s, OPENED, "document_id").update(pattern="^x"), "document_id", "pattern",
    ),
    "a narrowed bound": (
        lambda s: _field(s, OPENED, "lc").update(minimum=2), "lc", "records that are kept",
    ),
    "a widened bound": (
        lambda s: _field(s, OPENED, "lc").update(minimum=0), "lc", "the released reader refuses",
    ),
    "a new upper bound": (
        lambda s: _field(s, OPENED, "lc").update(maximum=9), "lc", "records that are kept",
    ),
    "another format": (
        lambda s: _field(s, OPENED, "occurred_at").update(format="date"), "occurred_at", "format",
    ),
    "another const": (
        lambda s: _field(s, "replies/sign", "act").update(const="signed"), "act", "const",
    ),
    "another default": (
        lambda s: _field(s, FEED, "binding").update(default=True), "binding", "meant False",
    ),
    "members of another kind": (
        lambda s: _field(s, OPENED, "settles")["items"].update(type="integer"),
        "settles[]",
        "type changes",
    ),
    "a new field where the released reader refuses unknown ones": (
        lambda s: _add(s["replies/sign"], "novel", required=False), "novel", "refuses other fields",
    ),
    "a personal field that is marked no more": (
        lambda s: _field(s, OPENED, "RequestContent", "text").pop("x-personal"),
        "request.text",
        "personal",
    ),
    "an object that takes no other fields any more": (
        lambda s: s[OPENED].update(additionalProperties=False), "", "additionalProperties",
    ),
    "a lost kind of reply": (
        lambda s: s["replies/any"]["oneOf"].pop(), "", "lost or changed",
    ),
    "a new kind of reply": (
        lambda s: s["replies/any"]["oneOf"].append({"type": "object"}), "", "new alternative",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", sorted(BREAKS))
def test_a_change_that_breaks_a_reader_is_found(kind: str) -> None:
    change, field, why = BREAKS[kind]
    found = breaks(RELEASED, _changed(change))
    assert any(one.field == field and why in one.why for one in found), found


def _add_event_type(of: Schemas) -> None:
    of["events/case.novel"] = copy.deepcopy(of[OPENED])


IGNORED: dict[str, Change] = {
    "a new event type": _add_event_type,
    "a new optional field": lambda s: _add(s[OPENED], "novel", required=False),
    "a new optional field of a nested value": (
        lambda s: _add(s[OPENED]["$defs"]["Decision"], "novel", required=False)
    ),
    "another description": lambda s: s[OPENED].update(description="other words"),
    "alternatives in another order": (lambda s: _field(s, OPENED, "supersedes")["anyOf"].reverse()),
    "a definition under another name": lambda s: _move_definition(s[OPENED], "Tier", "Level"),
    "nothing": lambda s: None,
}


def _move_definition(of: dict[str, Any], name: str, to: str) -> None:
    of["$defs"][to] = of["$defs"].pop(name)
    renamed = json.dumps(of).replace(f'"#/$defs/{name}"', f'"#/$defs/{to}"')
    of.update(json.loads(renamed))


@pytest.mark.parametrize("kind", sorted(IGNORED))
def test_a_change_that_readers_ignore_is_no_break(kind: str) -> None:
    assert breaks(RELEASED, _changed(IGNORED[kind])) == []


def test_a_break_says_where_and_why() -> None:
    found = breaks(RELEASED, _changed(BREAKS["a removed field"][0]))
    assert [str(one) for one in found] == ["events/case.opened: decision: is removed or renamed"]
