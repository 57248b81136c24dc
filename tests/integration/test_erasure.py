"""The parts of an erasure that all services share, on a real broker and store."""

import base64
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from contracts import topics
from contracts import triage as t
from contracts.dead_letters import DeadLetter, Origin
from contracts.envelope import Event
from contracts.ids import group_id
from contracts.lifecycle import CaseDocument, GroupDocument
from contracts.topics import TopicSpec, partition_for
from contracts.vocabulary import GroupKind, Result
from deploy.topics import ensure_topics
from services.chassis.bus import Outgoing, Publisher
from services.chassis.documents import Documents, Unit
from services.chassis.due import next_due
from services.chassis.erasure import ErasedCases, Eraser, drop_letters, redact_topic
from services.chassis.kept import Kept
from services.chassis.store import Stale, Store
from tests.notify_story import NAME, TEXT, CaseStory

MINUTE = timedelta(minutes=1)


@dataclass
class Time:
    """A clock that a test sets."""

    at: datetime

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def now() -> Time:
    return Time(datetime(2026, 3, 1, 8, 0, tzinfo=UTC))


@pytest.fixture
async def store(mongo_url: str, unique_name: Callable[[str], str]) -> AsyncIterator[Store]:
    opened = Store(mongo_url, unique_name("erasure"))
    yield opened
    await opened.drop()
    opened.close()


async def test_a_case_gets_two_passes_and_again_two_when_it_is_named_again(
    store: Store, now: Time
) -> None:
    erased = ErasedCases(store, now)
    await erased.prepare()
    await erased.add(["A", "B", "A"])
    await erased.add(["A"])
    assert sorted(due.case_no for due in await erased.due(10)) == ["A", "B"]
    assert await erased.due(10) == []  # taken; a process that dies gives them back

    now.at += 3 * MINUTE
    first = {due.case_no: due for due in await erased.due(10)}
    for due in first.values():
        await erased.passed(due, MINUTE)
    assert await erased.due(10) == []
    now.at += MINUTE
    await erased.add(["B"])
    second = {due.case_no: due for due in await erased.due(10)}
    assert (second["A"].asked, second["B"].asked) == (1, 2)
    await erased.passed(first["B"], MINUTE)  # what was done before it was named again
    await erased.passed(second["A"], MINUTE)
    now.at += 3 * MINUTE
    assert [due.case_no for due in await erased.due(10)] == ["B"]
    assert await erased.waiting() == 1
    assert set(await erased.all()) == {"A", "B"}


async def test_other_processes_know_an_erased_case_after_a_refresh(store: Store, now: Time) -> None:
    here, there = ErasedCases(store, now), ErasedCases(store, now)
    await here.prepare()
    await there.prepare()
    now.at -= MINUTE  # its clock is behind
    await here.add(["A"])
    assert "A" in here
    assert "A" not in there
    await there.refresh()
    assert "A" in there


async def test_a_stored_document_is_redacted_once_and_who_read_it_before_must_read_again(
    store: Store,
) -> None:
    documents: Documents[CaseDocument] = Documents(store, "cases", CaseDocument, next_due)
    await documents.prepare()
    story = CaseStory()
    kept = documents.create(story.case_no, story.case_no)
    for event in (story.opened(), story.ordered()):
        kept.document.apply(event)
        kept.events.append(event)
    await saved(store, documents, kept)
    before = (await documents.load([story.case_no]))[story.case_no]

    redacted = await documents.redact({"_id": story.case_no})
    assert [event.data.rev for event in redacted] == [1, 1]
    assert await documents.redact({"_id": story.case_no}) == []
    after = (await documents.load([story.case_no]))[story.case_no]
    assert [event.encoded for event in after.events] == [event.encoded for event in redacted]
    assert TEXT not in str(after.document)
    assert after.document.orders == before.document.orders

    before.record(t.DeskAsked, cause="command:late", now=story.at)
    with pytest.raises(Stale):
        await saved(store, documents, before)
    asked = after.record(t.DeskSettled, cause="command:new", now=story.at, person="p", note=TEXT)
    await saved(store, documents, after)
    assert asked.data.rev == 1
    assert TEXT.encode() not in asked.encoded


async def saved(store: Store, documents: Documents[CaseDocument], kept: Kept[CaseDocument]) -> None:
    unit = Unit(store, owed_by_offset=False)
    unit.add(documents, kept)
    await unit.save()


class Topic(Publisher):
    """A case topic of its own, and what stands there last."""

    def __init__(self, name: str, producer: AIOKafkaProducer, kafka_url: str) -> None:
        self.name = name
        self.producer = producer
        self.kafka_url = kafka_url

    async def write(self, *events: Event) -> None:
        await self.publish_all([outgoing(self.name, event) for event in events])

    async def publish_all(
        self, outgoing: Sequence[Outgoing], timeout_seconds: float | None = None
    ) -> None:
        for one in outgoing:
            await self.producer.send_and_wait(
                one.topic,
                one.value,
                key=one.key,
                partition=one.partition,
                headers=[(name, text.encode()) for name, text in one.headers.items()],
            )

    async def last(self, partition: int, topic: str | None = None) -> dict[bytes, bytes | None]:
        """The newest value of every key in a partition."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.kafka_url, enable_auto_commit=False)
        await consumer.start()
        place = TopicPartition(topic or self.name, partition)
        found: dict[bytes, bytes | None] = {}
        try:
            consumer.assign([place])
            await consumer.seek_to_beginning(place)
            end = (await consumer.end_offsets([place]))[place]
            while await consumer.position(place) < end:
                for record in (await consumer.getmany(timeout_ms=200)).get(place, []):
                    found[record.key] = record.value
        finally:
            await consumer.stop()
        return found


@pytest.fixture
async def topic(kafka_url: str, unique_name: Callable[[str], str]) -> AsyncIterator[Topic]:
    name = unique_name("cases")
    config = {"cleanup.policy": "compact"}
    letters = [spec for spec in topics.all_topics([]) if spec.name.startswith("dead-letters.")]
    await ensure_topics(kafka_url, [TopicSpec(name, 12, config), *letters])
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url, acks="all")
    await producer.start()
    yield Topic(name, producer, kafka_url)
    await producer.stop()


def outgoing(topic: str, event: Event) -> Outgoing:
    return Outgoing(topic, event.key, event.encoded, event.headers(), event.partition)


def beside(story: CaseStory) -> CaseStory:
    """Another case in the same partition."""
    while True:
        other = CaseStory()
        if partition_for(other.case_no) == partition_for(story.case_no):
            return other


async def test_a_topic_is_redacted_by_what_it_holds_last_and_nothing_twice(topic: Topic) -> None:
    story = CaseStory()
    other = beside(story)
    opened, ordered, answered = story.opened(), story.ordered(), story.answered(f"{NAME}可以")
    untouched = other.opened()
    formed = anchored_group(story)
    broken = Outgoing(topic.name, b"broken", TEXT.encode(), opened.headers(), opened.partition)
    await topic.write(opened, untouched, ordered, ordered.redacted(), answered, formed)
    await topic.write(answered.redacted(), answered)  # the first copy landed late
    await topic.publish_all([broken])

    count = await redact_topic(topic.kafka_url, topic.name, story.case_no, topic.publish_all)
    assert count == 3
    last = await topic.last(opened.partition)
    assert last == {
        opened.key: opened.redacted().encoded,
        ordered.key: ordered.redacted().encoded,
        answered.key: answered.redacted().encoded,
        b"broken": None,
        untouched.key: untouched.encoded,
        formed.key: formed.encoded,
    }
    again = await redact_topic(topic.kafka_url, topic.name, story.case_no, topic.publish_all)
    assert again == 0


def anchored_group(story: CaseStory) -> Event:
    id_ = group_id(GroupKind.SAME_EVENT, "command:form")
    group = Kept(GroupDocument(id_, story.case_no), [], 0)
    return group.record(
        t.GroupResolved,
        cause="command:form",
        now=story.at,
        group_id=id_,
        outcome="answer",
        result=Result(text="共同的答复"),
        members=(story.case_no,),
    )


async def test_dead_letters_that_speak_of_a_case_are_taken_off_and_no_others(
    topic: Topic,
) -> None:
    story, other = CaseStory(), CaseStory()
    opened, untouched = story.opened(), other.opened()
    reply = f'{{"handoff_id": "h-{story.case_no[:6]}", "text": "{TEXT}"}}'.encode()
    letters = {
        number: letter(number, *record)
        for number, record in enumerate(
            [
                (topics.REQUESTS, opened.headers(), opened.encoded),
                ("replies.health.v1", {}, reply),
                (topics.REQUESTS, untouched.headers(), untouched.encoded),
            ]
        )
    }
    name = topics.dead_letters("intake")
    keys = {number: one.origin.name.encode() for number, one in letters.items()}
    await topic.publish_all(
        [
            Outgoing(name, keys[number], one.model_dump_json().encode(), {}, 0)
            for number, one in letters.items()
        ]
    )
    names = [f"h-{story.case_no[:6]}"]
    dropped = await drop_letters(
        topic.kafka_url, "intake", story.case_no, topic.publish_all, other_names=names
    )
    assert dropped == 2
    last = await topic.last(0, name)
    assert [last[keys[number]] is None for number in letters] == [True, True, False]
    assert not await drop_letters(topic.kafka_url, "intake", story.case_no, topic.publish_all)


def letter(number: int, topic: str, headers: dict[str, str], payload: bytes) -> DeadLetter:
    origin = Origin(
        topic=topic,
        partition=partition_for(headers["ce_subject"]) if headers else 0,
        offset=time.time_ns() + number,
        timestamp_ms=0,
    )
    return DeadLetter(
        service="intake",
        reason="for a test",
        origin=origin,
        payload_base64=base64.b64encode(payload).decode(),
        headers=headers,
        at=datetime.now(UTC),
    )


async def test_the_second_pass_heals_a_copy_that_landed_after_the_first(
    topic: Topic, store: Store, now: Time
) -> None:
    story = CaseStory()
    opened = story.opened()
    await topic.write(opened)
    erased, copies = ErasedCases(store, now), list[str]()
    await erased.prepare()

    async def redact(case_no: str) -> int:
        if not copies:
            copies.append("failed")
            raise OSError("the store is away")
        copies.append(case_no)
        return 1

    eraser = Eraser(
        "intake",
        erased,
        redact,
        topic=topic.name,
        kafka_url=topic.kafka_url,
        publisher=topic,
        second_after=MINUTE,
    )
    await erased.add([story.case_no])
    assert await eraser.run_once() == 0
    assert (await topic.last(opened.partition))[opened.key] == opened.encoded
    now.at += timedelta(seconds=2)
    assert await eraser.run_once() == 1
    assert (await topic.last(opened.partition))[opened.key] == opened.redacted().encoded

    await topic.write(opened)  # given up long ago, and here it is
    assert await eraser.run_once() == 0
    now.at += MINUTE
    assert await eraser.run_once() == 1
    assert (await topic.last(opened.partition))[opened.key] == opened.redacted().encoded
    assert await erased.waiting() == 0
    assert copies == ["failed", story.case_no, story.case_no]
