"""The audit against a real log and real stores: what it finds there, also while the log grows."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeVar

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from typer.testing import CliRunner

from contracts import requests as r
from contracts import triage as t
from contracts.dead_letters import Origin
from contracts.envelope import Event
from contracts.lifecycle import CaseState
from contracts.topics import REQUESTS, all_topics, dead_letters
from deploy.audit import Audit, AuditError, FindingKind, Progress, Standing, run_audit, story_of
from deploy.cli import make_app
from deploy.dead_letters.ledger import Entry, Ledger, State
from deploy.local import ports
from deploy.topics import ensure_topics
from services.chassis.batches import outgoing
from services.chassis.bus import Outgoing
from services.chassis.documents import REDACTED, Documents
from services.chassis.kept import Foldable, Kept
from services.chassis.store import Store
from services.intake.store import Kept as Remembered
from services.intake.store import Records
from services.notify.store import NotifyStore
from services.notify.work import feed_record
from services.triage.store import TriageStore
from tests.contract.acts import ask_erasure, submit
from tests.contract.histories import DEPARTMENTS, History, case_number
from tests.contract.stories import close, follow, rest
from tests.servers.own import own_kafka, own_store

SOUND_CASES = 12


@pytest.fixture(scope="module")
def log_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Kafka of this module's own: an audit is of all that stands on it."""
    with own_kafka(tmp_path_factory.mktemp("audit-kafka")) as url:
        asyncio.run(ensure_topics(url, all_topics(DEPARTMENTS)))
        yield url


@pytest.fixture(scope="module")
def stores_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A store of this module's own."""
    with own_store(tmp_path_factory.mktemp("audit-store")) as url:
        yield url


def closed(number: int) -> History:
    """A case of its own number, handed over, resolved and closed, no task left."""
    for attempt in range(20):
        choose = random.Random(number + 1_000 * attempt).choice
        history = History(case_number(number))
        submit(history, None, choose)
        rest(history, choose)
        follow(history, "lead and assists", choose)
        close(history, choose)
        if not history.case.tasks:
            return history
    raise AssertionError("no history closes without a task")


def submitted(number: int) -> History:
    history = History(case_number(number))
    submit(history, None, lambda options: options[0])
    return history


@asynccontextmanager
async def producer(log_url: str) -> AsyncIterator[AIOKafkaProducer]:
    one = AIOKafkaProducer(bootstrap_servers=log_url, acks="all")
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


async def write(log_url: str, records: Iterable[Outgoing]) -> None:
    async with producer(log_url) as to:
        sent = [
            await to.send(
                one.topic,
                value=one.value,
                key=one.key,
                partition=one.partition,
                headers=[(name, text.encode()) for name, text in one.headers.items()],
            )
            for one in records
        ]
        await asyncio.gather(*sent)


def records_of(events: Iterable[Event]) -> list[Outgoing]:
    return [outgoing(event) for event in events]


def feeds_of(history: History) -> list[Outgoing]:
    """What notify writes to the departments' feeds of a case: each hand-off as it is last."""
    return [
        feed_record(Kept(handoff, own, handoff.seq))
        for handoff in history.handoffs.values()
        if handoff.sent_by == "feed"
        for own in [[e for e in history.events if e.data.document_id == handoff.document_id]]
    ]


D = TypeVar("D", bound=Foldable)


async def _insert(documents: Documents[D], own: Iterable[D], history: History) -> None:
    for document in own:
        events = [e for e in history.events if e.data.document_id == document.document_id]
        kept = Kept(document, [event for event in events if event.data.seq], document.seq)
        if kept.events:
            await documents.collection.insert_one(documents.insertion(kept, True))


async def keep(stores_url: str, histories: Sequence[History]) -> None:
    """Write the owners' documents as the services would have."""
    triage = TriageStore(Store(stores_url, "jieyou_triage"))
    notify = NotifyStore(Store(stores_url, "jieyou_notify"), timedelta(seconds=1))
    intake = Store(stores_url, "jieyou_intake")
    for history in histories:
        await _insert(triage.cases, [history.case], history)
        await _insert(triage.groups, history.groups.values(), history)
        await _insert(notify.handoffs, history.handoffs.values(), history)
        await _insert(notify.deliveries, history.deliveries.values(), history)
        for event in history.events:
            if event.data.owner == r.OWNER:
                is_submission = isinstance(event.data, r.RequestSubmitted)
                id_ = history.case_no if is_submission else f"{history.case_no}/{event.id}"
                remembered = Remembered(id_, "digest", "app", event).fields("run", 1)
                await intake.collection("records").insert_one(remembered)
    for one in (triage.store, notify.store, intake):
        one.close()


async def commit(log_url: str, group: str, topic: str, partition: int) -> None:
    """Say for a service that it has handled all of a partition."""
    consumer = AIOKafkaConsumer(bootstrap_servers=log_url, group_id=group)
    await consumer.start()
    try:
        where = TopicPartition(topic, partition)
        consumer.assign([where])
        ends = await consumer.end_offsets([where])
        await consumer.commit({where: ends[where]})
    finally:
        await consumer.stop()


def kinds(audit: Audit, case_no: str) -> set[FindingKind]:
    return {one.kind for one in (*audit.missing, *audit.double) if one.case_no == case_no}


@pytest.fixture(scope="module")
def sound(log_url: str, stores_url: str) -> tuple[Audit, list[CaseState], list[Progress]]:
    """The audit of a platform on which nothing is wrong, made before any other test writes."""
    histories = [closed(number) for number in range(SOUND_CASES)]
    states: list[CaseState] = []
    stages: list[Progress] = []

    async def make() -> Audit:
        feeds = [record for history in histories for record in feeds_of(history)]
        events = [event for history in histories for event in history.events]
        twice = events[::3]  # some were delivered twice
        await write(log_url, [*feeds, *records_of([*events, *twice])])
        await keep(stores_url, histories)
        return await run_audit(
            log_url, stores_url, on_progress=stages.append, on_case=states.append, patience_s=1
        )

    return asyncio.run(make()), states, stages


Sound = tuple[Audit, list[CaseState], list[Progress]]


def test_a_sound_platform_is_clean_and_every_case_is_counted_once(sound: Sound) -> None:
    audit, states, stages = sound
    assert audit.is_clean, (audit.missing, audit.double)
    assert audit.accepted == audit.closed == SOUND_CASES
    assert sorted(state.case_no for state in states) == sorted(audit.standings)
    assert audit.events == sum(len(state.timeline) for state in states)
    assert [one.stage for one in stages if one.done == one.total] == ["cases"]


async def test_the_loss_of_a_last_event_is_found_against_the_store(
    log_url: str, stores_url: str, sound: Sound
) -> None:
    history = closed(100)
    last = next(e for e in reversed(history.events) if isinstance(e.data, t.CaseClosed))
    kept_back = [event for event in history.events if event.id != last.id]
    await write(log_url, [*feeds_of(history), *records_of(kept_back)])
    await keep(stores_url, [history])
    audit = await run_audit(log_url, stores_url, patience_s=1)
    assert FindingKind.STORE_AHEAD in kinds(audit, history.case_no)
    assert audit.standings[history.case_no] is Standing.FAULTY
    without_stores = await run_audit(log_url, patience_s=1)
    assert FindingKind.STORE_AHEAD not in kinds(without_stores, history.case_no)
    await write(log_url, records_of([last]))
    mended = await run_audit(log_url, stores_url, patience_s=1)
    assert mended.standings[history.case_no] is Standing.CLOSED


async def test_what_intake_accepted_and_the_log_lacks_is_found(
    log_url: str, stores_url: str, sound: Sound
) -> None:
    history = submitted(101)
    await keep(stores_url, [history])
    audit = await run_audit(log_url, stores_url, patience_s=1)
    assert kinds(audit, history.case_no) == {FindingKind.NOT_LOGGED}
    assert history.case_no in audit.standings


async def test_what_arrives_while_it_is_looked_at_again_is_no_loss(
    log_url: str, sound: Sound
) -> None:
    history = closed(102)
    second = next(e for e in history.events if e.data.document_id == history.case_no and e.data.seq)
    late = [event for event in history.events if event.id == second.id]
    rest_of_it = [event for event in history.events if event.id != second.id]
    await write(log_url, [*feeds_of(history), *records_of(rest_of_it)])
    writing: list[asyncio.Task[None]] = []

    def arrive(progress: Progress) -> None:
        if progress.stage == "again" and not writing:
            writing.append(asyncio.ensure_future(write(log_url, records_of(late))))

    audit = await run_audit(log_url, on_progress=arrive, patience_s=15)
    assert writing
    assert kinds(audit, history.case_no) == set()
    assert audit.standings[history.case_no] is Standing.CLOSED


async def test_a_submission_is_lost_once_triage_has_committed_past_it(
    log_url: str, sound: Sound
) -> None:
    history = submitted(103)
    await write(log_url, records_of(history.events))
    before = await run_audit(log_url, patience_s=1)
    assert before.standings[history.case_no] is Standing.IN_FLIGHT
    assert history.case_no in before.in_flight["triage"]
    await commit(log_url, "triage", REQUESTS, history.events[0].partition)
    after = await run_audit(log_url, patience_s=1)
    assert kinds(after, history.case_no) == {FindingKind.UNANSWERED}


async def test_a_case_with_a_dead_letter_is_blocked(log_url: str, sound: Sound) -> None:
    history = submitted(104)
    (event,) = history.events
    await write(log_url, records_of([event]))
    topic = dead_letters("triage")
    letter = {
        "reason": "could not be decided",
        "origin": {"topic": REQUESTS, "partition": event.partition, "offset": 10_000},
        "headers": event.headers(),
    }
    key = b"requests.v1-0-10000"
    await write(log_url, [Outgoing(topic, key, orjson.dumps(letter), {}, 0)] * 2)
    audit = await run_audit(log_url, patience_s=1)
    assert not audit.is_clean
    assert [one.reason for one in audit.blocked[history.case_no]] == ["could not be decided"]
    await write(log_url, [Outgoing(topic, key, None, {}, 0)])
    settled = await run_audit(log_url, patience_s=1)
    assert history.case_no not in settled.blocked


async def test_what_a_person_has_given_up_nobody_must_answer_for(
    log_url: str, stores_url: str, sound: Sound
) -> None:
    history = submitted(106)
    (event,) = history.events
    record = outgoing(event)
    headers = [(name, text.encode()) for name, text in record.headers.items()]
    async with producer(log_url) as to:
        written = await to.send_and_wait(
            REQUESTS, event.encoded, event.key, event.partition, headers=headers
        )
        # Something that names no case, on the same topic.
        garbage = await to.send_and_wait(REQUESTS, b"{", b"garbage", event.partition)
    await commit(log_url, "triage", REQUESTS, event.partition)
    before = await run_audit(log_url, stores_url, patience_s=1)
    assert kinds(before, history.case_no) == {FindingKind.UNANSWERED}
    name = f"{REQUESTS}-{event.partition}-{garbage.offset}"
    assert [one.kind for one in before.missing if name in one.what] == [FindingKind.UNREADABLE]

    ledger = Ledger(stores_url)
    for one in (written, garbage):
        origin = Origin(
            topic=REQUESTS,
            partition=event.partition,
            offset=one.offset,
            timestamp_ms=one.timestamp,
        )
        entry = Entry(
            id=f"triage/{origin.name}",
            service="triage",
            origin=origin,
            reason="could not be decided",
            case_no=None,
            put_aside_at=None,
            state=State.DISCARDED,
        )
        await ledger.put(entry)
    ledger.close()
    after = await run_audit(log_url, stores_url, patience_s=1)
    assert kinds(after, history.case_no) == set()
    assert after.standings[history.case_no] is Standing.IN_FLIGHT
    assert not [one for one in after.missing if name in one.what]


async def test_an_erased_case_that_still_holds_its_person_is_found(
    log_url: str, stores_url: str, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = closed(110)
    case_no = history.case_no
    await keep(stores_url, [history])
    feeds = feeds_of(history)
    ask_erasure(history, None, lambda options: options[0])
    rest(history, lambda options: options[0])
    assert history.is_erased
    personal = [event for event in history.events if not event.data.rev]
    await write(log_url, [*feeds, *records_of(personal)])
    audit = await run_audit(log_url, stores_url, patience_s=1)
    assert audit.erasing == (case_no,)
    assert FindingKind.UNERASED not in kinds(audit, case_no)
    monkeypatch.setattr("deploy.audit.erased.UNDER_WAY_MS", -1_000)
    audit = await run_audit(log_url, stores_url, patience_s=1)
    found = [one.what for one in audit.missing if one.kind is FindingKind.UNERASED]
    assert any(one.endswith(" in its feed") for one in found)
    assert any(one.startswith("record requests.v1-") for one in found)
    assert any(one.startswith("event ") for one in found), "intake's record"
    assert any(one.startswith("document ") for one in found)
    assert "triage has not gone through what it keeps" in found
    await erase_everywhere(log_url, stores_url, history, personal)
    mended = await run_audit(log_url, stores_url, patience_s=1)
    assert FindingKind.UNERASED not in kinds(mended, case_no)
    assert mended.erasing == ()


async def erase_everywhere(
    log_url: str, stores_url: str, history: History, events: Sequence[Event]
) -> None:
    """What the owners do, done by hand."""
    redacted = [event.redacted() for event in events]
    feeds = [
        feed_record(Kept(handoff, own, handoff.seq, is_erased=True))
        for handoff in history.handoffs.values()
        if handoff.sent_by == "feed"
        for own in [[e for e in redacted if e.data.document_id == handoff.document_id]]
    ]
    await write(log_url, [*records_of(redacted), *feeds])
    for name, collections in (
        ("jieyou_intake", ()),
        ("jieyou_triage", ("cases",)),
        ("jieyou_notify", ("handoffs", "deliveries")),
    ):
        store = Store(stores_url, name)
        if name == "jieyou_intake":
            await Records(store).redact(history.case_no)
        for collection in collections:
            of_case = {"case_no": history.case_no}
            await store.collection(collection).update_many(of_case, {"$set": {REDACTED: True}})
        await store.collection("erased").insert_one({"_id": history.case_no, "pass": 1})
        store.close()


async def test_the_story_of_a_case_holds_its_events_and_no_others(
    log_url: str, sound: Sound
) -> None:
    history = closed(3)
    events = await story_of(log_url, history.case_no)
    assert {event.id for event in events} == {event.id for event in history.events}


async def test_a_kafka_that_is_not_there_is_one_line() -> None:
    with pytest.raises(AuditError, match="does not answer"):
        await run_audit(f"127.0.0.1:{ports.choose()}")


def test_the_command_counts_and_exits_with_1_when_something_is_wrong(
    log_url: str, sound: Sound, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = closed(105)
    asyncio.run(write(log_url, records_of(history.events[2:])))
    monkeypatch.setenv("JIEYOU_KAFKA_URL", log_url)
    monkeypatch.delenv("JIEYOU_MONGO_URL", raising=False)
    run = CliRunner().invoke(make_app(), ["audit", "--json", "--patience", "1"])
    assert run.exit_code == 1, run.output
    said = json.loads(run.stdout)
    assert said["accepted"] >= SOUND_CASES
    assert history.case_no in {one["case_no"] for one in said["missing"]}
    story = CliRunner().invoke(make_app(), ["audit", "--json", "--case", history.case_no.lower()])
    assert story.exit_code == 0
    assert len(json.loads(story.stdout)) == len({event.id for event in history.events[2:]})
