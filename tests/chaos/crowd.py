"""Departments, hotlines, desk and citizens of a chaos run: the demonstration's people, without a
story, with clients that outlive a broker or service that goes away."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from contracts.feeds import FeedHandoff
from contracts.profile import Profile
from contracts.topics import FEED_PARTITIONS, feed
from deploy.simulators.calls import Calls
from deploy.simulators.departments import HttpReplies, Replies
from deploy.simulators.desk import Clerks, Desk
from deploy.simulators.handoff_script import Say
from deploy.simulators.handoffs import Department, Reply
from deploy.simulators.receiver import Receiver, ReceiverServer
from deploy.simulators.room import Journal, Room
from tests.chaos import journal
from tests.chaos.load import Load
from tests.chaos.reading import stopped
from tests.chaos.stage import Stage

CHANNEL = "app"
_AT_ONCE = 64
_RETURNED_ONE_OF = 25
_UNSOLVED_ONE_OF = 20
_AGAIN_S = 0.1
_KNOWN_WITHIN_S = 120.0


class CountingTransport(httpx.AsyncHTTPTransport):
    """Counts what each service answered, and what broke off."""

    def __init__(self, service: str, counts: Counter[tuple[str, str]]) -> None:
        super().__init__(limits=httpx.Limits(max_connections=_AT_ONCE))
        self._service = service
        self._counts = counts

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Pass a request on and count its end."""
        try:
            response = await super().handle_async_request(request)
        except httpx.HTTPError as error:
            self._counts[self._service, type(error).__name__] += 1
            raise
        self._counts[self._service, str(response.status_code)] += 1
        return response


@dataclass
class Crowd:
    """Everybody but those who ask. `answers` counts what services answered to them."""

    stage: Stage
    profile: Profile
    load: Load
    server: ReceiverServer
    webhook_keys: dict[str, str]
    journals: journal.Journals
    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    _room: Room = field(default_factory=lambda: Room({}))
    _rated: set[tuple[str, int]] = field(default_factory=set)

    async def work(self) -> None:
        """Work until cancelled."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            desk = await self._desk(stack)
            departments = await self._departments(stack, tasks)
            receiver = Receiver(self.webhook_keys[CHANNEL], self._told(tasks))
            self.server.add(CHANNEL, receiver)
            tasks.create_task(self.server.serve())
            tasks.create_task(self._read_feeds(departments))
            tasks.create_task(desk.run())

    async def _calls(self, stack: AsyncExitStack, service: str, kind: str, name: str) -> Calls:
        transport = CountingTransport(service, self.answers)
        token = self.stage.tokens[kind][name]
        calls = Calls(self.stage.url(service), token=token, transport=transport)
        return await stack.enter_async_context(calls)

    async def _desk(self, stack: AsyncExitStack) -> Desk:
        tokens = self.stage.tokens
        triage = {
            person: await self._calls(stack, "triage", kind, person)
            for kind in ("desk", "supervisor")
            for person in tokens[kind]
        }
        notify = {one: await self._calls(stack, "notify", "desk", one) for one in tokens["desk"]}
        supervisor = next(iter(tokens["supervisor"]))
        return Desk(self._room, self.profile, Clerks(triage, notify, supervisor))

    async def _departments(
        self, stack: AsyncExitStack, tasks: asyncio.TaskGroup
    ) -> dict[str, Department]:
        replies = Replies(self.stage.addresses.kafka_url)
        await replies.start()
        stack.push_async_callback(replies.stop)
        arrivals = self.journals[journal.ARRIVALS]
        taking_feed: dict[str, Department] = {}
        for one in self.profile.departments:
            if one.transport == "feed":
                reply = _returning(replies, self.profile)
                department = Department(one.code, self._room, reply, arrivals, tasks)
                taking_feed[one.code] = department
            else:
                by_http = HttpReplies(await self._calls(stack, "notify", "department", one.code))
                department = Department(one.code, self._room, by_http, arrivals, tasks)
                take = _gateway(department, self.journals[journal.WEBHOOKS])
                self.server.add(one.code, Receiver(self.webhook_keys[one.code], take))
        return taking_feed

    async def _read_feeds(self, departments: dict[str, Department]) -> None:
        """Read all feeds whole: without a group there is no coordinator to lose."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.stage.addresses.kafka_url.split(","),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            metadata_max_age_ms=5_000,
        )
        await consumer.start()
        by_topic = {feed(code): department for code, department in departments.items()}
        consumer.assign([TopicPartition(t, n) for t in by_topic for n in range(FEED_PARTITIONS)])
        try:
            while True:
                try:
                    batches = await consumer.getmany(timeout_ms=100, max_records=500)
                except KafkaError:
                    await asyncio.sleep(_AGAIN_S)
                    continue
                for partition, records in batches.items():
                    for record in records:
                        _arrive(by_topic[partition.topic], record.value)
        finally:
            await stopped(consumer)

    def _told(self, tasks: asyncio.TaskGroup) -> Any:
        """What takes a callback of the channel: note it, and let the citizen rate."""
        told = self.journals[journal.TOLD]

        def take(message_id: str, body: dict[str, Any]) -> str:
            case_no, step, round_ = body["case_no"], body["step"], body["round"]
            told.write(
                webhook_id=message_id,
                case_no=case_no,
                event_id=body["event_id"],
                step=step,
                round=round_,
            )
            if step == "finished_ask_rating" and (case_no, round_) not in self._rated:
                self._rated.add((case_no, round_))
                tasks.create_task(self._rate(case_no, round_))
            return f"app-{message_id[:8]}"

        return take

    async def _rate(self, case_no: str, round_: int) -> None:
        """Most are content; some of the first rounds were not solved."""
        for _ in range(int(_KNOWN_WITHIN_S / _AGAIN_S)):
            if case_no in self.load.codes:
                break
            await asyncio.sleep(_AGAIN_S)  # a callback can be faster than intake's own answer
        else:
            return
        is_unsolved = round_ == 0 and crc32(case_no.encode()) % _UNSOLVED_ONE_OF == 0
        rating = {"level": 2 if is_unsolved else 5, "solved": not is_unsolved}
        await self.load.wish(case_no, "rating", rating, f"r-{case_no}-{round_}")


def _arrive(department: Department, value: bytes | None) -> None:
    if value is None:
        return
    try:
        handoff = FeedHandoff.model_validate_json(value)
    except ValidationError:
        department.journal.write(department=department.code, unreadable=True)
        return
    department.arrive(handoff)


def _returning(reply: Reply, profile: Profile) -> Reply:
    """Some first orders are returned instead of signed, always the same ones."""
    codes = [one.code for one in profile.departments if one.transport == "feed"]

    async def say(handoff: FeedHandoff, said: Say) -> None:
        is_first = handoff.round == 0 and handoff.attempt == 1 and not handoff.returned_by
        drawn = crc32(handoff.handoff_id.encode()) % _RETURNED_ONE_OF == 0
        if not (is_first and drawn and handoff.role == "lead" and not handoff.binding):
            await reply(handoff, said)
        elif said.act == "sign":
            proper = next(code for code in codes if code != handoff.department)
            form = {"ground": "经核实不属于本单位职责范围。", "proper_department": proper}
            await reply(handoff, Say("return", "return", form))

    return say


def _gateway(department: Department, webhooks: Journal) -> Any:
    """What takes the webhooks of a hotline: each message once, by its id."""

    def take(message_id: str, body: dict[str, Any]) -> str:
        handoff = FeedHandoff.model_validate(body["handoff"])
        webhooks.write(
            webhook_id=message_id,
            department=department.code,
            handoff_id=handoff.handoff_id,
            case_no=handoff.case_no,
            version=handoff.version,
            order=[handoff.round, handoff.role, handoff.attempt],
        )
        department.arrive(handoff)
        return f"{department.code}-{message_id[:8]}"

    return take
