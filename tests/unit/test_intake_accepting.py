"""Accepting with bus and store in every state: nothing accepted is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import pytest

from contracts import ids
from contracts.envelope import Event
from services.chassis.bus import BusUnavailable
from services.chassis.clock import StoryClock
from services.chassis.http import NotFound, Problem, TooManyRequests, Unavailable
from services.chassis.store import AlreadyThere, StoreUnavailable
from services.intake.domain.bodies import SupplementBody
from services.intake.domain.limits import Buckets, Tries
from services.intake.domain.wishes import record_id, wish
from services.intake.guards import ChannelGuard, CodeGuard
from services.intake.handlers import KeyReused, Ports, Way, accept
from services.intake.ledger import Breaker, Ledger
from services.intake.spool import drain_once
from services.intake.store import Kept

NOW = datetime(2022, 1, 18, 8, tzinfo=UTC)


class Memory:
    """Records as the store keeps them, while `is_up`; `loses_answer`: written, but not said so."""

    def __init__(self) -> None:
        self.records: dict[str, Kept] = {}
        self.is_up = True
        self.loses_answer = False

    async def add(self, record: Kept, run: str, seq: int) -> None:
        if not self.is_up:
            raise StoreUnavailable("away")
        if record.id in self.records:
            raise AlreadyThere(frozenset({record.id}))
        self.records[record.id] = record
        if self.loses_answer:
            raise StoreUnavailable("no answer")

    async def find(self, ids: Iterable[str]) -> list[Kept]:
        if not self.is_up:
            raise StoreUnavailable("away")
        return [self.records[id_] for id_ in ids if id_ in self.records]


class Bus:
    """What was acknowledged, while `is_up`."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.is_up = True
        self.calls = 0

    async def publish(self, events: Sequence[Event]) -> None:
        self.calls += 1
        if not self.is_up:
            raise BusUnavailable("away")
        self.events += events


class World:
    """Ports with a store and a bus that can be switched off, and a clock to move on."""

    def __init__(self, spool_limit: int = 100) -> None:
        self.memory, self.bus = Memory(), Bus()
        self.seconds = 0.0
        self.ports = Ports(
            self.memory,
            self.bus.publish,
            Ledger(lambda: self.seconds),
            Breaker(3, lambda: self.seconds),
            Breaker(1, lambda: self.seconds),
            StoryClock(NOW),
            spool_limit,
            is_registered=True,
        )

    def note(self) -> str | None:
        return self.ports.spool_note


def kept(key: str, text: str = "甲") -> Kept:
    case_no = ids.case_number(b"s" * 32, "app", "case")
    event = wish(case_no, SupplementBody(text=text), by="", key=key, now=NOW, traceparent="")
    return Kept(record_id(event), f"digest of {text}", "app", event)


async def test_with_bus_and_store_it_is_recorded_and_published() -> None:
    world = World()
    accepted = await accept(kept("a"), world.ports)
    assert accepted.way is Way.BUS
    assert world.bus.events == [accepted.event]
    assert list(world.memory.records) == [kept("a").id]
    assert world.ports.ledger.is_clear


async def test_without_the_bus_it_waits_and_is_published_oldest_first() -> None:
    world = World()
    world.bus.is_up = False
    accepted = [await accept(kept(key), world.ports) for key in "abc"]
    assert {one.way for one in accepted} == {Way.SPOOL}
    assert world.bus.calls == 1, "nobody waits for a bus that has just failed"
    assert world.ports.ledger.waiting == 3
    assert world.ports.ledger.published_through == 1
    with pytest.raises(BusUnavailable):
        await drain_once(world.ports)
    world.bus.is_up = True
    while await drain_once(world.ports):
        pass
    assert world.bus.events == [one.event for one in accepted]
    assert world.ports.ledger.is_clear
    assert (await accept(kept("d"), world.ports)).way is Way.BUS


async def test_the_spool_is_full_when_a_record_waits_too_long_and_says_what_waits() -> None:
    world = World()
    world.ports.spool_limit_seconds = 60
    world.bus.is_up = False
    assert world.note() is None
    await accept(kept("a"), world.ports)
    world.seconds = 59
    await accept(kept("b"), world.ports)
    assert world.note() == "2 of 100 records wait for the bus, up to 59 s"
    world.seconds = 61
    with pytest.raises(Unavailable):
        await accept(kept("c"), world.ports)
    world.bus.is_up = True
    while await drain_once(world.ports):
        pass
    assert world.note() is None
    assert (await accept(kept("c"), world.ports)).way is Way.BUS


async def test_without_the_store_the_bus_alone_has_it() -> None:
    world = World()
    world.memory.is_up = False
    assert (await accept(kept("a"), world.ports)).way is Way.BUS_ALONE
    assert len(world.bus.events) == 1
    assert world.ports.ledger.is_clear


async def test_without_both_it_is_refused_and_asked_to_come_again() -> None:
    world = World()
    world.memory.is_up = world.bus.is_up = False
    for _ in range(3):
        with pytest.raises(Unavailable) as refused:
            await accept(kept("a"), world.ports)
        assert int(refused.value.headers["Retry-After"]) > 0
    world.memory.is_up = world.bus.is_up = True
    while await drain_once(world.ports):
        pass
    assert world.ports.ledger.is_clear, "what was refused does not fill the spool"
    assert world.bus.events == []


async def test_a_write_whose_answer_was_lost_is_published_later() -> None:
    world = World()
    world.memory.loses_answer, world.bus.is_up = True, False
    with pytest.raises(Unavailable):
        await accept(kept("a"), world.ports)
    world.bus.is_up = True
    await drain_once(world.ports)
    assert [event.id for event in world.bus.events] == [kept("a").event.id]


async def test_a_full_spool_refuses_before_anything_is_written() -> None:
    world = World(spool_limit=2)
    world.bus.is_up = False
    for key in "ab":
        await accept(kept(key), world.ports)
    with pytest.raises(Unavailable):
        await accept(kept("c"), world.ports)
    assert kept("c").id not in world.memory.records
    world.ports.elsewhere = 5
    world.bus.is_up = True
    await drain_once(world.ports)
    assert (await accept(kept("c"), world.ports)).way is Way.BUS, "the bus is back"


async def test_a_repeated_key_publishes_the_first_bytes_and_another_body_is_refused() -> None:
    world = World()
    first = await accept(kept("a"), world.ports)
    again = await accept(kept("a"), world.ports)
    assert again.event.encoded == first.event.encoded
    assert again.way is Way.REPEAT
    assert world.bus.events == [first.event, first.event]
    with pytest.raises(KeyReused):
        await accept(kept("a", "乙"), world.ports)
    world.bus.is_up = False
    assert (await accept(kept("a"), world.ports)).way is Way.REPEAT
    assert world.ports.ledger.is_clear


async def test_a_call_that_is_cancelled_leaves_nothing_behind_unseen() -> None:
    world = World()
    stuck = asyncio.Event()

    async def never(_: Sequence[Event]) -> None:
        stuck.set()
        await asyncio.Event().wait()

    world.ports.publish = never
    call = asyncio.create_task(accept(kept("a"), world.ports))
    await stuck.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    world.ports.publish = world.bus.publish
    await drain_once(world.ports)
    assert [event.id for event in world.bus.events] == [kept("a").event.id]


async def test_before_its_run_is_registered_nothing_is_recorded_that_nobody_would_find() -> None:
    world = World()
    world.ports.is_registered = False
    assert (await accept(kept("a"), world.ports)).way is Way.BUS_ALONE
    assert world.memory.records == {}


def test_the_ledger_says_below_which_number_all_is_published() -> None:
    ledger = Ledger()
    first, second, third = ledger.begin(), ledger.begin(), ledger.begin()
    ledger.done(first, third)
    assert ledger.published_through == second
    ledger.wait(second, "record")
    assert (ledger.published_through, ledger.waiting) == (second, 1)
    assert ledger.oldest(5) == {second: "record"}
    ledger.done(second)
    assert ledger.published_through == third + 1


def test_a_breaker_lets_one_call_in_each_pause_find_out() -> None:
    seconds = 0.0
    breaker = Breaker(3, lambda: seconds)
    assert breaker.allows()
    breaker.failed()
    assert not breaker.allows()
    seconds = 3.0
    assert breaker.allows()
    assert not breaker.allows()
    breaker.succeeded()
    assert breaker.allows()
    assert breaker.is_closed


def test_a_bucket_holds_a_minutes_calls_and_fills_again() -> None:
    buckets = Buckets()
    assert [buckets.take("app", 2, 0.0) for _ in range(3)] == [0, 0, 30]
    assert buckets.take("web", 2, 0.0) == 0
    assert [buckets.take("app", 2, 30.0) for _ in range(2)] == [0, 30]


def test_failed_tries_stop_a_subject_until_the_window_has_passed() -> None:
    tries = Tries(2, 60.0)
    tries.fail("case", 0.0)
    assert tries.wait_seconds("case", 1.0) == 0
    tries.fail("case", 10.0)
    assert tries.wait_seconds("case", 10.0) == 50
    assert tries.wait_seconds("other", 10.0) == 0
    assert tries.wait_seconds("case", 60.5) == 0


def test_guessing_codes_is_stopped_for_the_case_and_for_the_address() -> None:
    seconds = 0.0
    guard = CodeGuard(b"c" * 32, lambda: seconds)
    numbers = [ids.case_number(b"s" * 32, "app", str(n)) for n in range(40)]
    right = ids.retrieval_code(b"c" * 32, numbers[0])
    assert guard.admit(ids.spoken(numbers[0]), right, "1.2.3.4") == numbers[0]
    refused: list[type[Problem]] = []
    for number in numbers[1:]:
        with pytest.raises(Problem) as error:
            guard.admit(number, "0" * 10, "1.2.3.4")
        refused.append(type(error.value))
    assert refused[:30] == [NotFound] * 30
    assert set(refused[30:]) == {TooManyRequests}
    with pytest.raises(TooManyRequests):
        guard.admit(numbers[0], right, "1.2.3.4")
    assert guard.admit(numbers[0], right, "5.6.7.8") == numbers[0]
    assert guard.admit(numbers[0], right, None) == numbers[0], "a channel asks for many"
    seconds = 901.0
    assert guard.admit(numbers[0], right, "1.2.3.4") == numbers[0]


def test_a_channel_has_its_own_rate() -> None:
    guard = ChannelGuard(lambda: 0.0)
    guard.admit("app", 1)
    with pytest.raises(TooManyRequests):
        guard.admit("app", 1)
    guard.admit("web", 1)
