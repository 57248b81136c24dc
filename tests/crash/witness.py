"""Those who see what the platform does, in a thread of their own: a reader of the log, the channel
that is called back, and a hotline. They outlive every process that is killed."""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition

from contracts.envelope import TICK_KEY, ContractError, Event, parse
from contracts.feeds import FeedHandoff
from contracts.lifecycle import CaseState, state_of
from contracts.requests import is_taken_twice
from contracts.topics import CASE_TOPICS, all_topics
from deploy.simulators.receiver import Receiver, ReceiverServer
from tests.chaos import effects
from tests.chaos.proxy import HOST, Link, Proxy

T = TypeVar("T")
_LOOK_S = 0.03


class NotSeen(AssertionError):
    """What was waited for did not come in time."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message that a receiver took, once, whatever came again."""

    receiver: str
    webhook_id: str
    body: Mapping[str, Any] = field(repr=False)


class Witness:
    """Reads every topic whole, and receives. `failing` names cases whose next message fails."""

    def __init__(self, departments: Iterable[str]) -> None:
        self._departments = tuple(departments)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._server = ReceiverServer()
        self._tasks: list[asyncio.Task[None]] = []
        self._producer: AIOKafkaProducer | None = None
        self.events: dict[str, list[Event]] = defaultdict(list)
        """Every record of a case's events, as often as it stands on the log."""
        self.feeds: list[FeedHandoff] = []
        self.letters: dict[str, set[str]] = defaultdict(set)
        """Dead letters by origin: the topics that hold one."""
        self.messages: list[Message] = []
        self.failing: set[str] = set()

    def url(self, name: str) -> str:
        """The address of a receiver."""
        return self._server.url(name)

    def start(self, kafka_url: str, keys: Mapping[str, str]) -> None:
        """Begin to read and to receive; `keys` are the receivers' by name."""
        for name, key in keys.items():
            self._server.add(name, Receiver(key, self._take(name)))
        self._thread.start()
        self._run(self._begin(kafka_url))

    def close(self) -> None:
        """End."""
        if self._thread.is_alive():
            self._run(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)
        self._server.close()

    def write(self, topic: str, key: bytes, value: bytes, partition: int) -> str:
        """Write a record as anybody could; return its origin."""
        if self._producer is None:
            raise RuntimeError("not started")
        sent = self._run(self._producer.send_and_wait(topic, value, key, partition))
        return f"{topic}-{sent.partition}-{sent.offset}"

    @contextmanager
    def closed_door(self, kafka_url: str) -> Iterator[tuple[str, Callable[[], None]]]:
        """Stand before the broker with a door that is shut: its address, and what opens it."""
        link = Link()
        link.cut()
        proxy = Proxy(link)
        self._run(proxy.serve(int(kafka_url.rpartition(":")[2])))
        try:
            yield f"{HOST}:{proxy.port}", lambda: self._soon(link.mend)
        finally:
            self._run(proxy.close())

    def state(self, case_no: str) -> CaseState:
        """The state of a case by all that stands on the log of it."""
        return state_of(case_no, list(self.events[case_no]))

    def kinds(self, case_no: str) -> list[str]:
        """The types of a case's events, each event once, in the order of the timeline."""
        return [event.type for event in self.state(case_no).timeline]

    def told(self, case_no: str) -> list[Message]:
        """What a channel or hotline was told of a case."""
        return [one for one in self.messages if _case_of(one) == case_no]

    def until(self, is_so: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
        """Wait for what this witness sees. Raises NotSeen."""
        give_up = time.monotonic() + within_s
        while not is_so():
            if time.monotonic() > give_up:
                raise NotSeen(f"{what}: not seen within {within_s:.0f} s")
            time.sleep(_LOOK_S)

    def doubles(self, case_no: str) -> list[str]:
        """What of a case stands, or arrived, twice in effect."""
        state = self.state(case_no)
        found = list(effects.on_log(state))
        chosen = {event.id: event for event in state.timeline}
        for event in list(self.events[case_no]):
            known = chosen[event.id]
            is_same = (event.encoded, event.headers()) == (known.encoded, known.headers())
            if not is_same and not is_taken_twice(event, known):
                found.append(f"event {event.id} has two contents")
        entries = [
            ((one.case_no, one.round, one.role, one.department, one.attempt), one.handoff_id)
            for one in self.feeds
            if one.case_no == case_no
        ]
        found += effects.in_feeds(entries)
        by_word: dict[tuple[object, ...], set[str]] = defaultdict(set)
        for one in self.told(case_no):
            body = one.body
            handoff = body.get("handoff")
            word = (handoff["handoff_id"], body["step"]) if handoff else (body["event_id"],)
            by_word[one.receiver, *word].add(one.webhook_id)
        found += [
            f"{word} came under {len(ids)} ids" for word, ids in by_word.items() if len(ids) > 1
        ]
        return found

    def _soon(self, act: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(act)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    async def _begin(self, kafka_url: str) -> None:
        producer = AIOKafkaProducer(bootstrap_servers=kafka_url, acks="all")
        await producer.start()
        self._producer = producer
        consumer = AIOKafkaConsumer(
            bootstrap_servers=kafka_url, enable_auto_commit=False, auto_offset_reset="earliest"
        )
        await consumer.start()
        consumer.assign(
            [
                TopicPartition(topic.name, number)
                for topic in all_topics(self._departments)
                for number in range(topic.partitions)
                if not topic.name.startswith("replies.")
            ]
        )
        self._tasks = [
            asyncio.create_task(self._read(consumer)),
            asyncio.create_task(self._server.serve()),
        ]

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._producer is not None:
            await self._producer.stop()

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        try:
            while True:
                for records in (await consumer.getmany(timeout_ms=50)).values():
                    for record in records:
                        self._see(record)
        finally:
            await consumer.stop()

    def _see(self, record: ConsumerRecord) -> None:
        if record.topic in CASE_TOPICS and record.key != TICK_KEY:
            headers = {name: value.decode() for name, value in record.headers}
            try:
                event = parse(headers, record.value)
            except ContractError:
                return  # poison, which a test has written
            self.events[event.data.case_no].append(event)
        elif record.topic.startswith("feed.") and record.value is not None:
            self.feeds.append(FeedHandoff.model_validate_json(record.value))
        elif record.topic.startswith("dead-letters.") and record.value is not None:
            self.letters[record.key.decode()].add(record.topic)

    def _take(self, receiver: str) -> Callable[[str, dict[str, Any]], str]:
        def take(webhook_id: str, body: dict[str, Any]) -> str:
            message = Message(receiver, webhook_id, body)
            case_no = _case_of(message)
            if case_no in self.failing:
                self.failing.discard(case_no)
                raise ConnectionError("this receiver is out of order")
            self.messages.append(message)
            return f"receipt-{webhook_id[:8]}"

        return take


def _case_of(message: Message) -> str:
    body = message.body
    return str(body["handoff"]["case_no"] if "handoff" in body else body["case_no"])
