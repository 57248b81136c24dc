"""Notify against a real Kafka and a real store: hand-offs, replies, deliveries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
import pytest_asyncio
from starlette.responses import JSONResponse, Response

from contracts import triage as t
from contracts.feeds import HandoffState
from contracts.handling import (
    CitizenTold,
    DeliveryExhausted,
    HandoffUndeliverable,
    ReplyRefused,
)
from contracts.vocabulary import Role
from services.notify.domain.webhooks import is_signed, receiver_key
from tests.integration.notify_room import (
    SECRET,
    Building,
    Received,
    Room,
    handoff_of,
    receiver,
    sent,
    state,
    story_now,
    told,
    until,
)
from tests.notify_story import EXTERNAL_ID, NAME, PHONE

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def building(
    kafka_url: str, mongo_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Building:
    name = f"notify-{uuid4().hex[:12]}"
    made = Building(kafka_url, mongo_url, tmp_path_factory.mktemp("keys"), name)
    await made.prepare()
    return made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def room(building: Building) -> AsyncIterator[Room]:
    async with building.room() as made:
        yield made


async def test_an_order_is_signed_and_resolved_by_topic_and_its_outcome_left_for_lookup(
    room: Room,
) -> None:
    story = story_now()
    opened = story.opened()
    await room.say(opened)
    handoff = await sent(room, story, story.ordered())
    assert room.log.feed_of(handoff)[0].state is HandoffState.SENT
    await room.reply("health", {"act": "sign", "reply_id": "r1", "handoff_id": handoff})
    result = {"act": "result", "reply_id": "r2", "handoff_id": handoff, "text": "药已送到"}
    await room.reply("health", result)
    await room.comes(story.case_no, "handoff.signed", "handoff.resolved")
    await room.say(story.resolved(handoff, "health"))
    [told] = await room.comes(story.case_no, "citizen.told")
    assert isinstance(told.data, CitizenTold)
    assert (told.data.by, told.data.step) == ("lookup", "resolved")
    folded = state(story, room)
    assert folded.handoffs[handoff].state is HandoffState.RESOLVED
    assert folded.handoffs[handoff].deadlines == {}
    assert folded.double == ()
    await until(lambda: room.log.feed_of(handoff)[-1].state is HandoffState.RESOLVED)


async def test_a_redelivered_input_publishes_the_same_events_and_decides_nothing_anew(
    room: Room,
) -> None:
    story = story_now(callback_url="http://127.0.0.1:9/closed")
    ordered = story.ordered()
    handoff = await sent(room, story, ordered)
    reply = {"act": "progress", "reply_id": "r1", "handoff_id": handoff, "text": "正在备药"}
    await room.reply("health", reply)
    await room.comes(story.case_no, "handoff.progressed", "delivery.planned")
    await until(lambda: len(room.log.of(story.case_no, "delivery.planned")) == 2)
    known = {event.id for event in room.log.of(story.case_no)}
    seen = len(room.log.order)
    await room.say(ordered)
    await room.reply("health", reply)
    again = story_now()
    await sent(room, again, again.ordered())
    await until(lambda: known <= set(room.log.order[seen:]))
    assert {event.id for event in room.log.of(story.case_no)} == known
    assert state(story, room).double == ()


async def test_the_reporter_of_a_breach_stands_in_no_feed(room: Room) -> None:
    story = story_now()
    await sent(room, story, story.ordered("police", confidential=True))
    open_one = story_now()
    await sent(room, open_one, open_one.ordered("health"))
    [shown] = [one for one in room.log.feeds if one.case_no == open_one.case_no]
    assert shown.contact is not None
    assert shown.contact.phone == PHONE
    [hidden] = [one for one in room.log.feeds if one.case_no == story.case_no]
    words = hidden.model_dump_json()
    assert hidden.contact is None
    assert hidden.on_behalf_of is None
    assert not any(secret in words for secret in (NAME, PHONE, EXTERNAL_ID))
    assert EXTERNAL_ID.encode() not in room.log.raw


async def test_replies_about_a_strangers_or_an_unknown_handoff_are_put_aside(room: Room) -> None:
    story = story_now()
    handoff = await sent(room, story, story.ordered())
    before = len(room.log.dead)
    await room.reply("transport", {"act": "sign", "reply_id": "x", "handoff_id": handoff})
    await room.reply("health", {"act": "sign", "reply_id": "x", "handoff_id": "nobody-knows"})
    await room.reply("health", b'{"act": "sign", "reply_id": "x"')
    await room.reply("health", {"act": "sign", "reply_id": "good", "handoff_id": handoff})
    await room.comes(story.case_no, "handoff.signed")
    await until(lambda: len(room.log.dead) >= before + 3)
    reasons = {letter["reason"] for letter in room.log.dead[before:]}
    assert "names a hand-off of another department" in reasons
    assert "names a hand-off that is not known" in reasons
    assert any(reason.startswith("breaks the contract at") for reason in reasons)
    assert room.log.types(story.case_no) == ["handoff.sent", "handoff.signed"]


async def test_a_department_acts_over_http_and_is_refused_in_chinese(room: Room) -> None:
    story = story_now()
    handoff = await sent(room, story, story.ordered())
    first = await room.act("health", handoff, "sign", "k1", {"person": "王科长"})
    assert first.status_code == 200, first.text
    assert first.json() == {"handoff_id": handoff, "state": "signed", "version": 2}
    again = await room.act("health", handoff, "sign", "k1", {"person": "王科长"})
    assert again.json() == first.json()
    body = {"ground": "不归我们管", "proper_department": "交通"}
    refused = await room.act("health", handoff, "return", "k2", body)
    assert refused.status_code == 409
    assert "不能再退单" in refused.json()["detail"]
    other = await room.act("health", handoff, "progress", "k1", {"text": "在办"})
    assert other.status_code == 422
    stranger = await room.act("transport", handoff, "sign", "k3")
    assert stranger.status_code == 404
    desk = await room.act("desk-1", handoff, "sign", "k4")
    assert desk.status_code == 403
    wrong = await room.act("health", handoff, "result", "k5", {"text": "", "acted_at": "昨天"})
    assert {error["field"] for error in wrong.json()["errors"]} == {"text", "acted_at"}
    missing = await room.clients["health"].post(f"/v1/handoffs/{handoff}/sign")
    assert missing.status_code == 400
    done = await room.act("health", handoff, "result", "k6", {"text": "办好了"})
    assert done.json()["state"] == "resolved"
    [refusal] = await room.comes(story.case_no, "handoff.reply_refused")
    assert isinstance(refusal.data, ReplyRefused)
    await room.comes(story.case_no, "handoff.resolved")
    listed = await room.clients["health"].get("/v1/handoffs?open=true&limit=1000")
    assert handoff not in {one["handoff_id"] for one in listed.json()["handoffs"]}


async def test_the_open_list_is_the_departments_own(room: Room) -> None:
    story = story_now()
    handoff = await sent(room, story, story.ordered("transport"))
    own = (await room.clients["transport"].get("/v1/handoffs?limit=1000")).json()["handoffs"]
    assert handoff in {one["handoff_id"] for one in own}
    assert {one["department"] for one in own} == {"transport"}
    other = await room.clients["health"].get(f"/v1/handoffs/{handoff}")
    assert other.status_code == 404
    desk = await room.clients["desk-1"].get("/v1/handoffs?department=transport&limit=1000")
    assert desk.json()["handoffs"] == own
    assert (await room.clients["app"].get("/v1/handoffs")).status_code == 403


async def test_a_late_result_is_recorded_and_changes_only_its_own_handoff(room: Room) -> None:
    story = story_now()
    first = await sent(room, story, story.ordered("health"))
    await room.say(story.recalled(first))
    await room.comes(story.case_no, "handoff.recalled")
    second = handoff_of(story.ordered("transport"))
    await room.say(story.kept.events[-1])
    result = {"act": "result", "reply_id": "late", "handoff_id": first, "text": "其实办好了"}
    await room.reply("health", result)
    [refused] = await room.comes(story.case_no, "handoff.reply_refused")
    assert isinstance(refused.data, ReplyRefused)
    assert refused.data.why == "recalled"
    await until(lambda: bool(room.log.feed_of(second)))
    folded = state(story, room)
    assert folded.handoffs[first].state is HandoffState.RECALLED
    assert folded.handoffs[first].late_result is not None
    assert folded.handoffs[second].state is HandoffState.SENT


async def test_the_outcome_ends_what_is_open_and_news_reach_the_feed(room: Room) -> None:
    story = story_now()
    lead = await sent(room, story, story.ordered("health"))
    assist = await sent(room, story, story.ordered("community", role=Role.ASSIST))
    await room.say(
        story.write(t.CaseSupplemented, text="住三楼", reaches=(lead, assist)),
        story.write(t.CaseUrged, handoff_id=lead),
    )
    await until(lambda: room.log.feed_of(lead)[-1].urgings == 1)
    await until(lambda: room.log.feed_of(assist)[-1].supplements == ("住三楼",))
    due_at = datetime.now(UTC) + timedelta(days=2)
    extension = {"ground": "药在路上", "result_due_at": due_at.isoformat()}
    asked = await room.act("health", lead, "extension", "e1", extension)
    assert asked.status_code == 200
    granted = story.write(
        t.ExtensionDecided, handoff_id=lead, granted=True, result_due_at=due_at, person="desk-1"
    )
    await room.say(granted)
    await room.comes(story.case_no, "handoff.extended")
    await room.act("health", lead, "result", "e2", {"text": "送到了"})
    await room.say(story.resolved(lead, "health", ends=(assist,)))
    await room.comes(story.case_no, "handoff.not_needed")
    folded = state(story, room)
    assert folded.handoffs[lead].versions["result"] == 2
    assert folded.handoffs[assist].state is HandoffState.NOT_NEEDED
    versions = [one.version for one in room.log.feed_of(lead)]
    assert versions == sorted(versions)


async def test_steps_reach_the_channel_signed_in_order_and_each_once(room: Room) -> None:
    async with receiver() as channel:
        story = story_now(callback_url=f"{channel.url}/told")
        await room.say(story.opened())
        handoff = await sent(room, story, story.ordered())
        await room.act("health", handoff, "sign", "s")
        await room.act("health", handoff, "result", "r", {"text": "药已送到"})
        # Triage answers the result, so its event comes after all that it rests on.
        await until(lambda: len(room.log.of(story.case_no, "citizen.told")) == 3)
        await room.say(story.resolved(handoff, "health"))
        await until(lambda: len(room.log.of(story.case_no, "citizen.told")) == 4)
        steps = channel.steps()
        assert steps == ["accepted", "handed_over", "signed", "resolved"]
        key = receiver_key(bytes.fromhex(SECRET), "channel", "app")
        other = receiver_key(bytes.fromhex(SECRET), "channel", "web")
        for call in channel.calls:
            assert is_signed(key, call.headers, call.body)
            assert not is_signed(other, call.headers, call.body)
        last = channel.calls[-1].content
        assert last["is_outcome"] is True
        assert last["unit"] == "市卫生健康委"
        assert "药已送到" in last["text"]
        assert all(told.by == "callback" for told in told(room, story))
        shown = await room.clients["desk-1"].get(f"/v1/deliveries?case_no={story.case_no}")
        assert [one["state"] for one in shown.json()["deliveries"]] == ["done"] * 4
    assert state(story, room).double == ()


async def test_a_step_waits_for_the_one_before_it_through_failed_attempts(room: Room) -> None:
    failures = 2

    async def answer(call: Received) -> Response:
        nonlocal failures
        if call.content["step"] == "accepted" and failures:
            failures -= 1
            return JSONResponse({}, status_code=503)
        return JSONResponse({})

    async with receiver(answer) as channel:
        story = story_now(callback_url=channel.url)
        await room.say(story.opened(), story.answered())
        await until(lambda: len(told(room, story)) == 2)
        assert channel.steps() == ["accepted", "accepted", "accepted", "answered"]
        assert len({call.headers["webhook-id"] for call in channel.calls}) == 2
        assert [told.attempts for told in told(room, story)] == [3, 1]


async def test_a_slow_channel_holds_up_no_other(room: Room) -> None:
    release = asyncio.Event()

    async def answer(_: Received) -> Response:
        await release.wait()
        return JSONResponse({})

    async with receiver(answer) as slow, receiver() as quick:
        stuck = [story_now(callback_url=slow.url) for _ in range(30)]
        await room.say(*(story.opened() for story in stuck))
        await until(lambda: len(slow.calls) == 8)
        story = story_now(callback_url=quick.url)
        await room.say(story.opened())
        await until(lambda: len(told(room, story)) == 1)
        assert len(slow.calls) == 8
        release.set()
        await until(lambda: all(len(told(room, one)) == 1 for one in stuck))


async def test_what_a_channel_refuses_for_good_becomes_a_task_of_the_desk(room: Room) -> None:
    async def answer(call: Received) -> Response:
        if call.path == "/elsewhere":
            return Response(status_code=307, headers={"location": "/told"})
        return JSONResponse({}, status_code=410)

    async with receiver(answer) as channel:
        for path, why in (("/gone", "refused"), ("/elsewhere", "redirected")):
            story = story_now(callback_url=channel.url + path)
            await room.say(story.opened())
            [event] = await room.comes(story.case_no, "delivery.exhausted")
            assert isinstance(event.data, DeliveryExhausted)
            assert (event.data.why, event.data.attempts) == (why, 1)
        assert len(channel.calls) == 2


async def test_private_addresses_are_posted_to_only_where_the_profile_allows(room: Room) -> None:
    async with receiver() as inner:
        story = story_now(callback_url=f"{inner.url}/told", channel="web")
        await room.say(story.opened())
        [event] = await room.comes(story.case_no, "delivery.exhausted")
        assert isinstance(event.data, DeliveryExhausted)
        assert event.data.why == "address_forbidden"
        assert inner.calls == []


async def test_without_an_address_a_hotline_is_rung_by_a_person(room: Room) -> None:
    story = story_now()
    ordered = story.ordered("hotline-12345")
    handoff = handoff_of(ordered)
    await room.say(ordered)
    [lost] = await room.comes(story.case_no, "handoff.undeliverable")
    assert isinstance(lost.data, HandoffUndeliverable)
    rung = await room.act("desk-1", handoff, "sent", "rang-1")
    assert rung.status_code == 200, rung.text
    assert rung.json()["state"] == "sent"
    assert (await room.act("desk-1", handoff, "sent", "rang-1")).json() == rung.json()
    assert (await room.act("desk-1", handoff, "sent", "rang-2")).status_code == 409
    result = await room.act("desk-1", handoff, "result", "said-1", {"text": "热线已办结"})
    assert result.json()["state"] == "resolved"
    await room.comes(story.case_no, "handoff.resolved")
    assert state(story, room).handoffs[handoff].sent_by == "telephone"
