"""Whole lifecycles through the topics: submitted, opened, ordered, sent, signed, resolved, told,
finished, rated, closed. No HTTP: requests and ratings are written as intake writes them, replies
as a department writes them.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from contracts import topics
from contracts.envelope import Event
from contracts.ids import case_number, event_id
from contracts.profile import load_profile
from contracts.requests import RatingGiven, RequestSubmitted
from contracts.vocabulary import Contact, Rating, RequestContent
from tests.bench.platform import Running

TEXT = "淮阳区新站镇的小区楼道灯坏了，晚上老人下楼看不见，麻烦安排人来修一下"
GIVE_UP_SECONDS = 300.0
IN_FLIGHT = 250
"""How many cases are open at once: a sustained flow, not one heap that is worked off in stages."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a run came to."""

    lifecycles: int
    closed: int
    seconds: float
    records: int

    @property
    def per_second(self) -> float:
        """Lifecycles a second, from the first record sent to the last case closed."""
        return self.closed / self.seconds


class Driver:
    """Citizens and departments as plain Kafka clients."""

    def __init__(self, kafka_url: str, total: int, on_closed: Callable[[int], None]) -> None:
        self._kafka_url = kafka_url
        self._total = total
        self._on_closed = on_closed
        self._departments = [d.code for d in load_profile("zhoukou").departments]
        self._closed: set[str] = set()
        self.records = 0
        self.done = asyncio.Event()

    async def run(self) -> Measured:
        """Send everything and wait for the last case to be closed."""
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._kafka_url, acks="all", max_batch_size=512 * 1024
        )
        await self._producer.start()
        decided = await self._reader([topics.TRIAGE])
        feeds = await self._reader([topics.feed(d) for d in self._departments])
        tasks = [
            asyncio.create_task(self._citizens(decided)),
            asyncio.create_task(self._departments_work(feeds)),
        ]
        began = time.perf_counter()
        await self._submit()
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                await self.done.wait()
        except TimeoutError:
            pass
        took = time.perf_counter() - began
        for task in tasks:
            task.cancel()
        for client in (decided, feeds, self._producer):
            await client.stop()
        return Measured(self._total, len(self._closed), took, self.records)

    async def _reader(self, names: list[str]) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(bootstrap_servers=self._kafka_url, enable_auto_commit=False)
        await consumer.start()
        partitions = {
            name: topics.CASE_PARTITIONS if name in topics.CASE_TOPICS else topics.FEED_PARTITIONS
            for name in names
        }
        consumer.assign(
            [TopicPartition(name, n) for name, count in partitions.items() for n in range(count)]
        )
        await consumer.seek_to_end()
        return consumer

    async def _submit(self) -> None:
        for number in range(self._total):
            while number - len(self._closed) >= IN_FLIGHT:
                await asyncio.sleep(0.005)
            await self._publish(topics.REQUESTS, submission(number))

    async def _publish(self, topic: str, event: Event) -> None:
        headers = [(name, text.encode()) for name, text in event.headers().items()]
        await self._producer.send(topic, event.encoded, event.key, event.partition, headers=headers)

    async def _citizens(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            batches = await consumer.getmany(timeout_ms=100, max_records=1_000)
            for records in batches.values():
                for record in records:
                    await self._decided(record)

    async def _decided(self, record: Any) -> None:
        self.records += 1
        headers = dict(record.headers)
        kind = headers.get("ce_type")
        case_no = headers.get("ce_subject", b"").decode()
        if kind == b"jieyou.case.finished":
            await self._publish(topics.REQUESTS, rating(case_no))
        elif kind == b"jieyou.case.closed":
            self._closed.add(case_no)
            self._on_closed(len(self._closed))
            if len(self._closed) == self._total:
                self.done.set()

    async def _departments_work(self, consumer: AIOKafkaConsumer) -> None:
        while True:
            batches = await consumer.getmany(timeout_ms=100, max_records=1_000)
            for partition, records in batches.items():
                department = partition.topic.removeprefix("feed.").removesuffix(".v1")
                for record in records:
                    document = orjson.loads(record.value)
                    if document["state"] == "sent" and document["version"] == 1:
                        await self._reply(department, document["handoff_id"], record.partition)

    async def _reply(self, department: str, handoff_id: str, partition: int) -> None:
        topic = topics.replies(department)
        key = handoff_id.encode()
        sign = {"act": "sign", "reply_id": "sign", "handoff_id": handoff_id}
        result = {
            "act": "result",
            "reply_id": "result",
            "handoff_id": handoff_id,
            "text": "已派人修好",
            "acts": "更换楼道灯",
            "contact": "社区值班室",
        }
        await self._producer.send(topic, orjson.dumps(sign), key, partition)
        await self._producer.send(topic, orjson.dumps(result), key, partition)


def submission(number: int) -> Event:
    """A request as intake writes it."""
    case_no = case_number(b"bench", "app", f"{time.time_ns()}-{number}")
    now = datetime.now(UTC)
    cause = f"command:{case_no}"
    data = RequestSubmitted(
        case_no=case_no,
        document_id=case_no,
        lc=1,
        caused_by=cause,
        occurred_at=now,
        recorded_at=now,
        request=RequestContent(
            channel="app",
            text=f"{TEXT}（{number}号楼）",
            region="411603",
            category="other",
            contact=Contact(name="测试", phone="13800000000"),
        ),
        body_digest="0" * 64,
        accepted_at=now,
        code_version=1,
        profile="zhoukou@bench",
    )
    return Event.of(event_id(case_no, case_no, data.type, cause), data)


def rating(case_no: str) -> Event:
    """A rating as intake writes it."""
    now = datetime.now(UTC)
    cause = f"command:rate-{case_no}"
    data = RatingGiven(
        case_no=case_no,
        document_id=case_no,
        lc=2,
        caused_by=cause,
        occurred_at=now,
        recorded_at=now,
        rating=Rating(level=5, solved=True),
    )
    return Event.of(event_id(case_no, case_no, data.type, cause), data)


async def measure(
    running: Running, total: int, on_closed: Callable[[int], None] = lambda _: None
) -> Measured:
    """Drive `total` lifecycles through a running platform as fast as it takes them."""
    return await Driver(running.addresses.kafka_url, total, on_closed).run()
