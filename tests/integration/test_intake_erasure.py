"""Intake erases: its records, its topic, its dead letters, on a real Kafka and a real store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from contracts.envelope import Event
from contracts.ids import event_id
from contracts.requests import RequestSubmitted, SupplementGiven
from contracts.topics import REQUESTS, TRIAGE, all_topics, dead_letters
from contracts.triage import CaseErased
from deploy.topics import ensure_topics
from services.chassis.redaction import read_partition
from services.chassis.store import Store
from services.intake.domain.wishes import record_id
from services.intake.store import Kept, Records, Run, Runs
from tests.integration.test_intake import (
    Running,
    Starter,
    accepts,
    is_ready,
    on_the_log,
    until,
    write_to_each_partition,
)

NOW = datetime(2022, 1, 18, 8, tzinfo=UTC)
MARKERS = ("泥鳅巷十九号", "欧阳泛舟", "13912345678", "窗台上的绿萝")
BODY = {
    "text": f"家中老人需要买药，地址{MARKERS[0]}",
    "category": "medical",
    "location": {"address": MARKERS[0]},
    "contact": {"name": MARKERS[1], "phone": MARKERS[2]},
}


@pytest.fixture
def database(unique_name: Callable[[str], str]) -> str:
    return unique_name("intake")


@pytest.fixture
async def running(
    tmp_path: Path, mongo_url: str, kafka_url: str, database: str
) -> AsyncIterator[Running]:
    await ensure_topics(kafka_url, all_topics([]))
    await write_to_each_partition(kafka_url)
    async with Starter(tmp_path, mongo_url, database).start(kafka_url) as one:
        await until(lambda: is_ready(one))
        await until(lambda: accepts(one))
        yield one


async def write(kafka_url: str, topic: str, *events: Event) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url, acks="all")
    await producer.start()
    try:
        for event in events:
            headers = [(name, text.encode()) for name, text in event.headers().items()]
            await producer.send_and_wait(
                topic, event.encoded, event.key, event.partition, headers=headers
            )
    finally:
        await producer.stop()


def of_case(case_no: str, kind: type[Any], cause: str, **fields: Any) -> Event:
    data = kind(
        case_no=case_no,
        document_id=case_no,
        lc=2,
        caused_by=f"command:{cause}",
        occurred_at=NOW,
        recorded_at=NOW,
        **fields,
    )
    return Event.of(event_id(case_no, case_no, kind.type, cause), data)


async def stored(mongo_url: str, database: str) -> str:
    store = Store(mongo_url, database)
    try:
        async with store.answering():
            rows = [
                row
                for name in ("records", "runs", "erased")
                for row in await store.collection(name).find({}).to_list(None)
            ]
    finally:
        store.close()
    return "\n".join(
        value.decode() if isinstance(value, bytes) else str(value)
        for row in rows
        for value in row.values()
    )


async def newest(kafka_url: str, case_no: str) -> dict[str, Event]:
    return {event.id: event for event in await on_the_log(kafka_url, case_no)}


async def letters_about(kafka_url: str, case_no: str) -> int:
    found: dict[bytes | None, bool] = {}
    async for record in read_partition(kafka_url, dead_letters("intake"), 0):
        found[record.key] = record.value is not None and case_no.encode() in record.value
    return sum(found.values())


async def test_an_erased_case_leaves_nothing_personal_and_keeps_its_number(
    running: Running, kafka_url: str, mongo_url: str, database: str
) -> None:
    answer = (await running.submit("of-erased", BODY)).json()
    other = (await running.submit("of-another", BODY)).json()
    case_no = answer["case_no"]
    said = await running.say("supplements", answer, {"text": MARKERS[3]})
    assert said.status_code == 202
    # Taken in while the store was away: the log alone has it.
    late = of_case(case_no, SupplementGiven, "late", text=MARKERS[3])
    await write(kafka_url, REQUESTS, late)
    # A broken `case.erased` of this case lies among the dead letters.
    erased = of_case(case_no, CaseErased, "erase", seq=9, by="operator:operator-1")
    await write(kafka_url, TRIAGE, Event(erased.id, erased.type, erased.data, b"{"))

    async def letter_is_there() -> bool:
        return await letters_about(kafka_url, case_no) == 1

    await until(letter_is_there)
    for marker in MARKERS:
        assert marker in await stored(mongo_url, database), "the test can fail"
    await write(kafka_url, TRIAGE, erased)

    async def is_erased() -> bool:
        return all(event.data.rev == 1 for event in (await newest(kafka_url, case_no)).values())

    async def letter_is_gone() -> bool:
        return await letters_about(kafka_url, case_no) == 0

    await until(is_erased)
    await until(letter_is_gone)
    left = await newest(kafka_url, case_no)
    assert len(left) == 3
    for event in left.values():
        assert not any(marker in event.encoded.decode() for marker in MARKERS)
    submitted = next(e.data for e in left.values() if isinstance(e.data, RequestSubmitted))
    assert submitted.request.category == "medical", "figures go on counting it"
    own = [row for row in (await stored(mongo_url, database)).splitlines() if case_no in row]
    assert own
    assert not any(marker in row for row in own for marker in MARKERS)
    for event in (await newest(kafka_url, other["case_no"])).values():
        assert MARKERS[1] in event.encoded.decode()
    await comes_again(running, answer)
    await comes_from_a_dead_spool(mongo_url, database, case_no)
    now = await newest(kafka_url, case_no)
    assert len(now) == 5, "with the wish to erase, and what the spool held"
    assert not any(marker in event.encoded.decode() for event in now.values() for marker in MARKERS)


async def comes_from_a_dead_spool(mongo_url: str, database: str, case_no: str) -> None:
    """A copy that a dead process left in the store, unredacted, is published without the person."""
    left = of_case(case_no, SupplementGiven, "spooled", text=MARKERS[3])
    store = Store(mongo_url, database)
    try:
        record = Kept(record_id(left), "digest", "app", left)
        await Records(store).add(record, "dead", 1)
        await Runs(store).beat(Run("dead", "intake-1", 1, 1, datetime.now(UTC)))

        async def is_taken_over() -> bool:
            return "dead" not in {run.id for run in await Runs(store).all()}

        await until(is_taken_over)
    finally:
        store.close()


async def comes_again(running: Running, answer: dict[str, Any]) -> None:
    """The old key gets the old answer; nothing new is taken in but the wish to erase."""
    again = await running.submit("of-erased", BODY)
    assert (again.status_code, again.json()) == (202, answer)
    reused = await running.submit("of-erased", {**BODY, "text": "另一件事"})
    assert reused.status_code == 422
    refused = await running.say("supplements", answer, {"text": MARKERS[3]}, "new")
    assert refused.status_code == 410
    assert refused.json()["type"] == "urn:jieyou:problem:erased"
    assert "清除" in refused.json()["title"]
    url = f"/v1/requests/{answer['case_no']}/erasure"
    asked = await running.operator.post(url, headers={"Idempotency-Key": "once-more"})
    assert asked.status_code == 202
