"""The traps of FastStream, aiokafka and Kafka that lose or block records, each shown closed.

All against a real Kafka. A trap's test is named for it and fails when its protection is removed.
"""

import ast
import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from faststream.kafka import KafkaBroker

import services
from contracts import topics as contract_topics
from deploy.local import jars, kafka, launch, ports
from services.chassis.bus import (
    BusUnavailable,
    Consumer,
    Outgoing,
    Publisher,
    Record,
    WholeTopic,
    bus_trouble,
    make_broker,
    start_when_available,
    stop_within,
    subscribe_batch,
)
from services.chassis.dead_letters import DeadLetters
from services.chassis.http import Health, make_app
from services.chassis.settings import ServiceSettings

Unique = Callable[[str], str]
Condition = Callable[[], bool | Awaitable[bool]]


class Bus:
    """A real Kafka with the few things the tests do to it from outside."""

    def __init__(self, url: str, unique_name: Unique) -> None:
        self.settings = ServiceSettings(kafka_url=url, instance=unique_name("instance"))
        self.unique = unique_name
        self.url = url

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        client = AIOKafkaAdminClient(bootstrap_servers=self.url)
        await client.start()
        try:
            yield client
        finally:
            await client.close()

    async def topic(self, partitions: int = 1, name: str | None = None) -> str:
        name = name or self.unique("topic")
        async with self.admin() as client, asyncio.timeout(30):
            # A broker that was halted is no member of the cluster until it is heard of again.
            while not (await client.describe_cluster())["brokers"]:
                await asyncio.sleep(0.05)
            await client.create_topics([NewTopic(name, partitions, 1)])
        return name

    async def topics(self) -> set[str]:
        async with self.admin() as client:
            return set(await client.list_topics())

    async def write(self, topic: str, *values: bytes, **options: Any) -> None:
        """Write as a foreign program would, without anything of ours."""
        producer = AIOKafkaProducer(bootstrap_servers=self.url)
        await producer.start()
        try:
            for value in values:
                await producer.send_and_wait(topic, value, **{"partition": 0, **options})
        finally:
            await producer.stop()

    async def committed(self, group: str, topic: str, partition: int = 0) -> int:
        """The group's committed offset; 0 if there is none."""
        async with self.admin() as client:
            offsets = await client.list_consumer_group_offsets(group)
        found = offsets.get(TopicPartition(topic, partition))
        return max(0, found.offset) if found else 0

    async def read(self, topic: str, at_least: int = 1) -> list[Record]:
        """All of a topic with one partition, once it holds so many records."""
        found: list[Record] = []

        async def keep(record: Record) -> None:
            found.append(record)

        async with running(WholeTopic(self.settings, topic, keep)) as whole:
            await asyncio.wait_for(whole.ready.wait(), 10)
            await until(lambda: len(found) >= at_least)
        return found


@pytest.fixture
def bus(kafka_url: str, unique_name: Unique) -> Bus:
    return Bus(kafka_url, unique_name)


@asynccontextmanager
async def running(whole: WholeTopic) -> AsyncIterator[WholeTopic]:
    task = asyncio.create_task(whole.run())
    try:
        yield whole
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def started(broker: KafkaBroker, settings: ServiceSettings) -> AsyncIterator[KafkaBroker]:
    await asyncio.wait_for(start_when_available(broker, settings), 20)
    try:
        yield broker
    finally:
        await stop_within(broker, 10)


async def until(condition: Condition, seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result if isinstance(result, bool) else await result:
            return
        assert time.monotonic() < deadline, "the condition did not come true in time"
        await asyncio.sleep(0.02)


class Collected:
    """A handler that keeps what it gets."""

    def __init__(self) -> None:
        self.batches: list[list[Record]] = []

    async def __call__(self, records: list[Record]) -> None:
        self.batches.append(records)

    @property
    def values(self) -> list[bytes | None]:
        return [record.value for batch in self.batches for record in batch]


async def test_trap_01_a_cancelled_handler_commits_nothing(bus: Bus) -> None:
    topic, group = await bus.topic(), bus.unique("group")
    await bus.write(topic, b"first")
    entered = asyncio.Event()

    async def never_ends(_: list[Record]) -> None:
        entered.set()
        await asyncio.Event().wait()

    broker = make_broker(bus.settings)
    consumer = subscribe_batch(broker, topic, group_id=group, handler=never_ends)
    async with started(broker, bus.settings):
        await asyncio.wait_for(entered.wait(), 10)
        for task in consumer.subscriber.tasks:
            task.cancel()
        await asyncio.gather(*consumer.subscriber.tasks, return_exceptions=True)

    assert await bus.committed(group, topic) == 0
    again = Collected()
    broker = make_broker(bus.settings)
    subscribe_batch(broker, topic, group_id=group, handler=again)
    async with started(broker, bus.settings):
        await until(lambda: again.values == [b"first"])


async def test_trap_02_an_exception_commits_nothing_until_the_batch_succeeds(bus: Bus) -> None:
    topic, group = await bus.topic(), bus.unique("group")
    attempts = 0
    committed_while_failing: list[int] = []

    async def fails_twice(_: list[Record]) -> None:
        nonlocal attempts
        attempts += 1
        committed_while_failing.append(await bus.committed(group, topic))
        if attempts <= 2:
            raise RuntimeError("passing trouble")

    broker = make_broker(bus.settings)
    subscribe_batch(broker, topic, group_id=group, handler=fails_twice)
    async with started(broker, bus.settings):
        await bus.write(topic, b"only")

        async def is_committed() -> bool:
            return await bus.committed(group, topic) == 1

        await until(is_committed)
    assert attempts == 3
    assert committed_while_failing == [0, 0, 0]


async def test_trap_03_a_failing_batch_does_not_spin(bus: Bus) -> None:
    topic = await bus.topic()
    began: list[float] = []

    async def always_fails(_: list[Record]) -> None:
        began.append(time.monotonic())
        raise RuntimeError("no way")

    broker = make_broker(bus.settings)
    consumer = subscribe_batch(broker, topic, group_id=bus.unique("group"), handler=always_fails)
    async with started(broker, bus.settings):
        await bus.write(topic, b"bad")
        await until(lambda: len(began) >= 5)
        gaps = [later - earlier for earlier, later in pairwise(began)]
        assert min(gaps) >= 0.1, "redelivered without a wait"
        assert gaps[3] > gaps[0], "the wait does not grow"
        await until(lambda: consumer.progress.failed_attempts >= 5)
        assert "RuntimeError" in (await consumer.waiting() or "")
        assert await consumer.trouble() is None, "a restart would not mend a failing handler"


async def test_trap_03_poison_is_put_aside_and_the_partition_moves_on(bus: Bus) -> None:
    topic, service = await bus.topic(), bus.unique("service")
    dead = await bus.topic(name=contract_topics.dead_letters(service))
    broker = make_broker(bus.settings)
    letters = DeadLetters(Publisher(broker), service)
    good: list[bytes | None] = []

    async def handle(records: list[Record]) -> None:
        for record in records:
            try:
                orjson.loads(record.value or b"")
            except orjson.JSONDecodeError as error:
                await letters.put(record, "no JSON", error)
            else:
                good.append(record.value)

    group = bus.unique("group")
    subscribe_batch(broker, topic, group_id=group, handler=handle, dead_letters=letters)
    async with started(broker, bus.settings):
        await bus.write(topic, b"1", b"\xffpoison", b"2", key=b"k")
        await until(lambda: good == [b"1", b"2"])
        letter = (await bus.read(dead))[0]
    assert letter.key == f"{topic}-0-1".encode()
    content = orjson.loads(letter.value or b"")
    assert content["reason"] == "no JSON"
    assert content["payload_base64"] == "/3BvaXNvbg=="
    assert content["origin"] == {**content["origin"], "topic": topic, "partition": 0, "offset": 1}


async def test_trap_03_without_its_dead_letter_a_record_is_not_committed(bus: Bus) -> None:
    topic, group, service = await bus.topic(), bus.unique("group"), bus.unique("service")
    broker = make_broker(bus.settings)
    letters = DeadLetters(Publisher(broker), service)

    async def handle(records: list[Record]) -> None:
        for record in records:
            await letters.put(record, "never good")

    consumer = subscribe_batch(broker, topic, group_id=group, handler=handle, dead_letters=letters)
    async with started(broker, bus.settings):
        await bus.write(topic, b"bad")
        await until(lambda: consumer.progress.failed_attempts >= 2)
        assert await bus.committed(group, topic) == 0
        dead = await bus.topic(name=contract_topics.dead_letters(service))

        async def is_committed() -> bool:
            return await bus.committed(group, topic) == 1

        await until(is_committed)
        assert len(await bus.read(dead)) == 1


async def test_trap_04_a_strange_header_costs_no_record_of_its_batch(bus: Bus) -> None:
    topic, group = await bus.topic(), bus.unique("group")
    values = [b"%d" % number for number in range(101)]
    await bus.write(topic, *values[:50])
    await bus.write(topic, values[50], headers=[("broken", b"\xff\xfe"), ("fine", b"yes")])
    await bus.write(topic, values[51], headers=[("nothing", None)])
    await bus.write(topic, *values[52:])

    collected = Collected()
    broker = make_broker(bus.settings)
    subscribe_batch(broker, topic, group_id=group, handler=collected)
    async with started(broker, bus.settings):
        await until(lambda: len(collected.values) >= 101)
        assert collected.values == values
    records = [record for batch in collected.batches for record in batch]
    assert records[50].headers == {"broken": "��", "fine": "yes"}
    assert records[51].headers == {"nothing": ""}


async def test_trap_04_every_subscriber_of_the_broker_has_repaired_headers(bus: Bus) -> None:
    topic = await bus.topic()
    broker = make_broker(bus.settings)
    got: list[bytes] = []

    @broker.subscriber(topic, group_id=bus.unique("group"), auto_offset_reset="earliest")
    async def plain(body: bytes) -> None:
        got.append(body)

    async with started(broker, bus.settings):
        await bus.write(topic, b"bad", headers=[("broken", b"\xff"), ("nothing", None)])
        await bus.write(topic, b"good")
        await until(lambda: len(got) == 2)


async def test_trap_05_what_was_sent_before_the_start_is_seen(bus: Bus) -> None:
    topic = await bus.topic()
    await bus.write(topic, b"before")
    collected = Collected()
    broker = make_broker(bus.settings)
    subscribe_batch(broker, topic, group_id=bus.unique("group"), handler=collected)
    async with started(broker, bus.settings):
        await until(lambda: collected.values == [b"before"])


async def test_trap_05_every_instance_reads_a_small_topic_whole(bus: Bus) -> None:
    topic = await bus.topic()
    # Several fetches' worth: what one fetch brings would be whole by chance.
    await bus.write(topic, *(b"%d" % number + b" " * 300_000 for number in range(20)))
    seen: list[list[bytes | None]] = [[], []]

    def reader(number: int) -> WholeTopic:
        async def keep(record: Record) -> None:
            if (record.value or b"").startswith(b"3 "):
                raise ValueError("a document that cannot be applied")
            seen[number].append(record.value)

        return WholeTopic(bus.settings, topic, keep)

    async with running(reader(0)) as one, running(reader(1)) as other:
        await asyncio.wait_for(asyncio.gather(one.ready.wait(), other.ready.wait()), 10)
        assert [len(values) for values in seen] == [19, 19], "ready before the end was reached"
        await bus.write(topic, b"later")
        await until(lambda: all(values[-1] == b"later" for values in seen))


async def test_trap_06_no_page_can_swap_the_live_broker() -> None:
    app = make_app("test", health=Health())
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        for path in ("/asyncapi", "/docs/asyncapi", "/docs", "/asyncapi.json"):
            assert (await client.get(path)).status_code == 404, path
        for path in ("/asyncapi/try", "/docs/asyncapi/try"):
            assert (await client.post(path, json={})).status_code == 404, path


def test_trap_06_nothing_imports_what_serves_such_a_page() -> None:
    forbidden = (
        "faststream.asgi",
        "faststream.specification",
        "faststream.kafka.fastapi",
        "faststream.kafka.testing",
        "faststream.kafka.TestKafkaBroker",
    )
    found: list[str] = []
    for path in Path(next(iter(services.__path__))).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [f"{path.name}: {name}" for name in names if name.startswith(forbidden)]
    assert not found


async def test_trap_07_the_stop_waits_for_the_batch_in_hand(bus: Bus) -> None:
    topic, group = await bus.topic(), bus.unique("group")
    entered, release, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(_: list[Record]) -> None:
        entered.set()
        await release.wait()
        finished.set()

    broker = make_broker(bus.settings)
    consumer = subscribe_batch(broker, topic, group_id=group, handler=slow)
    async with started(broker, bus.settings):
        await bus.write(topic, b"in hand")
        await asyncio.wait_for(entered.wait(), 10)
        stop = asyncio.create_task(stop_within(broker, 10))
        await until(lambda: not consumer.subscriber.running)
        assert not stop.done()
        release.set()
        assert await stop
    assert finished.is_set()
    assert await bus.committed(group, topic) == 1


async def test_trap_07_a_wait_between_attempts_does_not_hold_up_the_stop(bus: Bus) -> None:
    topic = await bus.topic()

    async def always_fails(_: list[Record]) -> None:
        raise RuntimeError("no way")

    broker = make_broker(bus.settings)
    consumer = subscribe_batch(broker, topic, group_id=bus.unique("group"), handler=always_fails)
    async with started(broker, bus.settings):
        consumer.progress.failed_attempts = 20  # the next wait is 7.5 to 15 s
        await bus.write(topic, b"bad")
        await until(lambda: consumer.progress.failed_attempts == 21)
        began = time.monotonic()
        assert await stop_within(broker, 5)
        assert time.monotonic() - began < 2


async def test_trap_08_a_later_batch_never_commits_past_one_that_failed(bus: Bus) -> None:
    topic, group = await bus.topic(), bus.unique("group")
    firsts: list[bytes | None] = []
    committed: list[int] = []
    everything: list[bytes | None] = []

    async def fails_until_more_came(records: list[Record]) -> None:
        firsts.append(records[0].value)
        committed.append(await bus.committed(group, topic))
        if len(firsts) == 1:
            await bus.write(topic, b"second")
        if len(firsts) <= 3:
            raise RuntimeError("not yet")
        everything.extend(record.value for record in records)

    broker = make_broker(bus.settings)
    subscribe_batch(broker, topic, group_id=group, handler=fails_until_more_came, max_records=1)
    async with started(broker, bus.settings):
        await bus.write(topic, b"first")
        await until(lambda: everything == [b"first", b"second"])
    assert firsts == [b"first", b"first", b"first", b"first", b"second"]
    assert committed[:4] == [0, 0, 0, 0]


@pytest.fixture(scope="module")
def own_kafka(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Kafka of this file alone, to be halted; it creates topics when asked for one by name."""
    folder = tmp_path_factory.mktemp("own-kafka")
    port = ports.choose()
    node = kafka.KafkaNode(1, port, ports.choose(taken=[port]), folder / "1")
    kafka.write_configuration([node])
    with node.configuration.open("a", encoding="utf-8") as configuration:
        configuration.write("auto.create.topics.enable=true\nnum.partitions=1\n")
    log_file, class_path = folder / "log", jars.ensure_jars()
    formatted = launch.start(
        kafka.format_command(node, class_path, kafka.cluster_id(folder)), log_file
    )
    assert formatted.wait(60) == 0
    process = launch.start(kafka.run_command(node, class_path), log_file)
    try:
        launch.wait_until_ready(
            "kafka",
            process,
            lambda: kafka.is_ready(node.host, node.port),
            log_file=log_file,
            timeout_s=60,
        )
        yield f"{node.host}:{node.port}", process
    finally:
        process.send_signal(signal.SIGCONT)
        launch.end([process], grace_s=0.1)


@pytest.mark.local_platform
async def test_trap_09_nothing_hangs_while_kafka_is_halted(
    own_kafka: tuple[str, subprocess.Popen[bytes]], unique_name: Unique
) -> None:
    url, process = own_kafka
    bus = Bus(url, unique_name)
    topic = await bus.topic()
    broker = make_broker(bus.settings)
    consumer = subscribe_batch(
        broker, topic, group_id=bus.unique("group"), handler=Collected(), stuck_after_seconds=0.1
    )
    publisher = Publisher(broker, timeout_seconds=1.0)
    await asyncio.wait_for(start_when_available(broker, bus.settings, [topic]), 20)
    await publisher.publish_all([Outgoing(topic, b"k", b"v", partition=0)])
    os.kill(process.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(BusUnavailable):
            await publisher.publish_all([Outgoing(topic, b"k", b"v", partition=0)])
        assert time.monotonic() - began < 2
        assert await consumer.trouble() is None, "a restart does not bring Kafka back"
        began = time.monotonic()
        await stop_within(broker, 3)
        assert time.monotonic() - began < 4
    finally:
        os.kill(process.pid, signal.SIGCONT)


@pytest.mark.local_platform
async def test_trap_09_the_start_waits_for_kafka_and_its_topics(
    own_kafka: tuple[str, subprocess.Popen[bytes]], unique_name: Unique
) -> None:
    url, process = own_kafka
    bus = Bus(url, unique_name)
    topic = await bus.topic()
    os.kill(process.pid, signal.SIGSTOP)
    collected = Collected()
    broker = make_broker(bus.settings)
    subscribe_batch(broker, topic, group_id=bus.unique("group"), handler=collected)
    start = asyncio.create_task(start_when_available(broker, bus.settings))
    try:
        assert await bus_trouble(broker) == "not started"
        await asyncio.wait({start}, timeout=0.5)
        assert not start.done()
    finally:
        os.kill(process.pid, signal.SIGCONT)
    await asyncio.wait_for(start, 20)
    await bus.write(topic, b"v")
    await until(lambda: collected.values == [b"v"])
    assert await bus_trouble(broker) is None
    assert await stop_within(broker, 10)


async def _end_consuming(consumer: Consumer) -> None:
    for task in list(consumer.subscriber.tasks):
        task.cancel()


async def _end_coordination(consumer: Consumer) -> None:
    client: Any = consumer.subscriber.consumer
    client._coordinator._coordination_task.cancel()


async def _end_fetching(consumer: Consumer) -> None:
    client: Any = consumer.subscriber.consumer
    client._fetcher._fetch_task.cancel()


async def _stop_by_itself(consumer: Consumer) -> None:
    """What FastStream does when a handler raises SystemExit."""
    await consumer.subscriber.stop()


@pytest.mark.parametrize(
    ("end", "told"),
    [
        (_stop_by_itself, "stopped by itself"),
        (_end_consuming, "consuming task"),
        (_end_coordination, "coordination"),
        (_end_fetching, "fetching task"),
    ],
)
async def test_trap_10_a_consumer_that_died_silently_is_told(
    bus: Bus, end: Callable[[Consumer], Awaitable[None]], told: str
) -> None:
    topic = await bus.topic()
    broker = make_broker(bus.settings)
    consumer = subscribe_batch(broker, topic, group_id=bus.unique("group"), handler=Collected())
    async with started(broker, bus.settings):
        assert await consumer.trouble() is None
        await end(consumer)

        async def is_told() -> bool:
            return told in (await consumer.trouble() or "")

        await until(is_told)
        assert await bus_trouble(broker) is None, "the ping knows nothing of it"


async def test_trap_10_records_that_nobody_takes_are_told(bus: Bus) -> None:
    topic = await bus.topic()
    broker = make_broker(bus.settings)
    collected = Collected()
    consumer = subscribe_batch(
        broker, topic, group_id=bus.unique("group"), handler=collected, stuck_after_seconds=0.2
    )
    async with started(broker, bus.settings):
        await bus.write(topic, b"taken")
        await until(lambda: len(collected.values) == 1)
        await consumer.look()
        client: Any = consumer.subscriber.consumer
        client.pause(TopicPartition(topic, 0))
        await bus.write(topic, b"waits")

        async def is_told() -> bool:
            await consumer.look()
            return "records have waited" in (await consumer.trouble() or "")

        await until(is_told)
        client.resume(TopicPartition(topic, 0))
        await until(lambda: len(collected.values) == 2)
        await consumer.look()
        assert await consumer.trouble() is None


@pytest.mark.local_platform
async def test_trap_11_no_topic_comes_to_be_by_being_named(
    own_kafka: tuple[str, subprocess.Popen[bytes]], unique_name: Unique
) -> None:
    bus = Bus(own_kafka[0], unique_name)
    there, missing, other = await bus.topic(), bus.unique("missing"), bus.unique("missing")
    waiting = make_broker(bus.settings)
    subscribe_batch(waiting, missing, group_id=bus.unique("group"), handler=Collected())
    start = asyncio.create_task(start_when_available(waiting, bus.settings))
    broker = make_broker(bus.settings)
    async with started(broker, bus.settings):
        publisher = Publisher(broker, timeout_seconds=5)
        began = time.monotonic()
        with pytest.raises(BusUnavailable, match=other):
            await publisher.publish_all([Outgoing(other, b"k", b"v")])
        assert time.monotonic() - began < 2
        await publisher.publish_all([Outgoing(there, b"k", b"v")])
    await asyncio.wait({start}, timeout=1.0)
    assert not start.done()
    start.cancel()
    await asyncio.gather(start, return_exceptions=True)
    await stop_within(waiting, 5)
    assert not {missing, other} & await bus.topics()


async def test_trap_12_a_strangers_reply_to_is_not_followed(bus: Bus) -> None:
    topic, target = await bus.topic(), await bus.topic()
    broker = make_broker(bus.settings)
    plain: list[bytes] = []
    collected = Collected()
    subscribe_batch(broker, topic, group_id=bus.unique("group"), handler=collected)

    @broker.subscriber(topic, group_id=bus.unique("group"), auto_offset_reset="earliest")
    async def answering(body: bytes) -> bytes:
        plain.append(body)
        return b"an answer that must stay here"

    async with started(broker, bus.settings):
        await bus.write(topic, b"1", b"2", headers=[("reply_to", target.encode())])
        await until(lambda: len(collected.values) == 2 and len(plain) == 2)
    whole = WholeTopic(bus.settings, target, _unexpected)
    async with running(whole):
        await asyncio.wait_for(whole.ready.wait(), 10)


async def _unexpected(record: Record) -> None:
    pytest.fail(f"something was written to {record.topic}")


async def test_a_case_stays_with_one_process_in_all_topics_of_a_group(bus: Bus) -> None:
    """aiokafka's own assignor is round robin, which splits a case between processes."""
    topics, group = [await bus.topic(5), await bus.topic(5)], bus.unique("group")
    consumers = []
    brokers = []
    for number in range(2):
        settings = bus.settings.model_copy(update={"instance": f"{group}-{number}"})
        broker = make_broker(settings)
        consumers.append(subscribe_batch(broker, *topics, group_id=group, handler=Collected()))
        brokers.append(broker)
    async with started(brokers[0], bus.settings), started(brokers[1], bus.settings):

        def shares() -> list[set[tuple[str, int]]]:
            clients: list[Any] = [consumer.subscriber.consumer for consumer in consumers]
            return [{(tp.topic, tp.partition) for tp in client.assignment()} for client in clients]

        await until(lambda: all(shares()) and sum(len(share) for share in shares()) == 10)
        for share in shares():
            for _, partition in share:
                assert {(topic, partition) for topic in topics} <= share
