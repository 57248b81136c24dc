"""Notify, started anew for each test: hotlines by HTTP, the clock, stopping and going on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.responses import JSONResponse, Response

from contracts.feeds import HandoffState
from contracts.handling import DeliveryCancelled, HandoffEvent, HandoffSent, HandoffSigned
from contracts.lifecycle import state_of
from services.chassis.clock import StoryClock
from services.notify.domain.webhooks import is_signed, receiver_key
from tests.integration.notify_room import (
    SECRET,
    Building,
    Received,
    handoff_of,
    receiver,
    sent,
    state,
    story_now,
    subsequence,
    told,
    until,
)
from tests.notify_story import START, CaseStory


@pytest.fixture
async def building(
    kafka_url: str, mongo_url: str, tmp_path: Path, unique_name: Callable[[str], str]
) -> Building:
    made = Building(kafka_url, mongo_url, tmp_path, unique_name("notify"))
    await made.prepare()
    return made


async def test_a_hotline_by_http_gives_its_receipt_and_hears_of_a_recall(
    building: Building,
) -> None:
    taken = asyncio.Event()

    async def answer(call: Received) -> Response:
        if call.content["step"] == "ordered":
            await taken.wait()
        return JSONResponse({"receipt": "12345-0118"})

    async with (
        receiver(answer) as hotline,
        building.room(department_urls={"hotline-12345": hotline.url}, lease_seconds=0.5) as other,
    ):
        story = story_now()
        ordered = story.ordered("hotline-12345")
        await other.say(ordered)
        await until(lambda: bool(hotline.calls))
        taken.set()
        [event] = await other.comes(story.case_no, "handoff.sent")
        assert isinstance(event.data, HandoffSent)
        assert (event.data.by, event.data.receipt) == ("http", "12345-0118")
        assert {clock.name for clock in event.data.sets} == {"signed", "return_window", "result"}
        await other.say(story.recalled(handoff_of(ordered)))
        await until(lambda: hotline.steps() == ["ordered", "recalled"])
        assert hotline.calls[-1].content["handoff"]["state"] == "recalled"
        key = receiver_key(bytes.fromhex(SECRET), "department", "hotline-12345")
        assert all(is_signed(key, call.headers, call.body) for call in hotline.calls)

        taken.clear()
        caught = story_now()
        ordered = caught.ordered("hotline-12345")
        await other.say(ordered)
        await until(lambda: len(hotline.calls) == 3)
        await other.say(caught.recalled(handoff_of(ordered)))
        [cancelled] = await other.comes(caught.case_no, "delivery.cancelled")
        assert isinstance(cancelled.data, DeliveryCancelled)
        taken.set()
        await until(lambda: hotline.steps()[-1] == "recalled")
        folded = state(caught, other)
        assert folded.handoffs[handoff_of(ordered)].state is HandoffState.RECALLED
        assert folded.double == ()


async def test_clocks_of_the_department_fire_once_and_the_window_signs_by_itself(
    building: Building,
) -> None:
    clock = StoryClock(START)
    async with building.room(clock=clock) as other:
        story = CaseStory()
        handoff = await sent(other, story, story.ordered())
        clock.set(START + timedelta(minutes=61))
        await other.comes(story.case_no, "handoff.signed", "handoff.deadline_fired")
        [signed] = other.log.of(story.case_no, "handoff.signed")
        assert isinstance(signed.data, HandoffSigned)
        assert signed.data.implied
        late = await other.act(
            "health", handoff, "return", "k", {"ground": "不归我们", "proper_department": "交通"}
        )
        assert late.status_code == 409
        assert "退单期限已过" in late.json()["detail"]
        clock.set(START + timedelta(minutes=481))
        await until(lambda: len(other.log.of(story.case_no, "handoff.deadline_fired")) == 4)
        fired = [
            (getattr(event.data, "name", ""), getattr(event.data, "firing", ""))
            for event in other.log.of(story.case_no, "handoff.deadline_fired")
        ]
        assert fired == [
            ("signed", "near"),
            ("signed", "missed"),
            ("result", "near"),
            ("result", "missed"),
        ]
        assert [one.state for one in other.log.feed_of(handoff)][-1] is HandoffState.SIGNED


async def test_a_stopped_notify_goes_on_where_it_was_and_sends_what_it_had_planned(
    building: Building,
) -> None:
    is_up = False

    async def answer(_: Received) -> Response:
        return JSONResponse({}, status_code=200 if is_up else 503)

    async with receiver(answer) as channel:
        story = story_now(callback_url=channel.url)
        async with building.room(lease_seconds=0.3) as other:
            await other.say(story.opened())
            await until(lambda: bool(channel.calls))
        events = list(other.log.of(story.case_no))
        await building.say(story.ordered())
        is_up = True
        async with building.room(lease_seconds=0.3) as other:
            await other.comes(story.case_no, "citizen.told", "handoff.sent")
            await until(lambda: len(told(other, story)) == 2)
            events += other.log.of(story.case_no)
        assert subsequence(["accepted", "handed_over"], channel.steps())
        folded = state_of(story.case_no, [*story.kept.events, *events])
        assert folded.double == ()
        handoffs = [e for e in events if isinstance(e.data, HandoffEvent)]
        assert len({e.id for e in handoffs}) == 1
