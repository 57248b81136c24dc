"""Notify against a real Kafka and a real store: hand-offs, replies, deliveries."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.responses import JSONResponse, Response

from contracts.envelope import Event
from contracts.feeds import HandoffState
from contracts.handling import CitizenTold, HandoffEvent, HandoffSigned, ReplyRefused
from contracts.lifecycle import CaseState, state_of
from contracts.triage import HandoffOrdered
from contracts.vocabulary import Role
from services.chassis.clock import StoryClock
from services.notify.domain.webhooks import is_signed, receiver_key
from tests.integration.notify_room import (
    PROFILE,
    SECRET,
    Building,
    Received,
    Room,
    receiver,
    until,
)
from tests.notify_story import EXTERNAL_ID, NAME, PHONE, CaseStory


@pytest.fixture
async def building(
    kafka_url: str, mongo_url: str, tmp_path: Path, unique_name: Callable[[str], str]
) -> Building:
    made = Building(kafka_url, mongo_url, tmp_path, unique_name("notify"))
    await made.prepare()
    return made


@pytest.fixture
async def room(building: Building) -> AsyncIterator[Room]:
    async with building.room() as made:
        yield made


def handoff_of(event: Event) -> str:
    assert isinstance(event.data, HandoffOrdered)
    return event.data.handoff_id


def now_story(**options: str) -> CaseStory:
    return CaseStory(at=datetime.now(UTC), **options)


def state(story: CaseStory, room: Room) -> CaseState:
    return state_of(story.case_no, [*story.kept.events, *room.log.of(story.case_no)])


async def test_an_order_is_signed_and_resolved_by_topic_and_its_outcome_left_for_lookup(
    room: Room,
) -> None:
    story = now_story()
    ordered = story.ordered()
    handoff = handoff_of(ordered)
    await room.say(story.opened() if False else ordered)
    await room.comes(story.case_no, "handoff.sent")
    await until(lambda: bool(room.log.feed_of(handoff)))
    assert room.log.feed_of(handoff)[0].state is HandoffState.SENT
    await room.reply("health", {"act": "sign", "reply_id": "r1", "handoff_id": handoff})
    result = {"act": "result", "reply_id": "r2", "handoff_id": handoff, "text": "药已送到"}
    await room.reply("health", result)
    await room.comes(story.case_no, "handoff.signed", "handoff.resolved")
    await room.say(story.resolved(handoff, "health"))
    [told] = await room.comes(story.case_no, "citizen.told")
    assert isinstance(told.data, CitizenTold)
    assert told.data.by == "lookup"
    assert told.data.step == "resolved"
    folded = state(story, room)
    assert folded.handoffs[handoff].state is HandoffState.RESOLVED
    assert folded.handoffs[handoff].deadlines == {}
    await until(lambda: room.log.feed_of(handoff)[-1].state is HandoffState.RESOLVED)
