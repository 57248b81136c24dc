"""Triage against a real Kafka and a real store: decided once, published always."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from pydantic import SecretStr

from contracts import topics
from contracts.dead_letters import DeadLetter, Origin
from contracts.envelope import Event, EventData
from contracts.handling import CitizenTold, HandoffResolved, HandoffSent
from contracts.ids import case_number, event_id
from contracts.lifecycle import Phase, state_of
from contracts.profile import load_profile
from contracts.requests import RatingGiven, RequestSubmitted, WithdrawalRequested
from contracts.triage import HandoffOrdered
from contracts.vocabulary import Contact, Rating, RequestContent, Result
from deploy.topics import ensure_topics
from services.chassis.batches import read_event
from services.chassis.bus.records import to_record
from services.chassis.keys import KeyFile, new_key
from services.chassis.store import Store
from services.triage.app import build
from services.triage.settings import TriageSettings
from services.triage.store import DATABASE, TriageStore
from tests.fences import fenced

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROFILE = load_profile("zhoukou")
BLUE = "我在郑州打工，春节想回太康县老家，需要隔离吗？要几天之内的核酸证明？"
ORANGE = "淮阳区新站镇的小区楼道灯坏了，晚上老人下楼看不见，麻烦安排人来修一下"


@dataclass
class Running:
    """A started triage, a citizen's and a department's pen, and an eye on its topic."""

    desk: httpx.AsyncClient
    producer: AIOKafkaProducer
    kafka_url: str
    kept: TriageStore

    async def write(self, event: Event) -> None:
        """Write an event as its owner would."""
        topic = topics.REQUESTS if event.data.owner == "intake" else topics.HANDLING
        headers = [(name, text.encode()) for name, text in event.headers().items()]
        await self.producer.send_and_wait(
            topic, event.encoded, event.key, event.partition, headers=headers
        )

    async def submit(self, text: str, **request: Any) -> Event:
        """A request comes in."""
        case_no = case_number(b"t" * 32, "app", uuid4().hex)
        event = self.make(
            RequestSubmitted,
            case_no,
            lc=1,
            request=RequestContent(
                channel="app", text=text, contact=Contact(phone="13800000001"), **request
            ),
            body_digest="0" * 64,
            accepted_at=datetime.now(UTC),
            code_version=1,
            profile="zhoukou@test",
        )
        await self.write(event)
        return event

    def make(self, kind: type[EventData], case_no: str, **fields: Any) -> Event:
        """An event of intake or notify."""
        now = datetime.now(UTC)
        cause = f"command:{uuid4()}"
        common = {
            "case_no": case_no,
            "document_id": case_no,
            "lc": 50,
            "caused_by": cause,
            "occurred_at": now,
            "recorded_at": now,
        }
        data = kind(**{**common, **fields})
        return Event.of(event_id(case_no, data.document_id, data.type, cause), data)

    async def written(self, case_no: str, kind: str, count: int = 1) -> list[Event]:
        """All records of triage about a case, as soon as there are `count` of this type."""
        partition = TopicPartition(topics.TRIAGE, topics.partition_for(case_no))
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka_url, enable_auto_commit=False)
        await consumer.start()
        found: list[Event] = []
        try:
            consumer.assign([partition])
            await consumer.seek_to_beginning(partition)
            async with asyncio.timeout(20):
                while sum(event.type == kind for event in found) < count:
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        # Others write to this topic too, unreadable records among them.
                        about = ("ce_subject", case_no.encode())
                        own = [one for one in records if about in one.headers]
                        found += [e for one in own if (e := read_event(to_record(one)))]
        finally:
            await consumer.stop()
        return found

    async def act(
        self, case_no: str, what: str, body: dict[str, Any], key: str | None = None, **headers: str
    ) -> httpx.Response:
        """A clerk does something."""
        return await self.desk.post(
            f"/v1/desk/cases/{case_no}/{what}",
            json=body,
            headers={"Idempotency-Key": key or uuid4().hex, **headers},
        )


@pytest.fixture(scope="module")
def prepared(kafka_url: str, mongo_url: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    keys = tmp_path_factory.mktemp("triage") / "keys.json"
    token, record = new_key("desk", "clerk-1")
    KeyFile(keys).save([record])
    keys.with_suffix(".token").write_text(token)
    specs = topics.all_topics(d.code for d in PROFILE.departments)
    asyncio.run(ensure_topics(kafka_url, specs))
    asyncio.run(fenced(mongo_url, DATABASE, "triage"))
    return keys


@pytest.fixture(scope="module")
def settings(kafka_url: str, mongo_url: str, prepared: Path) -> TriageSettings:
    return TriageSettings(
        kafka_url=kafka_url,
        mongo_url=SecretStr(mongo_url),
        keys_file=prepared,
        instance="triage-test",
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(settings: TriageSettings, prepared: Path) -> AsyncIterator[Running]:
    app, health, _ = build(settings)
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka_url, acks="all")
    await producer.start()
    store = Store(settings.mongo_url.get_secret_value(), DATABASE)
    token = prepared.with_suffix(".token").read_text()
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://triage",
            headers={"Authorization": f"Bearer {token}"},
        ) as desk,
    ):
        async with asyncio.timeout(30):
            while any((await health.ready()).values()):
                await asyncio.sleep(0.05)
        yield Running(desk, producer, settings.kafka_url, TriageStore(store))
    await producer.stop()
    store.close()


async def waiting_for(running: Running, case_no: str, phase: Phase) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            shown = await running.desk.get(f"/v1/desk/cases/{case_no}")
            if shown.status_code == 200 and shown.json()["phase"] == phase:
                return dict(shown.json())
            await asyncio.sleep(0.05)


async def test_a_request_is_opened_with_reasons_and_clocks(running: Running) -> None:
    submitted = await running.submit(BLUE)
    [opened] = await running.written(submitted.data.case_no, "case.opened")
    state = state_of(submitted.data.case_no, [submitted, opened])
    assert state.incomplete == ()
    assert state.case
    assert state.case.decision
    assert state.case.decision.reasons
    assert {"told", "handed_over", "seen"} <= state.case.deadlines.keys()


async def test_a_second_delivery_writes_the_same_bytes_and_decides_nothing(
    running: Running,
) -> None:
    submitted = await running.submit(ORANGE)
    await running.written(submitted.data.case_no, "handoff.ordered")
    await running.write(submitted)
    found = await running.written(submitted.data.case_no, "handoff.ordered", 2)
    by_id: dict[str, set[bytes]] = {}
    for event in found:
        by_id.setdefault(event.id, set()).add(event.encoded)
    assert len(by_id) == len({event.type for event in found})
    assert all(len(contents) == 1 for contents in by_id.values())


async def test_the_whole_round_from_request_to_closed(running: Running) -> None:
    submitted = await running.submit(ORANGE)
    case_no = submitted.data.case_no
    events = await running.written(case_no, "handoff.ordered")
    ordered = next(e for e in events if e.type == "handoff.ordered")
    assert isinstance(ordered.data, HandoffOrdered)
    common = {
        "handoff_id": ordered.data.handoff_id,
        "document_id": ordered.data.handoff_id,
        "role": "lead",
        "attempt": 1,
        "department": ordered.data.order.department,
    }
    sent = running.make(
        HandoffSent,
        case_no,
        seq=1,
        caused_by=f"event:{ordered.id}",
        by="feed",
        order=ordered.data.order,
        **common,
    )
    result = Result(text="已修好", acts="换灯", contact="社区")
    resolved = running.make(HandoffResolved, case_no, seq=2, result=result, **common)
    for event in (sent, resolved):
        await running.write(event)
    events = await running.written(case_no, "case.resolved")
    outcome = next(e for e in events if e.type == "case.resolved")
    told = running.make(
        CitizenTold,
        case_no,
        document_id="delivery",
        seq=1,
        caused_by=f"event:{outcome.id}",
        delivery_id="delivery",
        tells=outcome.id,
        step="resolved",
        by="lookup",
        told_at=datetime.now(UTC),
        attempts=0,
    )
    rated = running.make(RatingGiven, case_no, rating=Rating(level=5, solved=True))
    for event in (told, rated):
        await running.write(event)
    events = await running.written(case_no, "case.closed")
    state = state_of(case_no, [submitted, sent, resolved, told, rated, *events])
    assert state.status == "closed"
    assert state.incomplete == ()
    assert state.double == ()


async def test_a_command_is_done_once_and_refused_when_the_view_has_changed(
    running: Running,
) -> None:
    submitted = await running.submit(BLUE)
    case_no = submitted.data.case_no
    shown = await waiting_for(running, case_no, Phase.OPEN)
    first = await running.act(
        case_no, "answer", {"text": "可以"}, "k1", **{"If-Match": shown["view"]}
    )
    again = await running.act(
        case_no, "answer", {"text": "可以"}, "k1", **{"If-Match": shown["view"]}
    )
    other = await running.act(
        case_no, "answer", {"text": "不"}, "k2", **{"If-Match": shown["view"]}
    )
    assert (first.status_code, again.status_code, other.status_code) == (200, 200, 412)
    reused = await running.act(case_no, "answer", {"text": "不同的话"}, "k1")
    assert reused.status_code == 422
    assert reused.json()["errors"][0]["field"] == "Idempotency-Key"
    impossible = await running.act(case_no, "answer", {"text": "不"})
    assert impossible.status_code == 409
    events = await running.written(case_no, "case.answered")
    assert sum(e.type == "case.answered" for e in events) == 1


async def test_bad_input_of_the_desk_names_its_field(running: Running) -> None:
    submitted = await running.submit(BLUE)
    case_no = submitted.data.case_no
    await waiting_for(running, case_no, Phase.OPEN)
    wrong = await running.act(case_no, "reclassify", {"why": "x", "category": "weather"})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["field"] == "category"
    empty = await running.act(case_no, "answer", {"text": "  "})
    assert empty.json()["errors"][0]["field"] == "text"
    unknown = await running.act("0000000000000", "answer", {"text": "x"})
    assert unknown.status_code == 404
    nowhere = await running.act(case_no, "handoff", {"department": "nobody"})
    assert nowhere.status_code == 409


async def test_a_wish_that_comes_before_its_case_is_parked_and_then_answered(
    running: Running,
) -> None:
    case_no = case_number(b"t" * 32, "app", uuid4().hex)
    wish = running.make(WithdrawalRequested, case_no)
    await running.write(wish)
    async with asyncio.timeout(20):
        while not any(p.event.id == wish.id for p in await running.kept.parked()):
            await asyncio.sleep(0.05)
    submitted = running.make(
        RequestSubmitted,
        case_no,
        request=RequestContent(channel="app", text=BLUE),
        body_digest="0" * 64,
        accepted_at=datetime.now(UTC),
        code_version=1,
        profile="zhoukou@test",
    )
    await running.write(submitted)
    events = await running.written(case_no, "case.withdrawn")
    assert f"event:{wish.id}" in {e.data.caused_by for e in events}
    async with asyncio.timeout(20):
        while any(p.event.id == wish.id for p in await running.kept.parked()):
            await asyncio.sleep(0.05)


async def test_a_different_request_under_one_number_goes_to_the_desk(running: Running) -> None:
    first = await running.submit(BLUE)
    case_no = first.data.case_no
    await waiting_for(running, case_no, Phase.OPEN)
    second = running.make(
        RequestSubmitted,
        case_no,
        request=RequestContent(channel="app", text="别的事"),
        body_digest="1" * 64,
        accepted_at=datetime.now(UTC),
        code_version=1,
        profile="zhoukou@test",
    )
    await running.write(second)
    await running.written(case_no, "case.conflicted")
    shown = await running.desk.get(f"/v1/desk/cases/{case_no}")
    assert "conflict" in {task["kind"] for task in shown.json()["tasks"]}


async def test_a_group_has_one_result_and_each_member_is_told(running: Running) -> None:
    members = [(await running.submit(BLUE)).data.case_no for _ in range(3)]
    for case_no in members:
        await waiting_for(running, case_no, Phase.OPEN)
    formed = await running.desk.post(
        "/v1/desk/groups",
        json={"kind": "same_need", "members": members, "reasons": ["同一问题"]},
        headers={"Idempotency-Key": uuid4().hex},
    )
    assert formed.status_code == 200, formed.text
    for case_no in members:
        await running.written(case_no, "case.joined_group")
    left = await running.desk.post(
        f"/v1/desk/groups/{formed.json()['group_id']}/members",
        json={"left": [members[2]]},
        headers={"Idempotency-Key": uuid4().hex},
    )
    assert left.status_code == 200, left.text
    await running.written(members[2], "case.left_group")
    answered = await running.act(members[0], "answer", {"text": "不需要隔离"})
    assert answered.status_code == 200, answered.text
    await running.written(members[1], "case.group_resolved")
    shown = await waiting_for(running, members[2], Phase.OPEN)
    assert [task["kind"] for task in shown["tasks"]] == ["route"]


async def test_what_breaks_the_contract_is_put_aside_and_its_neighbours_go_on(
    running: Running,
) -> None:
    partition_of_next = await running.submit(BLUE)
    await running.producer.send_and_wait(
        topics.REQUESTS, b"{", b"poison", partition=partition_of_next.partition
    )
    after = await running.submit(BLUE)
    await running.written(after.data.case_no, "case.opened")
    await running.written(partition_of_next.data.case_no, "case.opened")


async def test_a_case_with_a_dead_letter_is_shown_as_blocked_until_that_is_taken_off(
    running: Running,
) -> None:
    submitted = await running.submit(BLUE)
    case_no = submitted.data.case_no
    await running.written(case_no, "case.opened")
    origin = Origin(topic=topics.TRIAGE, partition=submitted.partition, offset=9, timestamp_ms=0)
    letter = DeadLetter(
        service="notify",
        reason="could not be decided",
        origin=origin,
        headers=submitted.headers(),
        at=datetime.now(UTC),
    )

    async def becomes(value: bytes | None, reasons: list[str]) -> None:
        topic, key = topics.dead_letters("notify"), origin.name.encode()
        await running.producer.send_and_wait(topic, value, key, 0)
        async with asyncio.timeout(20):
            while True:
                shown = (await running.desk.get(f"/v1/desk/cases/{case_no}")).json()
                if [block["reason"] for block in shown["blocked"]] == reasons:
                    return
                await asyncio.sleep(0.05)

    await becomes(letter.model_dump_json().encode(), ["could not be decided"])
    await becomes(None, [])


async def test_the_queue_needs_a_key_of_the_desk(running: Running) -> None:
    nobody = await running.desk.get("/v1/desk/queue", headers={"Authorization": "Bearer x"})
    assert nobody.status_code == 401
    queue = await running.desk.get("/v1/desk/queue")
    assert queue.status_code == 200
    assert {"waiting", "cases"} <= queue.json().keys()


async def test_a_second_delivery_after_a_restart_finds_the_case_in_the_store(
    settings: TriageSettings, prepared: Path, running: Running
) -> None:
    submitted = await running.submit(ORANGE)
    await running.written(submitted.data.case_no, "handoff.ordered")
    known = running.kept.cases
    before = (await known.load([submitted.data.case_no]))[submitted.data.case_no]
    app, health, _ = build(settings.model_copy(update={"instance": "triage-second"}))
    async with app.router.lifespan_context(app):
        async with asyncio.timeout(30):
            while any((await health.ready()).values()):
                await asyncio.sleep(0.05)
        await running.write(submitted)
        await running.written(submitted.data.case_no, "handoff.ordered", 2)
    after = (await known.load([submitted.data.case_no]))[submitted.data.case_no]
    assert [e.encoded for e in after.events] == [e.encoded for e in before.events]
