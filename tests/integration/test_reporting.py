"""Reporting against a real Kafka and a real store: applied once, equal to a recount, rebuilt."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from contracts import ids, topics
from contracts.dead_letters import DeadLetter, Origin
from contracts.envelope import Event
from contracts.profile import load_profile
from deploy.topics import ensure_topics
from services.chassis.keys import KeyFile, new_key
from services.chassis.store import Store
from services.reporting import recount
from services.reporting.app import make_reporting
from services.reporting.domain.buckets import Figures
from services.reporting.domain.progress import Reached
from services.reporting.domain.public_view import BLOCKED_SAYS
from services.reporting.handlers import Applied, Applier
from services.reporting.settings import ReportingSettings
from services.reporting.store import Projection
from tests.contract.histories import MARKER, History
from tests.unit.reporting_room import Log, PutAsideList, history, state

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROFILE = load_profile("zhoukou")
CODE_SECRET = "c0" * 32
START = datetime(2001, 1, 1, tzinfo=UTC) + timedelta(days=random.randrange(2_000))
SPAN = {"from": START.isoformat(), "to": (START + timedelta(days=2)).isoformat()}
"""The hours of this run's histories: what others write to the same topics lies elsewhere."""


@dataclass
class Running:
    """A started reporting and who reads from it."""

    client: httpx.AsyncClient
    tokens: dict[str, str]

    async def get(self, path: str, key: str | None = "operator", **query: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.tokens[key]}"} if key else {}
        return await self.client.get(path, params=query, headers=headers)

    async def look_up(self, case_no: str, code: str | None = None) -> httpx.Response:
        code = code or ids.retrieval_code(bytes.fromhex(CODE_SECRET), case_no)
        return await self.client.get(f"/v1/cases/{case_no}", headers={"Retrieval-Code": code})

    async def audited(self) -> dict[str, Any]:
        """All pages of the audit, by case number; no case may stand in two."""
        found: dict[str, Any] = {}
        after: str | None = ""
        while after is not None:
            page = (await self.get("/v1/audit/cases", after=after)).json()
            assert not found.keys() & {case["case_no"] for case in page["cases"]}
            found |= {case["case_no"]: case for case in page["cases"]}
            after = page["next"]
        return found

    async def until_current(self) -> dict[str, Any]:
        """The figures of the histories' hours, once nothing is unread."""
        async with asyncio.timeout(30):
            while True:
                answer = await self.get("/v1/figures", "reader", **SPAN)
                figures: dict[str, Any] = answer.json()
                if answer.status_code == 200 and figures["as_of"]["is_current"]:
                    return figures
                await asyncio.sleep(0.05)

    async def until_blocked(self, case_no: str, *, is_blocked: bool = True) -> None:
        """Wait until a case stands among the blocked, or does not."""
        async with asyncio.timeout(30):
            while True:
                document = (await self.get("/v1/queues", "desk")).json()
                shown = {
                    case["case_no"]
                    for queue in document["queues"]
                    if queue["queue"] == "blocked"
                    for case in queue["cases"]
                }
                if (case_no in shown) is is_blocked:
                    return
                await asyncio.sleep(0.05)


@dataclass
class Place:
    """Where reporting runs: its settings, keys and names of its own."""

    settings: ReportingSettings
    keys: KeyFile
    tokens: dict[str, str]
    database: str
    group: str

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Running]:
        service = make_reporting(
            self.settings, PROFILE, self.keys, database=self.database, group=self.group
        )
        async with (
            service.app.router.lifespan_context(service.app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(service.app), base_url="http://reporting"
            ) as client,
        ):
            async with asyncio.timeout(40):
                while (await client.get("/health/ready")).status_code != 200:
                    await asyncio.sleep(0.05)
            yield Running(client, self.tokens)


@pytest.fixture(scope="module")
def place(kafka_url: str, mongo_url: str, tmp_path_factory: pytest.TempPathFactory) -> Place:
    keys, tokens, records = tmp_path_factory.mktemp("reporting") / "keys.json", {}, []
    for kind in ("operator", "reader", "desk", "channel"):
        tokens[kind], record = new_key(kind, f"{kind}-1")
        records.append(record)
    file = KeyFile(keys)
    file.save(records)
    specs = topics.all_topics(department.code for department in PROFILE.departments)
    asyncio.run(ensure_topics(kafka_url, specs))
    settings = ReportingSettings(
        kafka_url=kafka_url,
        mongo_url=SecretStr(mongo_url),
        keys_file=keys,
        instance=f"reporting-{uuid4().hex[:8]}",
        code_secret=SecretStr(CODE_SECRET),
        batch_pause_seconds=0.0,
        batch_records=60,
    )
    name = uuid4().hex[:8]
    return Place(settings, file, tokens, f"test_reporting_{name}", f"reporting-{name}")


Write = Callable[[Iterable[Event]], Awaitable[None]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def write(kafka_url: str) -> AsyncIterator[Write]:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url, acks="all")
    await producer.start()
    topic_of = {"intake": topics.REQUESTS, "triage": topics.TRIAGE, "notify": topics.HANDLING}

    async def write(events: Iterable[Event]) -> None:
        waits = [
            await producer.send(
                topic_of[event.data.owner],
                event.encoded,
                event.key,
                event.partition,
                headers=[(name, text.encode()) for name, text in event.headers().items()],
            )
            for event in events
        ]
        await asyncio.gather(*waits)

    yield write
    await producer.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(place: Place, write: Write) -> AsyncIterator[Running]:
    async with place.started() as running:
        yield running


HISTORIES = [history(seed, start=START) for seed in range(30)]


def _expected(histories: Iterable[History]) -> Figures:
    return recount.figures_of(state(one) for one in histories)


async def test_figures_equal_a_recount_and_repetition_changes_nothing(
    place: Place, write: Write, running: Running
) -> None:
    events = [event for one in HISTORIES for event in one.events]
    await write(events[::2] + events[1::2] + events[::7])

    figures = await running.until_current()

    totals = recount.totals_of(_expected(HISTORIES))
    assert figures["totals"]["accepted"] == len(HISTORIES)
    assert figures["totals"]["closed"] == totals["closed"]
    assert figures["totals"]["incomplete"] == 0
    assert figures["totals"]["handoffs"]["dispatched"] == totals["dispatched"] > 0
    compared = (await running.get("/v1/recount")).json()
    assert compared["is_equal"] is True, compared
    assert compared["cases"] >= len(HISTORIES)


async def test_groups_of_figures_add_up_to_the_totals(running: Running) -> None:
    whole = await running.until_current()
    for by in ("category", "tier", "department", "channel", "hour", "day", "region"):
        answer = (await running.get("/v1/figures", "desk", by=by, **SPAN)).json()
        for name in ("accepted", "finished", "handed_over", "closed"):
            added = sum(group["totals"][name] for group in answer["groups"])
            assert added == whole["totals"][name], (by, name)
    red = (await running.get("/v1/figures", by="tier", tier="red", **SPAN)).json()
    assert [group["key"] for group in red["groups"]] == ["red"]


async def test_a_case_is_looked_up_with_its_number_and_code_alone(
    running: Running,
) -> None:
    one = next(h for h in HISTORIES if not h.is_erased)
    await running.until_current()

    answer = await running.look_up(one.case_no)
    assert answer.status_code == 200
    seen = answer.json()
    assert seen["status"] == state(one).status
    assert seen["timeline"][0]["step"] == "received"
    assert [step["at"] for step in seen["timeline"]]

    lower = await running.look_up(ids.spoken(one.case_no).lower())
    assert lower.status_code == 404, "the code is of the number as it was derived"
    wrong = await running.look_up(one.case_no, "0000000000")
    unknown = await running.look_up(ids.case_number(b"x", "app", "nobody"), "0000000000")
    assert wrong.status_code == unknown.status_code == 404
    assert wrong.json() == unknown.json()


async def test_a_number_that_has_not_arrived_is_received(running: Running) -> None:
    answer = await running.look_up(ids.case_number(b"x", "app", "on its way"))
    assert answer.status_code == 200
    assert answer.json()["status"] == "received"


async def test_keys_open_what_is_theirs(running: Running) -> None:
    assert (await running.get("/v1/figures", None)).status_code == 401
    assert (await running.get("/v1/figures", "channel")).status_code == 403
    assert (await running.get("/v1/queues", "reader")).status_code == 403
    assert (await running.get("/v1/audit/cases", "desk")).status_code == 403
    public = await running.get("/v1/public/figures", None, **SPAN)
    assert public.status_code == 200
    assert "handoffs" not in public.json()["totals"]
    assert "partitions" not in public.json()["as_of"]
    refused = await running.get("/v1/figures", "reader", region="000000")
    assert refused.json()["errors"] == [{"field": "region", "why": "没有这个代码"}]
    turned = await running.get("/v1/figures", **{"from": SPAN["to"], "to": SPAN["from"]})
    assert turned.json()["errors"][0]["field"] == "to"


async def test_the_audit_lists_every_case_once_and_what_it_lacks(
    running: Running, write: Write
) -> None:
    lacking = history(500, start=START)
    await write([event for event in lacking.events if event.type != "case.opened"])
    await running.until_current()

    found = await running.audited()
    assert {one.case_no for one in HISTORIES} <= found.keys()
    assert found[HISTORIES[0].case_no]["incomplete"] == []
    assert found[lacking.case_no]["incomplete"] != []
    looked_up = (await running.look_up(lacking.case_no)).json()
    assert looked_up["is_complete"] is False


async def test_an_unreadable_record_blocks_its_case_and_nothing_else(
    running: Running, write: Write, place: Place, kafka_url: str
) -> None:
    one, beside = (
        history(501, start=START, steps=0, closes=False),
        history(502, start=START, steps=0, closes=False),
    )
    event = one.events[0]
    headers = [(name, text.encode()) for name, text in event.headers().items()]
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(
            topics.REQUESTS, b'{"case_no":', event.key, event.partition, headers=headers
        )
        await write([*one.events, *beside.events])
        await running.until_current()
        await running.until_blocked(one.case_no)

        assert (await running.look_up(one.case_no)).json()["is_complete"] is False
        assert (await running.look_up(beside.case_no)).json()["is_complete"] is True
        queues = {q["queue"]: q for q in (await running.get("/v1/queues", "desk")).json()["queues"]}
        assert one.case_no in [case["case_no"] for case in queues["blocked"]["cases"]]
        (block,) = (await running.audited())[one.case_no]["blocked"]
        assert (block["service"], block["reason"]) == ("reporting", "breaks the contract at value")

        off = block["origin"].encode()
        await producer.send_and_wait(topics.dead_letters("reporting"), None, off, 0)
        await running.until_blocked(one.case_no, is_blocked=False)
        assert (await running.look_up(one.case_no)).json()["is_complete"] is True
    finally:
        await producer.stop()


async def test_a_case_is_blocked_by_any_service_though_nothing_of_it_has_arrived(
    running: Running, kafka_url: str
) -> None:
    event = history(511, start=START, steps=0, closes=False).events[0]
    case_no = event.data.case_no
    origin = Origin(topic=topics.REQUESTS, partition=event.partition, offset=7, timestamp_ms=0)
    letter = DeadLetter(
        service="triage",
        reason="could not be decided",
        origin=origin,
        headers=event.headers(),
        at=datetime.now(UTC),
    )
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url, acks="all")
    await producer.start()
    try:
        topic, key = topics.dead_letters("triage"), origin.name.encode()
        await producer.send_and_wait(topic, letter.model_dump_json().encode(), key, 0)
        await running.until_blocked(case_no)
        seen = (await running.look_up(case_no)).json()
        assert (seen["status"], seen["says"]) == ("received", BLOCKED_SAYS)
        queues = {q["queue"]: q for q in (await running.get("/v1/queues", "desk")).json()["queues"]}
        assert case_no in [case["case_no"] for case in queues["blocked"]["cases"]]
        assert (await running.audited())[case_no]["is_opened"] is False
        await producer.send_and_wait(topic, None, key, 0)
        await running.until_blocked(case_no, is_blocked=False)
        assert case_no not in await running.audited()
    finally:
        await producer.stop()


async def test_erased_bytes_are_gone_from_the_database(
    running: Running, write: Write, place: Place
) -> None:
    one = history(503, start=START, steps=6)
    assert not one.is_erased
    await write(one.events)
    await running.until_current()
    before = recount.totals_of(recount.figures_of([state(one)]))
    one.redact()
    await write(one.events)
    await running.until_current()

    store = Store(place.settings.mongo_url.get_secret_value(), place.database)
    document = await store.collection("cases").find_one({"_id": one.case_no})
    store.close()
    assert document is not None
    assert MARKER not in str(document)
    assert recount.totals_of(recount.figures_of([state(one)])) == before
    assert (await running.get("/v1/recount")).json()["is_equal"] is True


async def test_processes_that_hold_one_partition_both_count_everything_once(
    mongo_url: str,
) -> None:
    store = Store(mongo_url, f"test_reporting_{uuid4().hex[:8]}")
    projection = Projection(store)
    await projection.prepare()
    cases, log = [history(seed, start=START) for seed in range(504, 510)], Log()
    records = [log.append(event) for one in cases for event in one.events]
    zombie, other = (Applier(projection, PutAsideList(), 100) for _ in range(2))
    await zombie.apply(records[:40])

    async def by(applier: Applier, size: int) -> None:
        for start in range(0, len(records), size):
            await applier.apply(records[start : start + size])

    await asyncio.gather(by(zombie, 60), by(other, 45))

    counted = await projection.figures(None, None)
    assert recount.differences(counted, _expected(cases)) == []
    await store.drop()
    store.close()


async def test_a_database_that_was_thrown_away_is_filled_again_from_the_log(
    place: Place, running: Running, write: Write
) -> None:
    name = uuid4().hex[:8]
    settings = place.settings.model_copy(
        update={"instance": f"reporting-{name}", "batch_records": 1_000}
    )
    again = Place(settings, place.keys, place.tokens, f"test_reporting_{name}", f"group-{name}")
    async with again.started() as first:
        before = await first.until_current()
    store = Store(settings.mongo_url.get_secret_value(), again.database)
    await store.drop()
    store.close()

    async with again.started() as second:
        after = await second.until_current()

    assert after["totals"] == before["totals"] == (await running.until_current())["totals"]
    assert after["totals"]["accepted"] >= len(HISTORIES)


async def test_a_log_that_is_not_the_one_applied_is_refused(place: Place) -> None:
    name = uuid4().hex[:8]
    store = Store(place.settings.mongo_url.get_secret_value(), f"test_reporting_{name}")
    projection = Projection(store)
    await projection.prepare()
    before = (await projection.progress())[0]
    after = before.moved({topics.TRIAGE: Reached(10**9, START)})
    await projection.write(Applied([(before, after)], [], []))
    service = make_reporting(
        place.settings.model_copy(update={"instance": f"reporting-{name}"}),
        PROFILE,
        place.keys,
        database=f"test_reporting_{name}",
        group=f"group-{name}",
    )
    client = httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url="http://r")
    async with service.app.router.lifespan_context(service.app), client, asyncio.timeout(20):
        trouble = ""
        while "shorter than what was applied" not in trouble:
            answer = await client.get("/health/ready")
            assert answer.status_code == 503
            trouble = answer.json()["checks"]["begun"]["trouble"]
            await asyncio.sleep(0.05)
    assert (await projection.progress())[0] == after
    await store.drop()
    store.close()
