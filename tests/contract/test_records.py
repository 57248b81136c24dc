"""Records: every event type there and back, what readers ignore, and what they refuse."""

import json
import traceback
from functools import cache
from typing import Any

import jsonschema
import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from contracts import feeds, ids, requests, triage
from contracts.envelope import (
    ContractError,
    Event,
    EventData,
    UnknownData,
    decode,
    event_types,
    headers_schema,
    parse,
    schema_of,
)
from contracts.policies import Policy
from contracts.vocabulary import without_personal
from tests.contract.histories import MARKER, PERSONAL_NUMBERS
from tests.contract.instances import filled, instances
from tests.contract.stories import history_from

TYPES = sorted(event_types())
ID = "6b1f0a2e-1111-5222-8333-444455556666"
TRACES = (MARKER, str(PERSONAL_NUMBERS[0]))
FEW = settings(max_examples=max(1, settings().max_examples // 15))
"""There is one such test for each event type, so each takes a share of the profile's examples."""


def _example() -> Event:
    return history_from(1, steps=0).events[0]


def _changed(event: Event, **fields: Any) -> bytes:
    return json.dumps({**json.loads(event.encoded), **fields}).encode()


@cache
def _validator(name: str) -> jsonschema.Draft202012Validator:
    schema = headers_schema() if name == "headers" else schema_of(event_types()[name])
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", TYPES)
@given(st.data())
@FEW
def test_an_event_comes_back_as_it_was_written(name: str, data: st.DataObject) -> None:
    event = Event.of(ID, data.draw(instances(event_types()[name])), "00-abc-def-01")
    read = parse(event.headers(), event.encoded)
    assert read == event
    assert read.data == event.data
    assert Event.of(read.id, read.data, read.traceparent).encoded == event.encoded
    _validator(name).validate(json.loads(event.encoded))
    _validator("headers").validate(event.headers())


@pytest.mark.parametrize("name", TYPES)
@given(st.data())
@FEW
def test_redaction_leaves_nothing_personal(name: str, data: st.DataObject) -> None:
    event = Event.of(ID, data.draw(filled(event_types()[name])))
    redacted = event.redacted()
    for trace in TRACES:
        assert trace.encode() not in redacted.encoded
    assert (redacted.id, redacted.type) == (event.id, event.type)
    assert redacted.key == event.key
    assert redacted.partition == event.partition
    assert redacted.data.rev == event.data.rev + 1
    assert parse(redacted.headers(), redacted.encoded) == redacted
    assert redacted.data == without_personal(event.data).model_copy(
        update={"rev": event.data.rev + 1}
    )


@pytest.mark.parametrize(
    "of", [requests.RequestSubmitted, triage.HandoffOrdered, triage.CaseAnswered]
)
def test_what_redaction_is_tried_on_is_full_of_personal_words(of: type[EventData]) -> None:
    assert _filled(of).encoded.count(MARKER.encode()) >= 1


def test_supplements_of_an_order_are_among_them() -> None:
    encoded = _filled(triage.HandoffOrdered).encoded.decode()
    assert f'"supplements":["{MARKER}"]' in encoded


def _filled(of: type[EventData]) -> Event:
    first = settings(database=None, phases=[Phase.generate], max_examples=1)
    return Event.of(ID, find(filled(of), lambda _: True, settings=first))


@pytest.mark.parametrize("name", TYPES)
def test_fields_that_a_reader_does_not_know_are_ignored(name: str) -> None:
    event = _filled(event_types()[name])
    assert decode(name, event.id, _changed(event, added_later={"deep": [1]})).data == event.data


def test_unknown_fields_of_nested_values_are_ignored_too() -> None:
    event = _example()
    request = {**json.loads(event.encoded)["request"], "added_later": 1}
    assert decode(event.type, event.id, _changed(event, request=request)).data == event.data


def test_an_unknown_type_is_kept_with_the_fields_that_all_events_have() -> None:
    event = _example()
    value = _changed(event, novel={"a": 1}, seq=7, document_id="d")
    headers = event.headers() | {"ce_type": "jieyou.case.invented_later"}
    read = parse(headers, value)
    assert read.type == "case.invented_later"
    assert isinstance(read.data, UnknownData)
    assert (read.data.case_no, read.data.seq, read.data.document_id) == (
        event.data.case_no, 7, "d",
    )  # fmt: skip
    assert read.encoded == value
    assert read.headers()["ce_type"] == headers["ce_type"]


def test_redacting_an_unknown_type_keeps_its_type_and_nothing_that_may_be_personal() -> None:
    event = _example()
    read = decode("case.invented_later", ID, _changed(event, novel=MARKER))
    redacted = read.redacted()
    assert redacted.type == "case.invented_later"
    assert redacted.data.rev == 1
    assert MARKER.encode() not in redacted.encoded
    assert parse(redacted.headers(), redacted.encoded) == redacted


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("ce_specversion", None),
        ("ce_specversion", "0.3"),
        ("ce_type", None),
        ("ce_type", "request.submitted"),
        ("ce_id", None),
        ("ce_id", "not a uuid"),
        ("ce_id", ID + "\n"),
        ("ce_subject", None),
        ("ce_subject", ids.case_number(b"s", "app", "another")),
    ],
)
def test_a_wrong_header_is_named(header: str, value: str | None) -> None:
    event = _example()
    headers = {k: v for k, v in event.headers().items() if k != header}
    if value is not None:
        headers[header] = value
    with pytest.raises(ContractError) as caught:
        parse(headers, event.encoded)
    assert caught.value.field == header


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"case_no": MARKER}, "case_no"),
        ({"lc": MARKER}, "lc"),
        ({"rev": -1}, "rev"),
        ({"seq": 0}, "seq"),
        ({"caused_by": MARKER}, "caused_by"),
        ({"occurred_at": "2022-01-11T08:00:00"}, "occurred_at"),
        ({"occurred_at": "0001-01-01T00:00:00+08:00"}, "occurred_at"),
        ({"request": {"text": 5, "channel": "app"}}, "request.text"),
        ({"request": {"text": MARKER}}, "request.channel"),
        ({"danger": [{"code": MARKER, "cause": "x", "start": 1}]}, "danger.0.end"),
    ],
)
def test_a_wrong_field_is_named_and_its_content_is_not(change: dict[str, Any], field: str) -> None:
    event = _example()
    with pytest.raises(ContractError) as caught:
        parse(event.headers(), _changed(event, **change))
    assert caught.value.field == field
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert MARKER not in shown


@pytest.mark.parametrize("value", [None, b"", b"{", b"\xff\xfe", b"[]", b'"\\ud800"', b"[" * 9_000])
def test_a_value_that_is_no_event_is_refused(value: bytes | None) -> None:
    with pytest.raises(ContractError) as caught:
        parse(_example().headers(), value)
    assert caught.value.field == "value"


def test_times_are_written_in_utc() -> None:
    event = _example()
    read = decode(event.type, ID, _changed(event, accepted_at="2022-01-11T16:00:00+08:00"))
    again = json.loads(Event.of(ID, read.data).encoded)
    assert again["accepted_at"] == "2022-01-11T08:00:00Z"


@given(instances(feeds.FeedHandoff))
@FEW
def test_a_feed_document_comes_back(handoff: feeds.FeedHandoff) -> None:
    assert feeds.FeedHandoff.model_validate_json(handoff.model_dump_json()) == handoff


@given(instances(Policy))
@FEW
def test_a_policy_comes_back(policy: Policy) -> None:
    assert Policy.model_validate_json(policy.model_dump_json()) == policy


@pytest.mark.parametrize("act", sorted(feeds.ACTS))
@given(st.data())
@FEW
def test_a_reply_comes_back_as_what_it_was(act: str, data: st.DataObject) -> None:
    reply = data.draw(instances(feeds.ACTS[act]))
    read = feeds.REPLY.validate_json(reply.model_dump_json())
    assert read == reply
    assert type(read) is feeds.ACTS[act]


def test_every_type_belongs_to_one_writer() -> None:
    owners: set[type[EventData]] = set(event_types().values())
    assert {of.owner for of in owners} == {"intake", "triage", "notify"}
    assert len(owners) == len(event_types())
