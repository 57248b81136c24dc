"""Batches are applied once and whole, whatever is repeated, broken or lost on the way."""

import random
from dataclasses import replace
from datetime import timedelta

import pytest

from contracts.envelope import TICK_KEY, Event, UnknownData
from contracts.lifecycle import CaseState, state_of
from contracts.requests import RequestSubmitted
from contracts.topics import CASE_PARTITIONS, REQUESTS, TRIAGE, partition_for
from contracts.triage import CaseErased
from services.chassis.store import Stale, StoreUnavailable
from services.reporting import handlers
from services.reporting.domain.known_case import KnownCase, Taken
from services.reporting.handlers import Applier, Closed
from services.reporting.recount import differences, figures_of, totals_of
from tests.contract.histories import MARKER
from tests.unit.reporting_room import (
    Log,
    MemoryProjection,
    PutAsideList,
    batches,
    history,
    state,
)
from tests.unit.reporting_tale import Tale


def applier(
    keeps: MemoryProjection, letters: PutAsideList | None = None, cached: int = 1_000
) -> Applier:
    return Applier(keeps, letters or PutAsideList(), cached)


def recounted(keeps: MemoryProjection) -> list[CaseState]:
    return [state_of(n, known.events.values()) for n, known in keeps.cases.items()]


@pytest.mark.parametrize("cached", [1, 1_000])
@pytest.mark.parametrize("seed", range(4))
async def test_figures_equal_a_recount_after_every_batch(seed: int, cached: int) -> None:
    chance = random.Random(seed)
    made = [history(10 * seed + n) for n in range(5)]
    events = [event for one in made for event in one.events]
    chance.shuffle(events)
    log, keeps = Log(), MemoryProjection()
    records = [log.append(event) for event in [*events, *chance.sample(events, 40)]]
    applying = applier(keeps, cached=cached)

    for batch in batches(records, chance):
        await applying.apply(batch)
        if chance.random() < 0.3:
            await applying.apply(batch)
        assert differences(keeps.counted(), figures_of(recounted(keeps))) == []

    assert differences(keeps.counted(), figures_of(state(one) for one in made)) == []
    assert keeps.cases.keys() == {one.case_no for one in made}


async def test_what_is_delivered_again_is_skipped_without_a_write() -> None:
    log, keeps = Log(), MemoryProjection()
    records = [log.append(event) for event in history(1).events]
    await applier(keeps).apply(records)
    writes = keeps.writes

    await applier(keeps).apply(records)

    assert keeps.writes == writes == 1


async def test_after_a_write_of_unknown_outcome_memory_is_not_trusted() -> None:
    log, keeps = Log(), MemoryProjection()
    made = history(2)
    records = [log.append(event) for event in made.events]
    applying = applier(keeps)
    await applying.apply(records[:5])
    keeps.fails = [StoreUnavailable("did not answer")]
    with pytest.raises(StoreUnavailable):
        await applying.apply(records[5:9])

    await applying.apply(records[5:])

    assert keeps.counted() == figures_of([state(made)])
    assert keeps.reads > 0


async def test_a_batch_is_applied_anew_when_another_process_went_on() -> None:
    log, keeps = Log(), MemoryProjection()
    made = history(3)
    records = [log.append(event) for event in made.events]
    zombie, other = applier(keeps), applier(keeps)
    await zombie.apply(records[:4])
    await other.apply(records[:12])

    await zombie.apply(records[4:])

    assert keeps.counted() == figures_of([state(made)])


async def test_who_never_gets_through_gives_the_batch_back() -> None:
    log, keeps = Log(), MemoryProjection()
    keeps.fails = [Stale("moved on") for _ in range(10)]
    with pytest.raises(Stale):
        await applier(keeps).apply([log.append(history(4).events[0])])


async def test_an_unreadable_record_is_put_aside_and_its_neighbours_are_applied() -> None:
    log, keeps, letters = Log(), MemoryProjection(), PutAsideList()
    broken, well = history(5), history(6)
    event = broken.events[0]
    bad = log.record(REQUESTS, event.partition, event.key, b"{", event.headers())
    records = [bad, *(log.append(e) for one in (broken, well) for e in one.events)]

    await applier(keeps, letters).apply(records)

    assert letters.letters == [(bad.origin, "breaks the contract at value")]
    assert keeps.counted() == figures_of([state(broken), state(well)])


async def test_a_record_on_a_partition_that_is_not_its_cases_is_put_aside() -> None:
    log, keeps, letters = Log(), MemoryProjection(), PutAsideList()
    event = history(8).events[0]
    wrong = (partition_for(event.data.case_no) + 1) % CASE_PARTITIONS
    record = log.record(REQUESTS, wrong, event.key, event.encoded, event.headers())

    await applier(keeps, letters).apply([record])

    assert letters.letters == [(record.origin, "breaks the contract at partition")]
    assert keeps.cases == {}
    assert keeps.moved[wrong].offset(REQUESTS) == 1


async def test_a_case_that_cannot_be_folded_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, keeps, letters = Log(), MemoryProjection(), PutAsideList()
    bad, well = history(9), history(10)

    def failing(case_no: str, events: object) -> CaseState:
        if case_no == bad.case_no:
            raise KeyError("a fault in the code")
        return state_of(case_no, events)  # type: ignore[arg-type]

    monkeypatch.setattr(handlers, "state_of", failing)
    records = [log.append(event) for one in (bad, well) for event in one.events]
    await applier(keeps, letters).apply(records)

    assert len(letters.letters) == len(bad.events)
    assert not keeps.cases[bad.case_no].is_folded
    assert len(keeps.cases[bad.case_no].events) == len({e.id for e in bad.events}), "kept for later"
    assert keeps.counted() == figures_of([state(well)])

    monkeypatch.setattr(handlers, "state_of", state_of)  # a release that mends it
    again = log.append(bad.events[0])
    await applier(keeps, letters).apply([again])

    assert keeps.cases[bad.case_no].is_folded
    assert keeps.counted() == figures_of([state(bad), state(well)]), "by a repetition alone"


async def test_events_of_unknown_types_are_kept_and_shown() -> None:
    log, keeps = Log(), MemoryProjection()
    tale = Tale().opened()
    known = tale.history.events[-1]
    headers = known.headers() | {
        "ce_type": "jieyou.case.dreamt",
        "ce_id": "00000000-0000-5000-8000-000000000000",
    }
    strange = log.record(TRIAGE, known.partition, b"k", known.encoded, headers)
    records = [*(log.append(event) for event in tale.history.events), strange]

    await applier(keeps).apply(records)

    kept = keeps.cases[tale.case_no]
    assert isinstance(kept.events[headers["ce_id"]].data, UnknownData)
    assert kept.facts["unknown_types"] == ["case.dreamt"]


async def test_ticks_move_the_place_and_the_time_and_nothing_else() -> None:
    log, keeps = Log(), MemoryProjection()
    tick = log.record(TRIAGE, 3, TICK_KEY, b"{}", {"ce_time": "2022-01-11T08:00:00Z"})
    await applier(keeps).apply([tick])
    reached = keeps.moved[3].of(TRIAGE)
    assert reached.next_offset == 1
    assert reached.recorded_at is not None
    assert keeps.cases == {}


def test_words_that_intake_took_twice_are_a_repetition() -> None:
    tale = Tale().submitted()
    event = tale.history.events[0]
    moment = event.data.recorded_at + timedelta(hours=1)
    later = event.data.model_copy(update={"recorded_at": moment})
    known = KnownCase(tale.case_no)
    assert known.take(type(event).of(event.id, later)) is Taken.NEW
    assert known.take(event) is Taken.REPEATED
    state = state_of(tale.case_no, known.events.values())
    assert (state.timeline, state.double) == ((event,), ())


def test_a_redaction_replaces_all_that_stood_under_its_id() -> None:
    tale = Tale().submitted()
    event = tale.history.events[0]
    other = type(event)(event.id, event.type, event.data, event.encoded + b" ")
    known = KnownCase(tale.case_no)
    assert known.take(event) is Taken.NEW
    assert known.take(event) is Taken.REPEATED
    assert known.take(other) is Taken.CONFLICTING
    assert known.take(other) is Taken.REPEATED
    assert state_of(tale.case_no, known.events.values()).double

    assert known.take(event.redacted()) is Taken.NEW
    assert known.take(event) is Taken.REPEATED

    assert len(known.events) == 1
    assert MARKER.encode() not in b"".join(e.encoded for e in known.events.values())


@pytest.mark.parametrize("seed", range(6))
def test_nothing_personal_of_an_erased_case_is_held_before_its_redactions_are_here(
    seed: int,
) -> None:
    chance = random.Random(seed)
    made = history(600 + seed, steps=8)
    erased = made.by_triage(CaseErased, "command:erase", by="operator:o")
    events = [*made.events, *made.events[:3]]
    chance.shuffle(events)
    whole, known = KnownCase(made.case_no), KnownCase(made.case_no)
    for event in made.events:
        whole.take(event)

    for event in [*events[:5], erased, *events[5:]]:
        assert known.take(event) is not Taken.CONFLICTING

    held = b"".join(event.encoded for event in known.events.values())
    assert MARKER.encode() not in held
    assert MARKER.encode() in b"".join(event.encoded for event in made.events)
    before, after = (
        totals_of(figures_of([state_of(made.case_no, one.events.values())]))
        for one in (whole, known)
    )
    assert before == after
    for event in made.events:
        assert known.take(event.redacted()) is Taken.NEW
        assert known.take(event) is Taken.REPEATED
    assert {event.data.rev for event in known.events.values()} == {1}


def test_what_differed_in_personal_words_alone_is_one_event_after_the_erasure() -> None:
    made = Tale().submitted().history
    event = made.events[0]
    assert isinstance(event.data, RequestSubmitted)
    request = event.data.request.model_copy(update={"text": "other words"})
    other = Event.of(event.id, event.data.model_copy(update={"request": request}))
    erased = made.by_triage(CaseErased, "command:erase", by="operator:o")
    known = KnownCase(made.case_no)
    assert [known.take(one) for one in (event, other)] == [Taken.NEW, Taken.CONFLICTING]

    known.take(erased)

    assert len(known.events) == 2
    assert known.take(other) is Taken.REPEATED
    assert state_of(made.case_no, known.events.values()).double == ()


async def test_a_closed_generation_takes_nothing_in_and_an_opened_one_goes_on() -> None:
    log, keeps = Log(), MemoryProjection()
    made = history(11)
    records = [log.append(event) for event in made.events]
    applying = applier(keeps)
    await applying.apply(records[:3])
    open_ = dict(keeps.moved)
    for number, one in open_.items():
        keeps.moved[number] = replace(one, version=one.version + 1, is_closed=True)
    writes = keeps.writes

    with pytest.raises(Closed):
        await applying.apply(records[3:])

    assert keeps.writes == writes
    for number, one in open_.items():
        keeps.moved[number] = replace(one, version=one.version + 2)
    await applying.apply(records[3:])
    assert keeps.counted() == figures_of([state(made)])
