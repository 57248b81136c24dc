"""Clocks: the store's time decides, and a machine that is off lets no deadline fire."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest
import structlog.testing

from services.chassis.clock import SKEW_VARIABLE, Clock, StoreClock, StoryClock, SystemClock

NOON = datetime(2022, 1, 11, 12, 0, tzinfo=UTC)


class Hands:
    """A machine's two clocks, moved by hand, and a store that is `ahead` of it."""

    def __init__(self, ahead: timedelta) -> None:
        self.wall = NOON
        self.monotonic = 50.0
        self.ahead = ahead

    def now(self) -> datetime:
        return self.wall

    async def store_time(self) -> datetime:
        return self.wall + self.ahead

    def pass_time(self, seconds: float) -> None:
        self.wall += timedelta(seconds=seconds)
        self.monotonic += seconds

    def clock(self) -> StoreClock:
        return StoreClock(self.store_time, system=self, monotonic=lambda: self.monotonic)


async def test_the_stores_time_is_told_and_carried_on() -> None:
    hands = Hands(timedelta(seconds=1))
    clock = hands.clock()
    assert not clock.trusted, "trusted before the store was asked"
    assert await clock.measure() == timedelta(seconds=1)
    hands.pass_time(10)
    assert clock.now() == NOON + timedelta(seconds=11)
    assert clock.trusted


async def test_a_jump_of_the_machines_clock_does_not_move_the_stores_time() -> None:
    hands = Hands(timedelta(0))
    clock = hands.clock()
    await clock.measure()
    hands.wall += timedelta(hours=1)
    assert clock.now() == NOON


@pytest.mark.parametrize("seconds", [2.5, -2.5])
async def test_a_machine_more_than_two_seconds_off_is_not_trusted(seconds: float) -> None:
    hands = Hands(timedelta(seconds=seconds))
    clock = hands.clock()
    await clock.measure()
    assert not clock.trusted
    hands.ahead = timedelta(seconds=1.9)
    await clock.measure()
    assert clock.trusted


async def test_trust_runs_out_when_the_store_is_not_heard_of() -> None:
    hands = Hands(timedelta(0))
    clock = hands.clock()
    await clock.measure()
    hands.pass_time(61)
    assert not clock.trusted


async def test_measuring_goes_on_when_the_store_fails() -> None:
    asked = asyncio.Event()
    calls = 0

    async def failing_then_well() -> datetime:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise ConnectionError
        asked.set()
        return datetime.now(UTC)

    clock = StoreClock(failing_then_well)
    task = asyncio.create_task(clock.keep_measured(every=timedelta(seconds=0.01)))
    await asyncio.wait_for(asked.wait(), 5)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert clock.trusted


async def test_a_machine_that_is_off_from_the_start_says_so_once() -> None:
    measured = asyncio.Event()
    calls = 0

    async def ten_minutes_behind() -> datetime:
        nonlocal calls
        calls += 1
        if calls == 3:
            measured.set()
        return datetime.now(UTC) - timedelta(minutes=10)

    clock = StoreClock(ten_minutes_behind)
    with structlog.testing.capture_logs() as said:
        task = asyncio.create_task(clock.keep_measured())
        await asyncio.wait_for(measured.wait(), 10)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [one["alarm"] for one in said if "not trusted" in one["event"]] == [True]


def test_a_process_can_be_told_to_be_off_for_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SKEW_VARIABLE, "600")
    off = SystemClock().now() - datetime.now(UTC)
    assert timedelta(minutes=9) < off <= timedelta(minutes=10)


def test_a_story_moves_by_hand_and_never_back() -> None:
    clock = StoryClock(datetime(2022, 1, 11, 8, tzinfo=timezone(timedelta(hours=8))))
    assert clock.now() == datetime(2022, 1, 11, 0, tzinfo=UTC)
    assert clock.now().tzinfo is UTC
    clock.advance(timedelta(minutes=20))
    assert clock.now() == datetime(2022, 1, 11, 0, 20, tzinfo=UTC)
    with pytest.raises(ValueError, match="go back"):
        clock.set(datetime(2022, 1, 11, 0, 19, tzinfo=UTC))
    with pytest.raises(ValueError, match="zone"):
        clock.set(datetime(2022, 1, 12))  # noqa: DTZ001 -- the mistake that is refused


def test_every_clock_is_a_clock_in_utc() -> None:
    clocks: list[Clock] = [SystemClock(), StoryClock(NOON), Hands(timedelta(0)).clock()]
    assert all(clock.now().tzinfo is UTC for clock in clocks)
