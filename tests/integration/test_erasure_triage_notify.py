"""Erasure through triage and notify on a real broker and store: nothing is left of the person, and
nothing that comes late brings them back."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import bson
import httpx
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from pydantic import SecretStr
from pymongo import MongoClient
from starlette.responses import JSONResponse, Response

from contracts import requests as r
from contracts import topics
from contracts.envelope import Event, EventData, parse
from contracts.feeds import FeedHandoff
from contracts.handling import CitizenTold
from contracts.ids import case_number, event_id
from contracts.lifecycle import state_of
from contracts.vocabulary import (
    Contact,
    Location,
    OnBehalfOf,
    Rating,
    RequestContent,
)
from services.chassis.bus.records import repaired_headers
from services.chassis.keys import KeyFile, new_key
from services.reporting.domain.contribution import contribution_of
from services.triage.app import build
from services.triage.settings import TriageSettings
from services.triage.store import DATABASE
from tests.fences import fenced
from tests.integration.notify_room import (
    PROFILE,
    Building,
    Received,
    Receiver,
    Room,
    receiver,
    until,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")

M = "抹去"
"""Begins everything that belongs to the person, in the tests of this module."""
ORANGE = f"淮阳区新站镇的小区楼道灯坏了，晚上老人下楼看不见，麻烦安排人来修一下，{M}正文"
BLUE = f"我在郑州打工，春节想回太康县老家，需要隔离吗？要几天之内的核酸证明？{M}正文"
SECOND_PASS = timedelta(seconds=1)


@dataclass
class City:
    """Triage and notify at work, a citizen's pen, the channel, a hotline's server."""

    room: Room
    desk: httpx.AsyncClient
    producer: AIOKafkaProducer
    channel: Receiver
    hotline: Receiver
    kafka_url: str
    mongo_url: str
    databases: tuple[str, ...]
    departments: tuple[str, ...] = field(default=tuple(d.code for d in PROFILE.departments))

    async def write(self, event: Event) -> None:
        """Write an event as intake, or whoever owns it, would."""
        topic = {"intake": topics.REQUESTS, "triage": topics.TRIAGE}.get(
            event.data.owner, topics.HANDLING
        )
        headers = [(name, text.encode()) for name, text in event.headers().items()]
        await self.producer.send_and_wait(
            topic, event.encoded, event.key, event.partition, headers=headers
        )

    async def says(self, case_no: str, kind: type[EventData], **fields: Any) -> Event:
        """The citizen says something more."""
        event = made(kind, case_no, **fields)
        await self.write(event)
        return event

    async def submits(self, text: str) -> Event:
        """A request comes in."""
        case_no = case_number(b"e" * 32, "app", uuid4().hex)
        return await self.says(
            case_no,
            r.RequestSubmitted,
            request=RequestContent(
                channel="app",
                text=text,
                contact=Contact(name=f"{M}姓名", phone=f"{M}电话"),
                location=Location(address=f"{M}地址", lat=33.777177, lon=114.888288),
                on_behalf_of=OnBehalfOf(relation=f"{M}关系", situation=f"{M}情况"),
                external_id=f"{M}外部号",
                callback_url=f"{self.channel.url}/told/{ERASED_PATH}",
            ),
            body_digest="0" * 64,
            accepted_at=datetime.now(UTC),
            code_version=1,
            profile="zhoukou@test",
        )

    async def act(self, case_no: str, what: str, body: dict[str, Any]) -> dict[str, Any]:
        """A clerk does something."""
        done = await self.desk.post(
            f"/v1/desk/cases/{case_no}/{what}", json=body, headers={"Idempotency-Key": uuid4().hex}
        )
        assert done.status_code == 200, done.text
        return dict(done.json())

    async def shown(self, case_no: str) -> dict[str, Any]:
        """What the desk sees."""
        seen = await self.desk.get(f"/v1/desk/cases/{case_no}")
        return dict(seen.json()) if seen.status_code == 200 else {}

    async def records(self, case_no: str, names: Iterable[str]) -> list[ConsumerRecord[Any, Any]]:
        """All that a case's partitions of these topics hold now."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka_url, enable_auto_commit=False)
        await consumer.start()
        found: list[ConsumerRecord[Any, Any]] = []
        try:
            for name in names:
                is_feed = name.startswith("feed.")
                count = topics.FEED_PARTITIONS if is_feed else topics.CASE_PARTITIONS
                place = TopicPartition(name, topics.partition_for(case_no, count))
                consumer.assign([place])
                await consumer.seek_to_beginning(place)
                end = (await consumer.end_offsets([place]))[place]
                while await consumer.position(place) < end:
                    found += (await consumer.getmany(timeout_ms=200)).get(place, [])
        finally:
            await consumer.stop()
        return found

    async def latest(self, case_no: str) -> list[Event]:
        """The newest record of every key of a case in the topics of triage and notify."""
        newest: dict[tuple[str, bytes], ConsumerRecord[Any, Any]] = {}
        for record in await self.records(case_no, [topics.TRIAGE, topics.HANDLING]):
            headers = repaired_headers(record.headers)
            if headers.get("ce_subject") == case_no:
                newest[record.topic, record.key] = record
        return [parse(repaired_headers(one.headers), one.value) for one in newest.values()]

    async def feed_of(self, case_no: str) -> list[FeedHandoff]:
        """The newest feed record of every hand-off of a case."""
        newest: dict[bytes, bytes] = {}
        for record in await self.records(case_no, map(topics.feed, self.departments)):
            if record.value and case_no.encode() in record.value:
                newest[record.key] = record.value
        return [FeedHandoff.model_validate_json(value) for value in newest.values()]

    def stored(self, case_no: str) -> bytes:
        """Every document of both databases in which a case's number stands."""
        client: MongoClient[dict[str, Any]] = MongoClient(self.mongo_url, tz_aware=True)
        with client:
            rows = [
                bson.encode(row)
                for name in self.databases
                for collection in client[name].list_collection_names()
                for row in client[name][collection].find({})
            ]
        assert rows
        return b"".join(row for row in rows if case_no.encode() in row)

    async def is_erased(self, case_no: str) -> bool:
        """Whether both services have done both passes, and nothing personal is left."""
        client: MongoClient[dict[str, Any]] = MongoClient(self.mongo_url)
        with client:
            noted = [client[name]["erased"].find_one({"_id": case_no}) for name in self.databases]
        return all(row is not None and row["pass"] == 2 for row in noted)

    async def is_clean(self, case_no: str) -> bool:
        """Whether nothing personal of a case stands anywhere."""
        try:
            await self.nothing_is_left(case_no)
        except AssertionError:
            return False
        return True

    async def nothing_is_left(self, case_no: str) -> None:
        """Fail if something personal of a case stands anywhere."""
        assert not holds_person(self.stored(case_no))
        events = await self.latest(case_no)
        assert {event.data.rev for event in events} == {1}
        for event in events:
            assert not holds_person(event.encoded), event.type
        for seen in await self.feed_of(case_no):
            assert seen.erased
            assert not holds_person(seen.model_dump_json().encode())
        assert not holds_person(json.dumps(await self.shown(case_no), ensure_ascii=False).encode())


ERASED_PATH = "erased-person"


def holds_person(content: bytes) -> bool:
    """Whether anything of the person stands in bytes, however JSON writes it."""
    marks = (M.encode(), json.dumps(M)[1:-1].encode(), ERASED_PATH.encode(), b"33.777177")
    return any(mark in content for mark in marks)


def made(kind: type[EventData], case_no: str, **fields: Any) -> Event:
    """An event of intake."""
    now, cause = datetime.now(UTC), f"command:{uuid4()}"
    data = kind(
        case_no=case_no,
        document_id=case_no,
        lc=1,
        caused_by=cause,
        occurred_at=now,
        recorded_at=now,
        **fields,
    )
    return Event.of(event_id(case_no, case_no, data.type, cause), data)


async def eventually(what: Callable[[], Awaitable[bool]], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not await what():
            await asyncio.sleep(0.1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city(
    kafka_url: str, mongo_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[City]:
    folder: Path = tmp_path_factory.mktemp("erasure")
    building = Building(kafka_url, mongo_url, folder, f"erasure-{uuid4().hex[:12]}")
    await building.prepare()
    keys = folder / "desk.json"
    token, key = new_key("desk", "clerk-1")
    KeyFile(keys).save([key])
    settings = TriageSettings(
        kafka_url=kafka_url, mongo_url=SecretStr(mongo_url), keys_file=keys, instance="triage-e"
    )
    await fenced(mongo_url, DATABASE, "triage")
    app, health, _ = build(settings, second_erasure_after=SECOND_PASS)
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url, acks="all")
    await producer.start()
    async with (
        receiver() as channel,
        receiver() as hotline,
        app.router.lifespan_context(app),
        building.room(
            second_erasure_after=SECOND_PASS, department_urls={"hotline-12345": hotline.url}
        ) as room,
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://triage",
            headers={"Authorization": f"Bearer {token}"},
        ) as desk,
    ):
        async with asyncio.timeout(30):
            while any((await health.ready()).values()):
                await asyncio.sleep(0.05)
        notify_database = f"jieyou_{building.name}".replace("-", "_")
        yield City(
            room=room,
            desk=desk,
            producer=producer,
            channel=channel,
            hotline=hotline,
            kafka_url=kafka_url,
            mongo_url=mongo_url,
            databases=(DATABASE, notify_database),
        )
    await producer.stop()


async def resolved_and_closed(city: City) -> tuple[str, str, list[Event]]:
    """A case through the feed of a department to its closing, with the person's words at every
    step; returns the case, its hand-off and what the citizen wrote."""
    submitted = await city.submits(ORANGE)
    case_no = submitted.data.case_no
    await until(lambda: any(one.case_no == case_no for one in city.room.log.feeds))
    order = next(one for one in city.room.log.feeds if one.case_no == case_no)
    added = await city.says(case_no, r.SupplementGiven, text=f"{M}补充")
    await until(lambda: any(one.supplements for one in city.room.log.feed_of(order.handoff_id)))
    assert holds_person(city.room.log.raw)
    common = {"handoff_id": order.handoff_id, "person": f"{M}经办人"}
    for number, said in enumerate(
        [
            {"act": "sign"},
            {"act": "progress", "text": f"{M}进展"},
            {"act": "question", "text": f"{M}询问"},
            {"act": "result", "text": f"{M}结果", "acts": f"{M}换灯", "contact": f"{M}联系人"},
        ]
    ):
        await city.room.reply(order.department, {**common, **said, "reply_id": f"r{number}"})
        await city.room.comes(
            case_no,
            ["handoff.signed", "handoff.progressed", "handoff.questioned", "handoff.resolved"][
                number
            ],
        )
    await eventually(lambda: in_phase(city, case_no, "finished"))
    rated = await city.says(
        case_no, r.RatingGiven, rating=Rating(level=5, solved=True, comment=f"{M}评语")
    )
    await eventually(lambda: in_phase(city, case_no, "closed"))
    return case_no, order.handoff_id, [submitted, added, rated]


async def in_phase(city: City, case_no: str, phase: str) -> bool:
    return (await city.shown(case_no)).get("phase") == phase


async def erase(city: City, case_no: str, by: str) -> Event:
    """Somebody asks for an erasure; returns when it is done everywhere."""
    asked = await city.says(case_no, r.ErasureRequested, by=by)
    await eventually(lambda: city.is_erased(case_no), 30)
    return asked


def counted(case_no: str, events: Sequence[Event]) -> object:
    """What reporting counts of a case."""
    return contribution_of(state_of(case_no, events))


async def test_nothing_is_left_of_the_person_and_the_figures_stand(city: City) -> None:
    case_no, handoff_id, written = await resolved_and_closed(city)
    before = [*written, *await city.latest(case_no)]
    assert holds_person(city.stored(case_no))
    asked = await erase(city, case_no, "channel:app")
    await city.nothing_is_left(case_no)
    after = [*written, asked, *await city.latest(case_no)]
    assert counted(case_no, before) == counted(case_no, after)
    state = state_of(case_no, after)
    assert state.case is not None
    assert state.case.erased
    assert (state.incomplete, state.double) == ((), ())
    shown = await city.shown(case_no)
    assert shown["erased"] == "已清除个人信息"
    seen = await city.room.clients["desk-1"].get(f"/v1/handoffs/{handoff_id}")
    assert seen.json()["erased"] is True
    assert not holds_person(seen.content)


async def test_what_comes_late_brings_nothing_back(city: City) -> None:
    case_no, handoff_id, written = await resolved_and_closed(city)
    old = await city.latest(case_no)
    await erase(city, case_no, "operator:ops")

    # The words and the records of before, as a relay, a spool or a group set back brings them.
    for event in [*old, *written]:
        await city.write(event)
    late = await city.says(case_no, r.SupplementGiven, text=f"{M}迟来的补充")
    other = await city.says(case_no, r.RequestSubmitted, **submission_of(written[0], f"{M}另一件"))
    said = {"act": "progress", "text": f"{M}迟来的回复", "person": f"{M}经办人"}
    await city.room.reply("community", {**said, "reply_id": "late", "handoff_id": handoff_id})
    department = next(one.department for one in await city.feed_of(case_no))
    await city.room.reply(department, {**said, "reply_id": "later", "handoff_id": handoff_id})
    await city.room.comes(case_no, "handoff.reply_refused")
    await eventually(lambda: is_declined(city, case_no, late))
    await eventually(lambda: is_declined(city, case_no, other))
    await eventually(lambda: city.is_clean(case_no), 40)
    await eventually(lambda: city.is_erased(case_no), 30)
    await city.nothing_is_left(case_no)
    asked = await city.says(case_no, r.ErasureRequested, by="operator:ops")
    await eventually(lambda: is_declined(city, case_no, asked))
    await city.nothing_is_left(case_no)


def submission_of(event: Event, text: str) -> dict[str, Any]:
    """The fields of another submission under the same number."""
    data = event.data
    assert isinstance(data, r.RequestSubmitted)
    return {
        **{name: getattr(data, name) for name in ("body_digest", "code_version", "profile")},
        "request": data.request.model_copy(update={"text": text}),
        "accepted_at": data.accepted_at,
    }


async def is_declined(city: City, case_no: str, wish: Event) -> bool:
    answers = [e for e in await city.latest(case_no) if e.data.caused_by == f"event:{wish.id}"]
    return [answer.type for answer in answers] == ["wish.declined"]


async def test_the_desk_decides_about_an_open_case_and_its_outcome_is_told_by_lookup(
    city: City,
) -> None:
    submitted = await city.submits(BLUE)
    case_no = submitted.data.case_no
    await eventually(lambda: in_phase(city, case_no, "open"))
    first = await city.says(case_no, r.ErasureRequested, by="channel:app")
    await eventually(lambda: has_task(city, case_no, "erasure"))
    shown = await city.act(case_no, "erasure", {"accepted": False})
    assert shown["erased"] is None
    assert await is_declined(city, case_no, first) or await has_answer(city, case_no, first)
    inquiry = {"asked": "health", "question": f"{M}征询"}
    shown = await city.act(case_no, "inquire", inquiry)
    confirmed = {"confirmed_by": f"{M}确认人", "confirmed_at": datetime.now(UTC).isoformat()}
    inquiry_id = shown["inquiries"][0]["inquiry_id"]
    await city.act(
        case_no,
        "inquiry-answer",
        {"inquiry_id": inquiry_id, "text": f"{M}确认", **confirmed},
    )

    await city.says(case_no, r.ErasureRequested, by="channel:app")
    await eventually(lambda: has_task(city, case_no, "erasure"))
    shown = await city.act(case_no, "erasure", {"accepted": True})
    assert shown["erased"]
    assert not holds_person(json.dumps(shown, ensure_ascii=False).encode())
    await city.act(case_no, "answer", {"text": f"{M}答复"})
    await eventually(lambda: in_phase(city, case_no, "finished"))
    await eventually(lambda: city.is_erased(case_no), 30)
    await city.nothing_is_left(case_no)
    assert not any(holds_person(call.body) for call in city.channel.calls[-1:])


async def has_answer(city: City, case_no: str, wish: Event) -> bool:
    return any(e.data.caused_by == f"event:{wish.id}" for e in await city.latest(case_no))


async def has_task(city: City, case_no: str, kind: str) -> bool:
    return kind in [task["kind"] for task in (await city.shown(case_no)).get("tasks", ())]


async def test_a_server_that_has_the_handoff_is_told_to_delete_its_copy(city: City) -> None:
    submitted = await city.submits(BLUE)
    case_no = submitted.data.case_no
    await eventually(lambda: in_phase(city, case_no, "open"))
    await city.act(case_no, "handoff", {"department": "hotline-12345", "note": f"{M}批注"})
    await city.room.comes(case_no, "handoff.sent")
    assert holds_person(city.hotline.calls[-1].body)
    await erase(city, case_no, "operator:ops")
    await until(lambda: "erased" in city.hotline.steps())
    notice = next(call for call in city.hotline.calls if call.content["step"] == "erased")
    assert notice.content["handoff"]["erased"] is True
    assert not holds_person(notice.body)
    await eventually(lambda: all_taken(city, case_no))
    await city.nothing_is_left(case_no)
    assert city.hotline.steps().count("erased") == 1


async def all_taken(city: City, case_no: str) -> bool:
    shown = await city.room.clients["desk-1"].get(f"/v1/deliveries?case_no={case_no}")
    states = {one["step"]: one["state"] for one in shown.json()["deliveries"]}
    return states.get("erased") == "done"


async def test_an_outcome_that_was_not_posted_yet_is_left_for_lookup(city: City) -> None:
    refusing = asyncio.Event()

    async def refuse(_: Received) -> Response:
        refusing.set()
        return JSONResponse({}, status_code=503)

    city.channel.answer = refuse
    try:
        submitted = await city.submits(BLUE)
        case_no = submitted.data.case_no
        await eventually(lambda: in_phase(city, case_no, "open"))
        await city.act(case_no, "answer", {"text": f"{M}答复"})
        async with asyncio.timeout(20):
            await refusing.wait()
        await erase(city, case_no, "operator:ops")
    finally:
        city.channel.answer = None
    await eventually(lambda: in_phase(city, case_no, "finished"))
    told = [e.data for e in await city.latest(case_no) if isinstance(e.data, CitizenTold)]
    assert {(one.step, one.by) for one in told} == {("answered", "lookup")}
    await city.nothing_is_left(case_no)
