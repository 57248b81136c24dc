"""The envelope: headers, key, partition, and the register of event types."""

import json
from datetime import UTC, datetime
from typing import ClassVar

import pytest

from contracts import ids
from contracts.envelope import Event, EventData, event_types, parse, register
from contracts.requests import SupplementGiven, WithdrawalRequested
from contracts.topics import partition_for
from contracts.vocabulary import Contact, Location, without_personal

CASE = ids.case_number(b"s", "app", "1")
ID = ids.event_id(CASE, CASE, "supplement.given", "command:1")
AT = datetime(2022, 1, 11, 8, 30, tzinfo=UTC)


def _event(text: str | None = "more") -> Event:
    data = SupplementGiven(
        case_no=CASE,
        document_id=CASE,
        lc=1,
        caused_by="command:1",
        occurred_at=AT,
        recorded_at=AT,
        text=text,
    )
    return Event.of(ID, data, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")


def test_headers_are_those_of_cloudevents_in_binary_mode() -> None:
    assert _event().headers() == {
        "ce_specversion": "1.0",
        "ce_id": ID,
        "ce_source": "/jieyou/intake",
        "ce_type": "jieyou.supplement.given",
        "ce_time": "2022-01-11T08:30:00Z",
        "ce_subject": CASE,
        "ce_dataschema": "urn:jieyou:schema:supplement.given:1",
        "content-type": "application/json",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }


def test_no_header_holds_what_the_citizen_wrote() -> None:
    assert "more" not in json.dumps(_event().headers())


def test_key_is_the_event_and_partition_the_case() -> None:
    assert _event().key == ID.encode()
    assert _event().partition == partition_for(CASE)


def test_the_value_is_frozen_json_without_nulls() -> None:
    assert json.loads(_event().encoded) == {
        "case_no": CASE,
        "document_id": CASE,
        "lc": 1,
        "rev": 0,
        "caused_by": "command:1",
        "round": 0,
        "occurred_at": "2022-01-11T08:30:00Z",
        "recorded_at": "2022-01-11T08:30:00Z",
        "text": "more",
    }


def test_bytes_that_were_read_are_kept_as_they_are() -> None:
    spaced = json.dumps(json.loads(_event().encoded), indent=2).encode()
    assert parse(_event().headers(), spaced).encoded == spaced


def test_redacting_twice_counts_twice() -> None:
    twice = _event().redacted().redacted()
    assert twice.data.rev == 2
    assert b"more" not in twice.encoded
    assert twice.id == ID


def test_values_inside_values_are_redacted() -> None:
    location = Location(address="somewhere", lat=33.6, lon=114.7)
    assert without_personal((location, Contact(name="n"))) == (Location(), Contact())


def test_a_type_is_registered_once() -> None:
    class Nameless(EventData):
        """Has no type."""

    class Again(EventData):
        """Takes a name that stands already."""

        type: ClassVar[str] = WithdrawalRequested.type

    for wrong in (Nameless, Again):
        with pytest.raises(ValueError, match="empty or stands twice"):
            register("triage", wrong)
    assert event_types()[WithdrawalRequested.type] is WithdrawalRequested


def test_the_register_cannot_be_changed_from_outside() -> None:
    event_types().clear()
    assert event_types()
