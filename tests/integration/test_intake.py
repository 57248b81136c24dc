"""Intake against a real Kafka and a real store: what is accepted stands on the log, always."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pydantic import SecretStr

from contracts import ids
from contracts.envelope import TICK_KEY, Event, parse
from contracts.profile import Channel, Profile, load_profile
from contracts.requests import (
    ErasureRequested,
    RatingGiven,
    RequestSubmitted,
    SupplementGiven,
    WithdrawalRequested,
)
from contracts.topics import CASE_PARTITIONS, REQUESTS, all_topics, partition_for
from deploy.local import jars, kafka, launch, ports, store
from deploy.topics import ensure_topics
from services.chassis.bus.records import repaired_headers
from services.chassis.clock import StoryClock
from services.chassis.keys import KeyFile, KeyKind, new_key
from services.chassis.store import Store
from services.intake.app import Intake, make_intake
from services.intake.domain.bodies import WithdrawalBody
from services.intake.domain.wishes import record_id, wish
from services.intake.handlers import Ports, Way, accept
from services.intake.ledger import Breaker, Ledger
from services.intake.settings import IntakeSettings
from services.intake.spool import Caretaker
from services.intake.store import Kept, Records, Runs

SECRET = SecretStr("ab" * 32)
PROFILE = load_profile("zhoukou")
BODY = {"text": "从郑州返乡需要隔离吗？", "category": "policy"}


@dataclass(frozen=True)
class Running:
    """A started intake and clients for it."""

    intake: Intake
    app: httpx.AsyncClient
    web: httpx.AsyncClient
    operator: httpx.AsyncClient
    citizen: httpx.AsyncClient

    async def submit(self, key: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return await self.app.post(
            "/v1/requests", json=body or BODY, headers={"Idempotency-Key": key}
        )

    async def say(
        self, path: str, case: dict[str, Any], body: dict[str, Any], key: str = "k"
    ) -> httpx.Response:
        return await self.citizen.post(
            f"/v1/requests/{case['case_no']}/{path}",
            json=body,
            headers={"Idempotency-Key": key, "Retrieval-Code": case["retrieval_code"]},
        )


class Starter:
    """Starts intakes of one database."""

    def __init__(self, folder: Path, mongo_url: str, database: str) -> None:
        self._mongo_url = mongo_url
        self._database = database
        self._keys = KeyFile(folder / "keys.json")
        made = [
            new_key(KeyKind.CHANNEL, "app"),
            new_key(KeyKind.CHANNEL, "web"),
            new_key(KeyKind.OPERATOR, "operator-1"),
        ]
        self._keys.save([record for _, record in made])
        self._tokens = [token for token, _ in made]

    @contextlib.asynccontextmanager
    async def start(
        self, kafka_url: str, profile: Profile = PROFILE, **settings: Any
    ) -> AsyncIterator[Running]:
        given: dict[str, Any] = {
            "kafka_url": kafka_url,
            "mongo_url": SecretStr(self._mongo_url),
            "case_secret": SECRET,
            "code_secret": SECRET,
            "instance": "intake-1",
            "publish_timeout_seconds": 1.0,
            "store_timeout_seconds": 1.0,
        }
        intake = make_intake(
            IntakeSettings(**{**given, **settings}), profile, self._keys, database=self._database
        )
        async with (
            intake.app.router.lifespan_context(intake.app),
            contextlib.AsyncExitStack() as clients,
        ):
            transport = httpx.ASGITransport(intake.app)
            made = [
                await clients.enter_async_context(
                    httpx.AsyncClient(
                        transport=transport,
                        base_url="http://intake",
                        headers={"Authorization": f"Bearer {token}"} if token else {},
                    )
                )
                for token in [*self._tokens, ""]
            ]
            yield Running(intake, *made)


@pytest.fixture
def starter(tmp_path: Path, mongo_url: str, unique_name: Callable[[str], str]) -> Starter:
    return Starter(tmp_path, mongo_url, unique_name("intake"))


@pytest.fixture
async def running(starter: Starter, kafka_url: str) -> AsyncIterator[Running]:
    await ensure_topics(kafka_url, all_topics([]))
    await write_to_each_partition(kafka_url)
    async with starter.start(kafka_url) as one:
        await until(lambda: is_ready(one))
        await until(lambda: accepts(one))
        yield one


def with_channel_rate(per_minute: int) -> Profile:
    """The profile with one channel alone, held to a rate."""
    content = PROFILE.model_dump(include={"channels"})["channels"][0]
    slow = Channel.model_validate({**content, "requests_per_minute": per_minute})
    parts = {name: getattr(PROFILE, name) for name in Profile.model_fields}
    return Profile.model_validate({**parts, "channels": (slow,)})


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < end, "the condition did not come true"
        await asyncio.sleep(0.05)


async def is_ready(one: Running) -> bool:
    return (await one.citizen.get("/health/ready")).status_code == 200 and bool(
        (await one.citizen.get("/health/live")).is_success
    )


async def write_to_each_partition(kafka_url: str) -> None:
    """Wait until every partition of a new topic has its leader: till then requests are spooled."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url, acks="all")
    await producer.start()
    for number in range(CASE_PARTITIONS):
        await producer.send_and_wait(REQUESTS, b"{}", TICK_KEY, number)
    await producer.stop()


async def accepts(one: Running) -> bool:
    """Whether the bus takes a request: ready it is already while bus or store still connects."""
    taken = (await one.submit("of-the-fixture")).status_code == 202
    return taken and one.intake.ports.bus.is_closed and one.intake.ports.ledger.is_clear


async def on_the_log(kafka_url: str, case_no: str) -> list[Event]:
    """All records of a case on requests.v1, in the order of the log."""
    partition = TopicPartition(REQUESTS, partition_for(case_no))
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_url, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        end = (await consumer.end_offsets([partition]))[partition]
        found = []
        while await consumer.position(partition) < end:
            for raw in (await consumer.getmany(timeout_ms=500)).get(partition, []):
                headers = repaired_headers(raw.headers)
                if headers.get("ce_subject") == case_no:
                    event = parse(headers, raw.value)
                    assert raw.key == event.key
                    found.append(event)
        return found
    finally:
        await consumer.stop()


async def test_an_accepted_request_stands_on_the_log_with_all_that_was_sent(
    running: Running, kafka_url: str
) -> None:
    answer = await running.submit(
        "full",
        {
            "text": " 我母亲在家透析三天没做，现在昏迷叫不醒，急！\u0000 ",
            "category": "medical",
            "region": "411602",
            "location": {"address": "七一路", "lat": 33.62, "lon": 114.65},
            "contact": {"name": "王某", "phone": "+86 138-0000-1234"},
            "on_behalf_of": {"relation": "母亲", "age": 78, "situation": "尿毒症"},
            "occurred_at": "2022-01-18T08:00:00+08:00",
            "external_id": "A-1",
            "callback_url": "http://127.0.0.1:9/told",
        },
    )
    assert answer.status_code == 202, answer.text
    case = answer.json()
    assert ids.parse_case_number(case["case_no_spoken"]) == case["case_no"]
    assert case["status_url"] == f"http://127.0.0.1:8804/v1/cases/{case['case_no']}"
    assert case["retrieval_code"] not in case["status_url"]
    assert case["danger"]["ring"][0]["number"] == "120"
    assert "120" in case["danger"]["says"]
    (event,) = await on_the_log(kafka_url, case["case_no"])
    assert isinstance(event.data, RequestSubmitted)
    request = event.data.request
    assert request.text == "我母亲在家透析三天没做，现在昏迷叫不醒，急！"
    assert request.contact is not None
    assert request.contact.phone == "13800001234"
    assert request.on_behalf_of is not None
    assert request.on_behalf_of.age == 78
    assert (request.channel, request.region) == ("app", "411602")
    assert event.data.occurred_at.isoformat() == "2022-01-18T00:00:00+00:00"
    assert event.data.accepted_at.isoformat() == case["accepted_at"].replace("Z", "+00:00")
    assert "120" in event.data.ring
    assert any(sign.cause == "medical" for sign in event.data.danger)
    assert "full" not in event.encoded.decode()


async def test_the_same_key_and_body_give_the_same_answer_and_the_same_bytes(
    running: Running, kafka_url: str
) -> None:
    first = await running.submit("twice", {"text": "甲", "category": "policy"})
    again = await running.submit("twice", {"category": "policy", "text": "甲"})
    assert (first.status_code, again.status_code) == (202, 202)
    assert again.json() == first.json()
    records = await on_the_log(kafka_url, first.json()["case_no"])
    assert len(records) == 2
    assert len({(event.id, event.encoded) for event in records}) == 1


async def test_calls_with_one_key_at_once_are_one_request(running: Running, kafka_url: str) -> None:
    answers = await asyncio.gather(*(running.submit("race") for _ in range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    records = await on_the_log(kafka_url, answers[0].json()["case_no"])
    assert len({(event.id, event.encoded) for event in records}) == 1


async def test_the_same_key_with_another_body_is_refused(running: Running, kafka_url: str) -> None:
    first = await running.submit("reused", {"text": "甲"})
    other = await running.submit("reused", {"text": "乙"})
    assert other.status_code == 422
    assert other.headers["content-type"] == "application/problem+json"
    assert other.json()["type"] == "urn:jieyou:problem:key-reused"
    assert len(await on_the_log(kafka_url, first.json()["case_no"])) == 1
    elsewhere = await running.web.post(
        "/v1/requests", json={"text": "乙"}, headers={"Idempotency-Key": "reused"}
    )
    assert elsewhere.status_code == 202
    assert elsewhere.json()["case_no"] != first.json()["case_no"]


async def test_a_problem_names_every_wrong_field_and_quotes_none(running: Running) -> None:
    answer = await running.web.post(
        "/v1/requests",
        json={
            "text": " \u3000\n",
            "category": "没有的类别",
            "region": "999999",
            "location": {"lat": 95.0, "lon": 1},
            "contact": {"phone": "13800"},
            "on_behalf_of": {"age": "七十八"},
            "occurred_at": "2999-01-01T00:00:00Z",
            "callback_url": "http://10.0.0.7/told",
            "txet": "x",
        },
        headers={"Idempotency-Key": "wrong"},
    )
    assert answer.status_code == 422
    assert {error["field"] for error in answer.json()["errors"]} == {
        "text",
        "category",
        "region",
        "location.lat",
        "contact.phone",
        "on_behalf_of.age",
        "occurred_at",
        "callback_url",
        "txet",
    }
    assert "没有的类别" not in answer.text
    assert '13800"' not in answer.text


@pytest.mark.parametrize(
    ("headers", "content", "status", "field"),
    [
        ({}, b'{"text":"x"}', 400, "Idempotency-Key"),
        ({"Idempotency-Key": "k" * 201}, b'{"text":"x"}', 400, "Idempotency-Key"),
        ({"Idempotency-Key": "k"}, b'{"text":', 400, "body"),
        ({"Idempotency-Key": "k"}, b'{"text":"\xff\xfe"}', 400, "body"),
        ({"Idempotency-Key": "k"}, b'{"text":"\\ud800"}', 400, "body"),
        ({"Idempotency-Key": "k"}, b"[1]", 422, "body"),
        ({"Idempotency-Key": "k"}, b"", 422, "text"),
        ({"Idempotency-Key": "k"}, b'{"text":5}', 422, "text"),
        ({"Idempotency-Key": "k"}, b'{"text":"' + b"x" * 4001 + b'"}', 422, "text"),
        ({"Idempotency-Key": "k"}, b'{"text":"' + b"x" * 70_000 + b'"}', 413, "body"),
    ],
)
async def test_what_cannot_be_a_request_is_refused_with_the_field(
    running: Running, headers: dict[str, str], content: bytes, status: int, field: str
) -> None:
    answer = await running.app.post(
        "/v1/requests", content=content, headers={"Content-Type": "application/json", **headers}
    )
    assert answer.status_code == status, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_only_a_channels_key_opens_it(running: Running) -> None:
    sent: dict[str, Any] = {"json": BODY, "headers": {"Idempotency-Key": "k"}}
    assert (await running.citizen.post("/v1/requests", **sent)).status_code == 401
    assert (await running.operator.post("/v1/requests", **sent)).status_code == 403


async def test_later_words_need_the_code_and_stand_on_the_log_once(
    running: Running, kafka_url: str
) -> None:
    case = (await running.submit("words")).json()
    assert (await running.say("supplements", case, {"text": "补充：老人晕倒在地"})).json()["danger"]
    rated = await running.say("rating", case, {"level": 5, "solved": True, "comment": "谢谢"})
    again = await running.say("rating", case, {"solved": True, "level": 5, "comment": "谢谢"})
    assert rated.status_code == 202, rated.text
    assert again.json() == rated.json()
    assert (await running.say("rating", case, {"level": 1, "solved": True})).status_code == 422
    assert (await running.say("rating", case, {"level": 6, "solved": 1})).json()["errors"] == [
        {"field": "level", "why": "不应大于 5"},
        {"field": "solved", "why": "应为 true 或 false"},
    ]
    through_channel = await running.app.post(
        f"/v1/requests/{ids.spoken(case['case_no']).lower()}/withdrawal",
        headers={"Idempotency-Key": "k", "Retrieval-Code": case["retrieval_code"].lower()},
    )
    assert through_channel.status_code == 202, through_channel.text
    events = await on_the_log(kafka_url, case["case_no"])
    by_id = {event.id: event.data for event in events}
    assert [type(data) for data in by_id.values()] == [
        RequestSubmitted,
        SupplementGiven,
        RatingGiven,
        WithdrawalRequested,
    ]
    rating = next(data for data in by_id.values() if isinstance(data, RatingGiven)).rating
    assert (rating.level, rating.solved, rating.comment) == (5, True, "谢谢")


async def test_a_wrong_number_and_a_wrong_code_look_alike_and_guessing_is_stopped(
    running: Running,
) -> None:
    case = (await running.submit("guess")).json()
    never_given = ids.case_number(b"x" * 32, "app", "never given")
    wrong = await running.say("rating", {**case, "retrieval_code": "0" * 10}, {})
    unknown = await running.say("rating", {**case, "case_no": never_given}, {})
    malformed = await running.say("rating", {**case, "case_no": "123"}, {})
    assert (wrong.status_code, wrong.text) == (404, unknown.text)
    assert malformed.text == wrong.text
    without = await running.citizen.post(
        f"/v1/requests/{case['case_no']}/withdrawal", headers={"Idempotency-Key": "k"}
    )
    assert without.json()["errors"][0]["field"] == "Retrieval-Code"
    for _ in range(9):
        await running.say("rating", {**case, "retrieval_code": "0" * 10}, {})
    stopped = await running.say("rating", case, {"level": 5, "solved": True})
    assert stopped.status_code == 429
    assert int(stopped.headers["retry-after"]) > 0


async def test_erasure_is_for_the_channel_that_posted_the_case_and_for_operators(
    running: Running, kafka_url: str
) -> None:
    case = (await running.submit("erase")).json()
    url = f"/v1/requests/{case['case_no']}/erasure"
    headers = {"Idempotency-Key": "k"}
    assert (await running.web.post(url, headers=headers)).status_code == 404
    assert (await running.citizen.post(url, headers=headers)).status_code == 401
    assert (await running.app.post(url, headers=headers)).status_code == 202
    assert (await running.operator.post(url, headers={"Idempotency-Key": "o"})).status_code == 202
    asked = [
        event.data.by
        for event in await on_the_log(kafka_url, case["case_no"])
        if isinstance(event.data, ErasureRequested)
    ]
    assert asked == ["channel:app", "operator:operator-1"]


async def test_a_channel_is_held_to_its_rate(starter: Starter, kafka_url: str) -> None:
    profile = with_channel_rate(2)
    async with starter.start(kafka_url, profile) as one:
        statuses = [(await one.submit(f"fast-{n}")).status_code for n in range(3)]
        me = await one.app.get("/v1/channels/me")
        assert me.json()["requests_per_minute"] == 2
        assert (await one.web.get("/v1/channels/me")).status_code == 403
    assert statuses == [202, 202, 429]


async def test_anybody_can_read_the_categories_places_and_hotlines(running: Running) -> None:
    profile = (await running.citizen.get("/v1/profile")).json()
    assert len(profile["categories"]) == 10
    assert {"code": "411602", "name": "川汇区", "parent": "411600", "level": "county"} in profile[
        "regions"
    ]
    assert {one["number"] for one in profile["hotlines"]} >= {"110", "119", "120", "122"}
    assert "danger" not in profile
    document = (await running.citizen.get("/openapi.json")).json()
    posted = document["paths"]["/v1/requests"]["post"]
    schema = posted["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["text"]
    assert "$ref" not in str(schema)


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[tuple[str, Callable[[], subprocess.Popen[bytes]]]]:
    """A Kafka of the test's own that is not started yet, and what starts it."""
    port = ports.choose()
    node = kafka.KafkaNode(1, port, ports.choose(taken=[port]), tmp_path / "kafka")
    kafka.write_configuration([node])
    class_path = jars.ensure_jars()
    log_file = tmp_path / "kafka.log"
    command = kafka.format_command(node, class_path, kafka.cluster_id(tmp_path))
    assert launch.start(command, log_file).wait(60) == 0
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        process = launch.start(kafka.run_command(node, class_path), log_file)
        started.append(process)
        launch.wait_until_ready(
            "kafka",
            process,
            lambda: kafka.is_ready(node.host, node.port),
            log_file=log_file,
            timeout_s=60,
        )
        return process

    yield f"{node.host}:{node.port}", start
    launch.end(started, grace_s=1)


@pytest.mark.local_platform
async def test_what_the_bus_cannot_take_waits_in_the_spool_and_gets_there(
    starter: Starter,
    own_kafka: tuple[str, Callable[[], subprocess.Popen[bytes]]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    kafka_url, start_kafka = own_kafka
    async with starter.start(kafka_url, instance="intake-0", spool_limit=4) as died:
        left = [(await died.submit(f"left-{n}")).json() for n in range(2)]
    async with starter.start(kafka_url, spool_limit=6) as one:
        assert await is_ready(one)
        danger = await one.submit("danger", {"text": "有人昏迷叫不醒，快救命"})
        assert danger.status_code == 202
        assert danger.json()["danger"]
        assert "danger waits in the spool" in capsys.readouterr().out
        assert (await one.submit("danger", {"text": "另一份内容"})).status_code == 422
        calm = await one.submit("calm")
        assert (await one.submit("calm")).json() == calm.json()
        await until(lambda: knows_of(one, 2))
        while (answer := await one.submit(f"more-{one.intake.ports.ledger.waiting}")).is_success:
            pass
        assert one.intake.ports.ledger.waiting == 4
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert not await is_ready(one)

        start_kafka()
        await ensure_topics(kafka_url, all_topics([]))
        await until(lambda: is_drained(one))
        for case in (danger.json(), calm.json()):
            assert len(events := await on_the_log(kafka_url, case["case_no"])) == 1
            assert isinstance(events[0].data, RequestSubmitted)
            assert events[0].data.accepted_at.isoformat() == case["accepted_at"].replace(
                "Z", "+00:00"
            )
        assert (await one.submit("now")).status_code == 202
        assert not any([await on_the_log(kafka_url, case["case_no"]) for case in left])
    # A new process of the name of the one that went takes over what that one left.
    async with starter.start(kafka_url, instance="intake-0"):
        await until(lambda: all_on_the_log(kafka_url, [case["case_no"] for case in left]))


async def knows_of(one: Running, elsewhere: int) -> bool:
    return one.intake.ports.elsewhere == elsewhere


async def is_drained(one: Running) -> bool:
    return one.intake.ports.ledger.is_clear


async def all_on_the_log(kafka_url: str, case_numbers: list[str]) -> bool:
    return all([await on_the_log(kafka_url, number) for number in case_numbers])


@pytest.mark.local_platform
async def test_without_the_store_the_log_alone_takes_it_and_without_both_nothing_does(
    tmp_path: Path, kafka_url: str
) -> None:
    await ensure_topics(kafka_url, all_topics([]))
    port = ports.choose()
    process = launch.start(store.run_command(port, tmp_path / "data"), tmp_path / "store.log")
    try:
        launch.wait_until_ready(
            "store",
            process,
            lambda: launch.listens("127.0.0.1", port),
            log_file=tmp_path / "store.log",
            timeout_s=60,
        )
        starter = Starter(tmp_path, store.url(port), "jieyou_intake")
        async with (
            starter.start(kafka_url) as one,
            starter.start("127.0.0.1:9", instance="intake-2") as cut_off,
        ):
            await until(lambda: is_ready(one))
            launch.end([process], grace_s=0)
            answers = await asyncio.gather(*(one.submit(f"bus-alone-{n}") for n in range(3)))
            assert {answer.status_code for answer in answers} == {202}
            for answer in answers:
                assert len(await on_the_log(kafka_url, answer.json()["case_no"])) == 1
            assert await is_ready(one)
            refused = await cut_off.submit("nobody")
            assert refused.status_code == 503
            assert "retry-after" in refused.headers
            assert "110" in refused.json()["detail"]
            assert not await is_ready(cut_off)
    finally:
        launch.end([process], grace_s=0)


async def test_what_a_process_left_that_died_is_published_by_another(
    mongo_url: str, unique_name: Callable[[str], str]
) -> None:
    database = Store(mongo_url, unique_name("intake"))
    records, runs = Records(database), Runs(database)
    clock = StoryClock(datetime(2022, 1, 18, tzinfo=UTC))
    published: list[Event] = []

    async def publish(events: Sequence[Event]) -> None:
        published.extend(events)

    def caretaker(instance: str) -> tuple[Ports, Caretaker]:
        taking = Ports(records, publish, Ledger(), Breaker(1), Breaker(1), clock, spool_limit=9)
        return taking, Caretaker(taking, records, runs, instance)

    died, its_caretaker = caretaker("intake-1")
    other, others_caretaker = caretaker("intake-2")
    await its_caretaker.beat()
    left = [kept(number) for number in range(3)]
    assert (await accept(left[0], died)).way is Way.BUS
    await its_caretaker.beat()
    for record in left[1:]:
        await records.add(record, died.ledger.run, died.ledger.begin())
    published.clear()

    await others_caretaker.beat()
    await others_caretaker.look_after()
    clock.advance(timedelta(seconds=11))
    await its_caretaker.beat()
    await others_caretaker.look_after()
    assert published == [], "the other one is alive"
    clock.advance(timedelta(seconds=11))
    await others_caretaker.look_after()
    assert [event.id for event in published] == [record.event.id for record in left[1:]]
    assert [event.encoded for event in published] == [record.event.encoded for record in left[1:]]
    assert [run.id for run in await runs.all()] == [other.ledger.run]
    await database.drop()
    database.close()


def kept(number: int) -> Kept:
    """A citizen's withdrawal as intake remembers it."""
    case_no = ids.case_number(b"x" * 32, "app", f"left-{number}")
    event = wish(
        case_no,
        WithdrawalBody(reason=None),
        by="citizen",
        key="k",
        now=datetime(2022, 1, 18, tzinfo=UTC),
        traceparent="00-" + "1" * 32 + "-" + "2" * 16 + "-01",
    )
    return Kept(record_id(event), "digest", None, event)


async def test_the_process_starts_and_stops_as_it_is_told(
    tmp_path: Path, mongo_url: str, kafka_url: str
) -> None:
    await ensure_topics(kafka_url, all_topics([]))
    token, record = new_key(KeyKind.CHANNEL, "app")
    KeyFile(tmp_path / "keys.json").save([record])
    environment = {
        "JIEYOU_KAFKA_URL": kafka_url,
        "JIEYOU_MONGO_URL": mongo_url,
        "JIEYOU_KEYS_FILE": str(tmp_path / "keys.json"),
        "JIEYOU_CASE_SECRET": "ab" * 32,
        "JIEYOU_PORT": str(port := ports.choose()),
    }
    command = [sys.executable, "-m", "services.intake"]
    refused = await asyncio.to_thread(
        subprocess.run,
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert refused.stderr == (
        "jieyou: JIEYOU_CODE_SECRET: is not set; "
        "set it, or name its file in JIEYOU_CODE_SECRET_FILE\n"
    )
    log_file = tmp_path / "intake.log"
    environment["JIEYOU_CODE_SECRET"] = "cd" * 32
    process = launch.start(command, log_file, environment)
    try:
        launch.wait_until_ready(
            "intake",
            process,
            lambda: launch.answers_ok(f"http://127.0.0.1:{port}/health/ready"),
            log_file=log_file,
            timeout_s=30,
        )
        text = "王小明，电话13800001234，求助买药"
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            answer = await client.post(
                "/v1/requests",
                json={"text": text, "contact": {"name": "王小明", "phone": "13800001234"}},
                headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "secret-key"},
            )
            assert answer.status_code == 202
            measures = (await client.get("/metrics")).text
        taken = 'jieyou_intake_accepted_total{type="request.submitted",way="bus"} 1.0'
        assert taken in measures
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        launch.end([process], grace_s=0)
    written = log_file.read_text()
    assert answer.json()["case_no"] in written
    for private in ("王小明", "13800001234", "买药", "secret-key", answer.json()["retrieval_code"]):
        assert private not in written
    assert token not in written
