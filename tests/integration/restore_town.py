"""Triage and notify with databases of their own, stopped and started at will, and what happens in
them: for the tests of restoring."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from fastapi import FastAPI
from pydantic import SecretStr
from pymongo import AsyncMongoClient
from starlette.responses import JSONResponse, Response

from contracts import requests as r
from contracts import topics
from contracts.envelope import Event, EventData, parse
from contracts.feeds import FeedHandoff
from contracts.ids import case_number, event_id
from contracts.vocabulary import Contact, Rating, RequestContent
from services.chassis.bus.records import repaired_headers
from services.chassis.http import Health
from services.chassis.keys import KeyFile, new_key
from services.triage.app import build
from services.triage.settings import TriageSettings
from tests.fences import fenced
from tests.integration.notify_room import PROFILE, Building, Received, Receiver, Room, receiver

BLUE = "我在郑州打工，春节想回太康县老家，需要隔离吗？要几天之内的核酸证明？"
ORANGE = "淮阳区新站镇的小区楼道灯坏了，晚上老人下楼看不见，麻烦安排人来修一下"
HOTLINE = "hotline-12345"
WAIT_SECONDS = 40.0

Row = dict[str, Any]


async def eventually(what: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition that has to be asked for."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await what():
            await asyncio.sleep(0.05)


@dataclass
class Town:
    """Where everything is. `room` and `desk` are there while the services run."""

    building: Building
    database: str
    group: str
    keys: Path
    token: str
    producer: AIOKafkaProducer
    channel: Receiver
    hotline: Receiver
    refuses: set[str] = field(default_factory=set)
    """Cases of which the channel takes no message now."""
    cases: set[str] = field(default_factory=set)
    room: Room | None = None
    desk: httpx.AsyncClient | None = None

    def new_case(self) -> str:
        """Return a number that no other test has."""
        case_no = case_number(b"r" * 32, "app", uuid4().hex)
        self.cases.add(case_no)
        return case_no

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Both services work."""
        app, health, _ = build(self._settings(), database=self.database, group=self.group)
        urls = {HOTLINE: self.hotline.url}
        instance = f"{self.building.name}-1"
        async with (
            app.router.lifespan_context(app),
            self.building.room(department_urls=urls, instance=instance, lease_seconds=2.0) as room,
            self._client(app, self.token) as desk,
        ):
            async with asyncio.timeout(WAIT_SECONDS):
                while any((await health.ready()).values()):
                    await asyncio.sleep(0.05)
            self.room, self.desk = room, desk
            try:
                yield
            finally:
                self.room = self.desk = None

    async def triage_waits(self, case_no: str) -> tuple[str, int]:
        """Start triage where its database is gone; return what keeps it from being ready, and
        what it answers a clerk."""
        app, health, _ = build(self._settings(), database=self.database, group=self.group)
        async with app.router.lifespan_context(app), self._client(app, self.token) as desk:
            trouble = await _gone(health)
            answer = await desk.post(
                f"/v1/desk/cases/{case_no}/answer",
                json={"text": "可以"},
                headers={"Idempotency-Key": uuid4().hex},
            )
        return trouble, answer.status_code

    async def notify_waits(self) -> tuple[str, int]:
        """Likewise notify, and what it answers a department."""
        notify = self.building.made(department_urls={HOTLINE: self.hotline.url})
        token = self.building.tokens["health"]
        async with (
            notify.app.router.lifespan_context(notify.app),
            self._client(notify.app, token) as department,
        ):
            trouble = await _gone(notify.health)
            answer = await department.post(
                f"/v1/handoffs/{uuid4()}/sign", json={}, headers={"Idempotency-Key": uuid4().hex}
            )
        return trouble, answer.status_code

    def _settings(self) -> TriageSettings:
        return TriageSettings(
            kafka_url=self.building.kafka_url,
            mongo_url=SecretStr(self.building.mongo_url),
            keys_file=self.keys,
            instance=f"{self.group}-1",
        )

    def _client(self, app: FastAPI, token: str) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://service",
            headers={"Authorization": f"Bearer {token}"},
        )

    @property
    def at_work(self) -> Room:
        """The running notify."""
        assert self.room is not None
        return self.room

    async def says(
        self, case_no: str, kind: type[EventData], topic: str = topics.REQUESTS, **fields: Any
    ) -> Event:
        """Intake writes what a citizen says."""
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
        event = Event.of(event_id(case_no, case_no, data.type, cause), data)
        headers = [(name, text.encode()) for name, text in event.headers().items()]
        await self.producer.send_and_wait(
            topic, event.encoded, event.key, event.partition, headers=headers
        )
        return event

    async def submits(self, text: str, *, case_no: str = "", callback: bool = True) -> str:
        """A request comes in; returns its case."""
        case_no = case_no or self.new_case()
        url = f"{self.channel.url}/{case_no}" if callback else None
        contact = Contact(name="王五", phone="13800000002")
        content = RequestContent(channel="app", text=text, contact=contact, callback_url=url)
        await self.says(
            case_no,
            r.RequestSubmitted,
            request=content,
            body_digest="0" * 64,
            accepted_at=datetime.now(UTC),
            code_version=1,
            profile="zhoukou@test",
        )
        return case_no

    async def rates(self, case_no: str) -> None:
        """The citizen is content."""
        await self.says(case_no, r.RatingGiven, rating=Rating(level=5, solved=True))

    async def acts(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """A clerk does something."""
        assert self.desk is not None
        done = await self.desk.request(
            "PUT" if path.startswith("policies") else "POST",
            f"/v1/desk/{path}",
            json=body,
            headers={"Idempotency-Key": uuid4().hex},
        )
        assert done.status_code == 200, done.text
        return dict(done.json())

    async def shown(self, case_no: str) -> dict[str, Any]:
        """What the desk sees."""
        assert self.desk is not None
        seen = await self.desk.get(f"/v1/desk/cases/{case_no}")
        return dict(seen.json()) if seen.status_code == 200 else {}

    async def becomes(self, case_no: str, phase: str) -> None:
        """Wait until a case stands so."""

        async def is_so() -> bool:
            return (await self.shown(case_no)).get("phase") == phase

        await eventually(is_so)

    async def ordered(self, case_no: str, number: int = 1) -> FeedHandoff:
        """Return the order of a case that has come to a feed, the n-th."""

        async def is_there() -> bool:
            return len(self._orders(case_no)) >= number

        await eventually(is_there)
        return self._orders(case_no)[number - 1]

    def _orders(self, case_no: str) -> list[FeedHandoff]:
        newest = {one.handoff_id: one for one in self.at_work.log.feeds if one.case_no == case_no}
        return list(newest.values())

    async def replies(self, order: FeedHandoff, **said: Any) -> None:
        """A department replies on its topic."""
        body = {"handoff_id": order.handoff_id, "reply_id": uuid4().hex, **said}
        await self.at_work.reply(order.department, body)

    async def rows(self) -> dict[str, dict[str, Row]]:
        """All rows of both databases, by collection and id, but for those of others' cases."""
        found: dict[str, dict[str, Row]] = {}
        async with AsyncMongoClient[Row](self.building.mongo_url, tz_aware=True) as client:
            for database in (self.database, self.building.database):
                for name in await client[database].list_collection_names():
                    own = found.setdefault(name, {})
                    async for row in client[database][name].find({}):
                        if "case_no" not in row or row["case_no"] in self.cases:
                            own[str(row["_id"])] = row
        return found

    async def events(self) -> list[Event]:
        """Everything on the case topics about the cases of these databases, each record."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.building.kafka_url, enable_auto_commit=False
        )
        await consumer.start()
        found: list[Event] = []
        try:
            places = [
                TopicPartition(name, number)
                for name in topics.CASE_TOPICS
                for number in range(topics.CASE_PARTITIONS)
            ]
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            ends = await consumer.end_offsets(places)
            while any([await consumer.position(place) < ends[place] for place in places]):
                for records in (await consumer.getmany(timeout_ms=100)).values():
                    for record in records:
                        headers = repaired_headers(record.headers)
                        if headers.get("ce_subject") in self.cases:
                            found.append(parse(headers, record.value))
        finally:
            await consumer.stop()
        return found

    async def is_quiet(self) -> bool:
        """Whether everything is written, published, fanned out, erased and committed."""
        rows = await self.rows()
        documents = [
            *(rows[name].values() for name in ("cases", "groups", "handoffs", "deliveries"))
        ]
        if any(row["pending_since"] for own in documents for row in own):
            return False
        if any(not row["fanned_out"] for row in rows["groups"].values()):
            return False
        return await self._has_committed()

    async def _has_committed(self) -> bool:
        read = {
            self.group: (topics.REQUESTS, topics.HANDLING),
            self.building.name: (topics.TRIAGE,),
        }
        for group, names in read.items():
            consumer = AIOKafkaConsumer(
                bootstrap_servers=self.building.kafka_url, group_id=group, enable_auto_commit=False
            )
            places = [TopicPartition(n, p) for n in names for p in range(topics.CASE_PARTITIONS)]
            consumer.assign(places)
            await consumer.start()
            try:
                ends = await consumer.end_offsets(places)
                for place, end in ends.items():
                    if end and (await consumer.committed(place) or 0) < end:
                        return False
            finally:
                await consumer.stop()
        return True


async def _gone(health: Health) -> str:
    """Wait until a service says that its database is gone."""
    async with asyncio.timeout(WAIT_SECONDS):
        while "gone" not in (trouble := (await health.ready())["database"] or ""):
            await asyncio.sleep(0.05)
    return trouble


@contextlib.asynccontextmanager
async def town(kafka_url: str, mongo_url: str, folder: Path, name: str) -> AsyncIterator[Town]:
    """Make everything but start no service yet."""
    building = Building(kafka_url, mongo_url, folder, f"{name}-notify")
    await building.prepare()
    group, database = f"{name}-triage", f"jieyou_{name}_triage".replace("-", "_")
    await fenced(mongo_url, database, "triage")
    await _begin_at_the_ends(kafka_url, group)
    token, record = new_key("desk", "clerk-1")
    keys = folder / "triage-keys.json"
    KeyFile(keys).save([record])
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url, acks="all")
    await producer.start()
    refuses: set[str] = set()

    async def answer(call: Received) -> Response:
        is_refused = call.path.removeprefix("/") in refuses
        return JSONResponse({}, status_code=503 if is_refused else 200)

    try:
        async with receiver(answer) as channel, receiver() as hotline:
            yield Town(building, database, group, keys, token, producer, channel, hotline, refuses)
    finally:
        await producer.stop()


async def _begin_at_the_ends(kafka_url: str, group: str) -> None:
    """What other tests have written is none of this town's business."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka_url, group_id=group, enable_auto_commit=False
    )
    places = [
        TopicPartition(name, number)
        for name in (topics.REQUESTS, topics.HANDLING)
        for number in range(topics.CASE_PARTITIONS)
    ]
    consumer.assign(places)
    await consumer.start()
    try:
        await consumer.commit(await consumer.end_offsets(places))
    finally:
        await consumer.stop()


def departments() -> list[str]:
    """The codes of the profile's departments that read a feed."""
    return [one.code for one in PROFILE.departments if one.transport == "feed"]
