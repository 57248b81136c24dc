"""What a restore makes of a service's own topic, whatever stands there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from contracts import triage as t
from contracts.envelope import Event
from contracts.lifecycle import CaseDocument
from deploy.recovery.folding import Folded, folded
from deploy.recovery.own_events import OwnEvents
from services.chassis.bus import Record
from services.chassis.documents import Documents
from services.chassis.due import next_due
from services.chassis.store import Store
from tests.notify_story import NAME, CaseStory


class Unconnected:
    """A store that nothing is written to."""

    def collection(self, name: str) -> str:
        return name


CASES: Documents[CaseDocument] = Documents(
    cast(Store, Unconnected()), "cases", CaseDocument, next_due
)


def record(event: Event, offset: int, value: bytes | None = b"") -> Record:
    """An event as it stands on the topic; `value` instead of its own."""
    own = event.encoded if value == b"" else value
    return Record("triage.v1", event.partition, offset, event.key, own, event.headers(), 0)


def taken(records: Sequence[Record]) -> OwnEvents:
    own = OwnEvents()
    for one in records:
        own.take(one)
    return own


def restored(records: Sequence[Record], erased: frozenset[str] = frozenset()) -> Folded:
    [events] = list(taken(records).documents())
    document = folded(events, lambda _events: CASES, erased)
    assert document is not None
    return document


@pytest.fixture
def story() -> CaseStory:
    made = CaseStory(callback_url="http://127.0.0.1:1/told")
    made.opened()
    made.ordered("health")
    made.write(t.CaseSupplemented, text="在三单元")
    return made


def row_of(story: CaseStory) -> dict[str, Any]:
    return CASES.insertion(story.kept, owed_by_offset=True)


def test_the_row_is_that_of_the_owner_in_whatever_order_the_records_stand(
    story: CaseStory,
) -> None:
    records = [record(event, number) for number, event in enumerate(story.kept.events)]
    document = restored([*reversed(records), *records])
    assert document.row == row_of(story)
    assert document.row["published_through"] == document.row["version"] == len(records)
    assert document.row["pending_since"] is None
    assert document.flaw is None


def test_a_gap_ends_what_is_restored_and_is_named(story: CaseStory) -> None:
    first, _, last = (record(event, n) for n, event in enumerate(story.kept.events))
    document = restored([first, last])
    assert document.row["version"] == 1
    assert document.flaw is not None
    assert (document.flaw.restored_through, document.flaw.what) == (
        1,
        "seq 2 is missing, 3 is there",
    )
    nothing = restored([last])
    assert nothing.row == {}
    assert nothing.flaw is not None
    assert nothing.flaw.restored_through == 0


def test_two_events_of_one_seq_are_named_and_one_counts(story: CaseStory) -> None:
    first, second, _ = story.kept.events
    other = Event.of("0" * 8 + "-0000-0000-0000-" + "0" * 12, second.data)
    document = restored([record(first, 0), record(second, 1), record(other, 2)])
    assert document.row["events"][1]["id"] == second.id
    assert document.flaw is not None
    assert document.flaw.what == "two events have seq 2"


def test_of_two_contents_of_one_event_the_earliest_counts(story: CaseStory) -> None:
    first = story.kept.events[0]
    later = first.data.model_copy(update={"recorded_at": first.data.recorded_at.replace(year=2030)})
    for records in (
        [record(first, 0), record(Event.of(first.id, later), 1)],
        [record(Event.of(first.id, later), 0), record(first, 1)],
    ):
        own = taken(records)
        assert own.conflicting == 1
        assert [[one.encoded for one in events] for events in own.documents()] == [[first.encoded]]


def test_the_highest_revision_counts_wherever_it_stands(story: CaseStory) -> None:
    first = story.kept.events[0]
    for records in (
        [record(first, 0), record(first.redacted(), 1)],
        [record(first.redacted(), 0), record(first, 1)],
    ):
        own = taken(records)
        assert own.conflicting == 0
        assert [one.data.rev for events in own.documents() for one in events] == [1]


def test_of_an_erased_case_nothing_personal_is_restored(story: CaseStory) -> None:
    records = [record(event, n) for n, event in enumerate(story.kept.events)]
    assert NAME.encode() in restored(records).row["events"][0]["data"]
    document = restored(records, frozenset([story.case_no]))
    stored = [one["data"] for one in document.row["events"]]
    assert not any(NAME.encode() in data for data in stored)
    assert stored == [event.redacted().encoded for event in story.kept.events]
    assert document.row["redacted"] is True


def test_ticks_tombstones_and_what_breaks_the_contract_change_no_document(
    story: CaseStory,
) -> None:
    first, second, third = story.kept.events
    tick = Record("triage.v1", 0, 0, b"tick", b"{}", {}, 0)
    own = taken(
        [
            tick,
            record(first, 1),
            record(second, 2),
            record(second, 3, value=None),
            record(third, 4, value=b"{"),
            record(third, 5, value=b"[]"),
            record(third, 6, value=b'{"document_id": "x", "seq": 1}'),
        ]
    )
    assert [[one.id for one in events] for events in own.documents()] == [[first.id]]
    assert own.unreadable == [f"triage.v1-{third.partition}-{n}" for n in (4, 5, 6)]


def test_erased_cases_are_known_by_their_event(story: CaseStory) -> None:
    assert taken([record(story.kept.events[0], 0)]).cases_with(t.CaseErased.type) == set()
    erased = story.write(t.CaseErased, by="operator:ops")
    assert taken([record(erased, 0)]).cases_with(t.CaseErased.type) == {story.case_no}
