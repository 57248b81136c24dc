"""Following an erasure: what counts as done, under which key it is asked, how long Kafka keeps."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest

from contracts.envelope import ContractError, removal_headers
from contracts.lifecycle import Phase, state_of
from contracts.triage import CaseErased
from deploy.commands.erase import ask_if_open, case_number_of
from deploy.erasure.erasing import Fading, key_of
from deploy.erasure.personal import event_holds_person, record_holds_person
from deploy.erasure.showing import as_document, counts_of, fades_by
from deploy.erasure.watch import Look, Spot
from deploy.local.errors import PlatformError
from services.chassis.batches import read_event
from services.chassis.bus import Record
from services.chassis.letters_of import names_in
from tests.contract.histories import MARKER, History
from tests.contract.stories import history_from

EVENT, ROW = Spot("triage", "triage.v1", "e"), Spot("notify", "handoffs", "h")
ALL: dict[str, int | None] = {"intake": 1, "triage": 2, "notify": 1}


def look(history: History, *, passes: dict[str, int | None], **spots: bool) -> Look:
    return Look(
        history.case_no,
        state_of(history.case_no, history.events),
        {EVENT: spots.get("event", False), ROW: spots.get("row", False)},
        passes,
        {"replies.health.v1": (2, 1_642_480_000_000)},
        frozenset({Spot("notify", "dead-letters.notify.v1", "l")}),
    )


def some_history(*, erased: bool) -> History:
    found = (history_from(seed, erased=erased) for seed in range(100))
    return next(one for one in found if one.is_erased == erased)


def test_it_is_done_when_it_is_decided_and_everybody_went_through_it_and_nothing_is_left() -> None:
    erased = some_history(erased=True)
    assert look(erased, passes=ALL).is_done
    assert not look(erased, passes={**ALL, "notify": 0}).is_done
    assert not look(erased, passes={**ALL, "intake": None}).is_done
    assert not look(erased, passes=ALL, row=True).is_done
    assert not look(some_history(erased=False), passes=ALL).is_done


def test_it_is_asked_anew_only_where_something_came_up_after_it() -> None:
    open_case, erased = some_history(erased=False), some_history(erased=True)
    before = key_of(look(open_case, passes=ALL))
    assert before == key_of(look(open_case, passes={**ALL, "triage": 0}))
    assert before.endswith("-0")
    asked = sum(e.type == "erasure.requested" for e in look(erased, passes=ALL).state.timeline)
    assert key_of(look(erased, passes=ALL)).endswith(f"-{asked}")


def test_what_is_counted_and_told_holds_nothing_personal() -> None:
    shown = look(some_history(erased=True), passes=ALL, event=True)
    assert counts_of(shown, "triage") == {"redacted": 0, "copies": 0, "waiting": 1}
    assert counts_of(shown, "notify") == {"redacted": 0, "copies": 2, "waiting": 0}
    fading = Fading(timedelta(hours=30), {"replies.health.v1": timedelta(days=21)})
    until = fades_by(shown, fading)
    assert until["replies.health.v1"] == datetime(2022, 2, 8, 4, 26, 40, tzinfo=UTC)
    assert MARKER not in str(as_document(shown, fading))


def test_what_holds_a_person_is_told_by_the_marks_of_the_contract() -> None:
    history = some_history(erased=True)
    first = {event.id: event for event in reversed(history.events)}
    assert any(event_holds_person(event) for event in first.values())
    for event in first.values():
        assert MARKER not in event.encoded.decode() or event_holds_person(event)
        assert not event_holds_person(event.redacted())
    decided = next(e for e in first.values() if isinstance(e.data, CaseErased))
    headers, place = decided.headers(), ("triage.v1", decided.partition, 0, decided.key)
    assert not record_holds_person(Record(*place, decided.encoded, headers, 0))
    assert record_holds_person(Record(*place, b"{", headers, 0)), "it may, nobody can tell"
    assert not record_holds_person(Record(*place, None, headers, 0))


def test_what_takes_an_unreadable_record_off_is_no_dead_letter_in_turn() -> None:
    headers = removal_headers("0CRJD9Z9PJ0F2")
    assert read_event(Record("handling.v1", 0, 0, b"k", None, headers, 0)) is None
    with pytest.raises(ContractError):
        read_event(Record("handling.v1", 0, 0, b"k", None, {}, 0))
    with pytest.raises(ContractError):
        read_event(Record("handling.v1", 0, 0, b"k", b"{}", headers, 0))


def test_names_in_a_letter_are_found_wherever_they_stand() -> None:
    history = some_history(erased=True)
    id_ = history.events[0].id
    assert names_in(f"A{history.case_no}Z {id_}x".encode()) >= {history.case_no, id_}


def test_an_open_case_is_erased_only_by_somebody_who_is_sure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    looks = [look(history_from(seed, steps=8), passes=ALL) for seed in range(60)]
    by_phase = {one.state.case.phase: one for one in looks if one.state.case and not one.erased}
    shown = by_phase[Phase.ORDERED]
    ask_if_open(shown, is_sure=True)
    assert "尚未归档" in capsys.readouterr().err
    with pytest.raises(PlatformError, match="--yes"):
        ask_if_open(shown, is_sure=False)
    capsys.readouterr()
    ask_if_open(look(some_history(erased=True), passes=ALL), is_sure=False)
    ask_if_open(by_phase[Phase.CLOSED], is_sure=False)
    assert capsys.readouterr().err == ""


def test_what_is_no_case_number_is_told_in_one_line() -> None:
    with pytest.raises(PlatformError, match="not a case number"):
        case_number_of("0CRJD9Z9PJ0F3")
    assert case_number_of("ocrj-d9z9-pj0f-2") == "0CRJD9Z9PJ0F2"
