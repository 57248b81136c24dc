"""A running notify with a citizen's channel and a hotline beside it, for its tests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contracts.envelope import Event, parse
from contracts.feeds import FeedHandoff
from contracts.handling import CitizenTold
from contracts.lifecycle import CaseState, state_of
from contracts.profile import Profile, load_profile
from contracts.topics import (
    FEED_PARTITIONS,
    HANDLING,
    TRIAGE,
    all_topics,
    dead_letters,
    feed,
    replies,
)
from contracts.triage import HandoffOrdered
from deploy.topics import ensure_topics
from services.chassis.bus.records import repaired_headers
from services.chassis.erasure import SECOND_PASS_AFTER
from services.chassis.keys import KeyFile, KeyKind, new_key
from services.chassis.sweeper import TrustedClock
from services.notify.app import Notify, make_notify
from services.notify.settings import NotifySettings
from tests.fences import fenced
from tests.notify_story import CaseStory

PROFILE = load_profile("zhoukou")
SECRET = "c0" * 32
WAIT_SECONDS = 15.0


async def until(what: Callable[[], bool], seconds: float = WAIT_SECONDS) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "what was waited for did not come"
        await asyncio.sleep(0.02)


class RealClock:
    """This machine's time; a test has no doubt about it."""

    trusted = True

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class Received:
    """One call that a receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.body)
        return content


Answerer = Callable[[Received], Awaitable[Response]]


@dataclass
class Receiver:
    """An HTTP server that notes what it is sent; `answer` decides what it says."""

    url: str
    calls: list[Received] = field(default_factory=list)
    answer: Answerer | None = None

    def steps(self) -> list[str]:
        return [call.content["step"] for call in self.calls]


@contextlib.asynccontextmanager
async def receiver(answer: Answerer | None = None) -> AsyncIterator[Receiver]:
    """Serve on a free port of this machine."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    made = Receiver(f"http://127.0.0.1:{listener.getsockname()[1]}", answer=answer)

    async def take(request: Request) -> Response:
        headers = dict(request.headers.items())
        call = Received(request.url.path, headers, await request.body(), time.monotonic())
        made.calls.append(call)
        return await made.answer(call) if made.answer else JSONResponse({})

    app = Starlette(routes=[Route("/{path:path}", take, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    await until(lambda: server.started)
    try:
        yield made
    finally:
        server.should_exit = True
        server.force_exit = True
        await task


class Log:
    """Reads a few topics whole from where they ended when it was opened."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer
        self.events: list[Event] = []
        self.feeds: list[FeedHandoff] = []
        self.dead: list[dict[str, Any]] = []
        self.order: list[str] = []
        self.raw = b""

    async def read(self) -> None:
        while True:
            batches = await self._consumer.getmany(timeout_ms=50)
            for partition, records in batches.items():
                for record in records:
                    self._take(partition.topic, record.value, repaired_headers(record.headers))

    def _take(self, topic: str, value: bytes | None, headers: dict[str, str]) -> None:
        if topic == HANDLING and "ce_id" not in headers:
            return  # a tick
        if topic == HANDLING:
            event = parse(headers, value)
            self.events.append(event)
            self.order.append(event.id)
        elif topic.startswith("feed.") and value is not None:
            self.raw += value
            self.feeds.append(FeedHandoff.model_validate_json(value))
        elif value is not None:  # null takes a letter off
            self.dead.append(json.loads(value))

    def of(self, case_no: str, *types: str) -> list[Event]:
        """Events of a case, each once, in the order of the log."""
        found: dict[str, Event] = {}
        for event in self.events:
            if event.data.case_no == case_no and (not types or event.type in types):
                found.setdefault(event.id, event)
        return list(found.values())

    def types(self, case_no: str) -> list[str]:
        return [event.type for event in self.of(case_no)]

    def feed_of(self, handoff_id: str) -> list[FeedHandoff]:
        return [one for one in self.feeds if one.handoff_id == handoff_id]


async def write(producer: AIOKafkaProducer, events: Sequence[Event]) -> None:
    """Write events of triage."""
    for event in events:
        await producer.send_and_wait(
            TRIAGE,
            event.encoded,
            key=event.key,
            partition=event.partition,
            headers=[(k, v.encode()) for k, v in event.headers().items()],
        )


@dataclass
class Room:
    """A running notify, the log, and clients."""

    notify: Notify
    log: Log
    producer: AIOKafkaProducer
    clients: dict[str, httpx.AsyncClient]

    async def say(self, *events: Event) -> None:
        """Triage writes events."""
        await write(self.producer, events)

    async def reply(self, department: str, body: dict[str, Any] | bytes) -> None:
        """A department writes to its topic."""
        value = body if isinstance(body, bytes) else json.dumps(body).encode()
        await self.producer.send_and_wait(replies(department), value, key=b"k")

    async def act(
        self, who: str, handoff_id: str, act: str, key: str, body: dict[str, Any] | None = None
    ) -> httpx.Response:
        """Somebody acts over HTTP."""
        return await self.clients[who].post(
            f"/v1/handoffs/{handoff_id}/{act}", json=body or {}, headers={"Idempotency-Key": key}
        )

    async def comes(self, case_no: str, *types: str) -> list[Event]:
        """Wait until events of all these types of a case stand on the log."""
        await until(lambda: set(types) <= set(self.log.types(case_no)))
        return self.log.of(case_no, *types)


class Building:
    """Where notifies can be started: topics made, keys given, groups set to the end."""

    def __init__(self, kafka_url: str, mongo_url: str, folder: Path, name: str) -> None:
        self.kafka_url = kafka_url
        self.mongo_url = mongo_url
        self.name = name
        self.database = f"jieyou_{name}".replace("-", "_")
        self.keys = KeyFile(folder / "keys.json")
        self.tokens: dict[str, str] = {}
        kinds = [(KeyKind.DEPARTMENT, code) for code in ("health", "transport", "hotline-12345")]
        records = []
        for kind, code in [*kinds, (KeyKind.DESK, "desk-1"), (KeyKind.CHANNEL, "app")]:
            self.tokens[code], record = new_key(kind, code)
            records.append(record)
        self.keys.save(records)

    async def prepare(self) -> None:
        """Make the topics, and let the group begin where other tests have ended."""
        departments = [one.code for one in PROFILE.departments]
        await ensure_topics(self.kafka_url, all_topics(departments))
        async with self._consumer(group_id=self.name) as consumer:
            topics = [TRIAGE, *(replies(code) for code in departments)]
            partitions = [TopicPartition(t, n) for t in topics for n in range(_partitions(t))]
            consumer.assign(partitions)
            await consumer.commit(await consumer.end_offsets(partitions))
        await fenced(self.mongo_url, self.database, "notify")

    async def say(self, *events: Event) -> None:
        """Triage writes events while no notify runs."""
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka_url, acks="all")
        await producer.start()
        await write(producer, events)
        await producer.stop()

    @contextlib.asynccontextmanager
    async def _consumer(self, **options: Any) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.kafka_url,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            **options,
        )
        await consumer.start()
        try:
            yield consumer
        finally:
            await consumer.stop()

    def made(
        self,
        *,
        clock: TrustedClock | None = None,
        profile: Profile = PROFILE,
        instance: str = "notify-1",
        second_erasure_after: timedelta = SECOND_PASS_AFTER,
        **options: Any,
    ) -> Notify:
        """Make a notify that does not run yet."""
        settings = NotifySettings(
            kafka_url=self.kafka_url,
            mongo_url=SecretStr(self.mongo_url),
            webhook_secret=SecretStr(SECRET),
            instance=instance,
            **{"first_retry_seconds": 0.1, "scan_seconds": 0.1, **options},
        )
        return make_notify(
            settings,
            profile,
            self.keys,
            database=self.database,
            group=self.name,
            clock=clock or RealClock(),
            second_erasure_after=second_erasure_after,
        )

    @contextlib.asynccontextmanager
    async def room(
        self,
        *,
        clock: TrustedClock | None = None,
        profile: Profile = PROFILE,
        instance: str = "notify-1",
        second_erasure_after: timedelta = SECOND_PASS_AFTER,
        **options: Any,
    ) -> AsyncIterator[Room]:
        """Start a notify and open the log."""
        notify = self.made(
            clock=clock,
            profile=profile,
            instance=instance,
            second_erasure_after=second_erasure_after,
            **options,
        )
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka_url, acks="all")
        async with self._log() as log, notify.app.router.lifespan_context(notify.app):
            await producer.start()
            reading = asyncio.create_task(log.read())
            room = Room(notify, log, producer, self._clients(notify))
            try:
                await _ready(notify)
                yield room
            finally:
                reading.cancel()
                await producer.stop()
                for client in room.clients.values():
                    await client.aclose()

    @contextlib.asynccontextmanager
    async def _log(self) -> AsyncIterator[Log]:
        async with self._consumer() as consumer:
            departments = [one.code for one in PROFILE.departments]
            topics = [HANDLING, dead_letters("notify"), *(feed(code) for code in departments)]
            partitions = [TopicPartition(t, n) for t in topics for n in range(_partitions(t))]
            consumer.assign(partitions)
            for partition in partitions:  # now, not with the first poll
                await consumer.position(partition)
            yield Log(consumer)

    def _clients(self, notify: Notify) -> dict[str, httpx.AsyncClient]:
        return {
            name: httpx.AsyncClient(
                transport=httpx.ASGITransport(app=notify.app),
                base_url="http://notify",
                headers={"Authorization": f"Bearer {token}"},
            )
            for name, token in self.tokens.items()
        }


async def _ready(notify: Notify) -> None:
    deadline = time.monotonic() + 30
    while any((await notify.health.ready()).values()):
        assert time.monotonic() < deadline, await notify.health.ready()
        await asyncio.sleep(0.05)


def _partitions(topic: str) -> int:
    if topic in (TRIAGE, HANDLING):
        return 12
    return 1 if topic.startswith("dead-letters.") else FEED_PARTITIONS


def subsequence(part: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether `part` stands in `whole` in this order."""
    rest = iter(whole)
    return all(one in rest for one in part)


def handoff_of(event: Event) -> str:
    """The hand-off that an order begins."""
    assert isinstance(event.data, HandoffOrdered)
    return event.data.handoff_id


def story_now(**options: str) -> CaseStory:
    """A case that is opened now."""
    return CaseStory(at=datetime.now(UTC), **options)


def state(story: CaseStory, room: Room) -> CaseState:
    """The state of a case by triage's events and what stands on the log."""
    return state_of(story.case_no, [*story.kept.events, *room.log.of(story.case_no)])


async def sent(room: Room, story: CaseStory, ordered: Event) -> str:
    """Give an order to a department with a feed and wait until it is there."""
    await room.say(ordered)
    handoff = handoff_of(ordered)
    await until(lambda: bool(room.log.feed_of(handoff)))
    await room.comes(story.case_no, "handoff.sent")
    return handoff


def told(room: Room, story: CaseStory) -> list[CitizenTold]:
    """What the citizen of a case was told, in the order of the log."""
    events = room.log.of(story.case_no, "citizen.told")
    return [event.data for event in events if isinstance(event.data, CitizenTold)]
