"""Export and import on a real Kafka: what comes in is what went out, or nothing at all."""

import asyncio
import base64
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from contracts.dead_letters import DeadLetter, Origin
from contracts.envelope import TICK_KEY, parse
from contracts.lifecycle import state_of
from contracts.requests import RequestSubmitted
from contracts.topics import (
    HANDLING,
    REQUESTS,
    TRIAGE,
    TopicSpec,
    all_topics,
    dead_letters,
    feed,
    partition_for,
    replies,
)
from deploy.log_archive.checking import held
from deploy.log_archive.errors import ArchiveError
from deploy.log_archive.exporting import Progress, export_log, extent_of
from deploy.log_archive.importing import import_log
from deploy.log_archive.lines import Line
from deploy.log_archive.manifest import FILE, MARK_GROUP, read_manifest
from deploy.log_archive.submissions import Submissions
from deploy.topics import ensure_topics
from services.chassis.batches import outgoing
from services.chassis.bus import Outgoing
from services.chassis.kept import Kept
from services.chassis.store import Store
from services.intake.store import Records
from services.notify.work import feed_record
from tests.contract.acts import submit
from tests.contract.histories import DEPARTMENTS, MARKER, History, case_number
from tests.contract.stories import close, follow, rest
from tests.servers.own import own_kafka

WRITTEN_MS = int(time.time() * 1_000) - 3 * 24 * 3_600_000
"""Old, and yet younger than what any topic drops."""
SPECS: list[TopicSpec] = all_topics(DEPARTMENTS)
ODD_HEADERS = [("a", b"1"), ("null", None), ("a", b"\xff\xfe"), ("", b"")]


@dataclass(frozen=True)
class Raw:
    """A record as it stands, its offset left aside."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int


Log = dict[TopicPartition, list[tuple[int, Raw]]]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Kafka of this module's own: a log is exported whole."""
    with own_kafka(tmp_path_factory.mktemp("archive-kafka")) as url:
        yield url


@asynccontextmanager
async def admin(url: str) -> Any:
    one = AIOKafkaAdminClient(bootstrap_servers=url)
    await one.start()
    try:
        yield one
    finally:
        await one.close()


async def empty(url: str) -> None:
    """Make all topics anew; with them go their records and all committed offsets."""
    async with admin(url) as to:
        there = [name for name in await to.list_topics() if not name.startswith("__")]
        if there:
            await to.delete_topics(there)
        while set(await to.list_topics()) & set(there):
            await asyncio.sleep(0.05)
    await ensure_topics(url, SPECS)
    async with admin(url) as to:
        while not {one.name for one in SPECS} <= set(await to.list_topics()):
            await asyncio.sleep(0.05)


async def write(url: str, records: Sequence[Outgoing], *, in_transactions: bool = False) -> None:
    """Write records with odd headers and old times. Each transaction leaves a gap of an offset."""
    producer = AIOKafkaProducer(
        bootstrap_servers=url,
        acks="all",
        transactional_id="gaps" if in_transactions else None,
        request_timeout_ms=15_000,
    )
    await producer.start()
    try:
        for start in range(0, len(records), 40):
            if in_transactions:
                await producer.begin_transaction()
            sent = []
            for number, one in enumerate(records[start : start + 40], start=start):
                headers: list[Any] = [(name, text.encode()) for name, text in one.headers.items()]
                future = await producer.send(
                    one.topic,
                    value=one.value,
                    key=one.key,
                    partition=one.partition,
                    timestamp_ms=WRITTEN_MS + number,
                    headers=headers + ODD_HEADERS,
                )
                sent.append(future)
            await asyncio.gather(*sent)
            if in_transactions:
                await producer.commit_transaction()
    finally:
        await producer.stop()


async def read(url: str) -> Log:
    """The whole log, by a client that has nothing to do with what is tested."""
    consumer = AIOKafkaConsumer(bootstrap_servers=url, auto_offset_reset="earliest")
    await consumer.start()
    try:
        places = [TopicPartition(one.name, n) for one in SPECS for n in range(one.partitions)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends = await consumer.end_offsets(places)
        found: Log = {}
        while any([await consumer.position(place) < end for place, end in ends.items()]):
            for place, records in (await consumer.getmany(timeout_ms=200)).items():
                found.setdefault(place, []).extend(
                    (one.offset, Raw(one.key, one.value, tuple(one.headers), one.timestamp))
                    for one in records
                )
        return found
    finally:
        await consumer.stop()


def without_offsets(log: Log) -> dict[TopicPartition, list[Raw]]:
    return {place: [raw for _, raw in records] for place, records in log.items()}


async def commit(url: str, group: str, offsets: Mapping[TopicPartition, int]) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=url, group_id=group, enable_auto_commit=False)
    consumer.assign(list(offsets))
    await consumer.start()
    try:
        await consumer.commit(dict(offsets))
    finally:
        await consumer.stop()


async def committed(url: str, group: str) -> dict[TopicPartition, int]:
    async with admin(url) as to:
        found = await to.list_consumer_group_offsets(group)
        return {place: at.offset for place, at in found.items()}


def closed(number: int) -> History:
    """A case with hand-offs to departments, resolved and closed."""
    choose = random.Random(number).choice
    history = History(case_number(number))
    submit(history, None, choose)
    rest(history, choose)
    follow(history, "lead and assists", choose)
    close(history, choose)
    return history


def feeds_of(history: History) -> list[Outgoing]:
    return [
        feed_record(Kept(handoff, own, handoff.seq))
        for handoff in history.handoffs.values()
        if handoff.sent_by == "feed"
        for own in [[e for e in history.events if e.data.document_id == handoff.document_id]]
    ]


def events_of(history: History) -> list[Outgoing]:
    return [outgoing(event) for event in history.events]


def letter(topic: str, partition: int, offset: int, payload: bytes) -> Outgoing:
    """A dead letter of triage about a record."""
    one = DeadLetter(
        service="triage",
        reason="breaks the contract at value",
        origin=Origin(topic=topic, partition=partition, offset=offset, timestamp_ms=WRITTEN_MS),
        payload_base64=base64.b64encode(payload).decode(),
        at="2022-01-18T08:00:00Z",
    )
    key = one.origin.name.encode()
    return Outgoing(dead_letters("triage"), key, one.model_dump_json().encode(), partition=0)


HISTORIES = [closed(number) for number in range(8)]
ODD = [
    Outgoing(REQUESTS, b"\xff\x00", b"\x80\x81 no text", partition=1),
    Outgoing(REQUESTS, "钥匙".encode(), None, partition=1),
    Outgoing(replies(DEPARTMENTS[0]), None, "没有键 \u2028\x00\n".encode(), partition=2),
    Outgoing(TRIAGE, b"k", b"", partition=4),
    Outgoing(HANDLING, TICK_KEY, b"{}", partition=5),
]
ODD_LINE = Line(99, WRITTEN_MS, b"k", (("ce_type", b"jieyou.request.submitted"),), b"{")


@pytest.fixture(scope="module")
def exported(broker: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Log]:
    """A log with gaps, groups on it, and the folder to which it was exported."""
    folder = tmp_path_factory.mktemp("exported") / "log"

    async def make() -> Log:
        await empty(broker)
        events = [record for history in HISTORIES for record in events_of(history)]
        await write(broker, [Outgoing(REQUESTS, b"k", b"v", partition=1)], in_transactions=True)
        await write(broker, events[:60], in_transactions=True)
        await write(broker, [*events[60:], *ODD])
        await write(broker, [record for one in HISTORIES for record in feeds_of(one)])
        log = await read(broker)
        bad_offset = next(at for at, raw in log[TopicPartition(REQUESTS, 1)] if raw.value is None)
        about = [letter(REQUESTS, 1, bad_offset, b"x"), letter(REQUESTS, 1, 10_000, b"y")]
        await write(broker, about)
        log = await read(broker)
        halfway = {
            place: records[len(records) // 2][0]
            for place, records in log.items()
            if place.topic in (REQUESTS, HANDLING)
        }
        await commit(broker, "triage", halfway)
        await commit(broker, "a department's", {TopicPartition(feed(DEPARTMENTS[0]), 0): 0})
        await commit(broker, "intake", {TopicPartition(TRIAGE, 0): 1})
        await export_log(broker, folder, SPECS, profile="zhoukou", part_bytes=20_000)
        return log

    return folder, asyncio.run(make())


async def test_what_comes_in_is_what_went_out_and_groups_go_on_at_the_same_record(
    broker: str, exported: tuple[Path, Log]
) -> None:
    folder, before = exported
    old = await committed(broker, "triage")
    await empty(broker)
    shown: list[Progress] = []

    imported = await import_log(broker, folder, on_write=shown.append)

    after = await read(broker)
    letters = TopicPartition(dead_letters("triage"), 0)
    assert without_offsets(after) | {letters: []} == without_offsets(before) | {letters: []}
    assert imported.records == sum(map(len, before.values())) == shown[-1].done == shown[-1].total
    assert all(offset == at for records in after.values() for at, (offset, _) in enumerate(records))
    assert any(
        offset != at for records in before.values() for at, (offset, _) in enumerate(records)
    )
    new = await committed(broker, "triage")
    assert new.keys() == old.keys()
    for place, at in new.items():
        assert (
            after[place][at:]
            == after[place][-len([o for o, _ in before[place] if o >= old[place]]) :]
        )
    assert await committed(broker, "a department's") == {TopicPartition(feed(DEPARTMENTS[0]), 0): 0}
    assert await committed(broker, "intake") == {}
    files = {one.name for one in read_manifest(folder).files}
    assert any(".2." in name for name in files)
    assert {one.stat().st_mode & 0o077 for one in (folder, *folder.iterdir())} == {0}


async def test_a_dead_letter_names_the_new_offset_of_its_record(
    broker: str, exported: tuple[Path, Log]
) -> None:
    folder, before = exported
    await empty(broker)
    await import_log(broker, folder)

    after = await read(broker)
    place = TopicPartition(REQUESTS, 1)
    moved, alone = (raw for _, raw in after[TopicPartition(dead_letters("triage"), 0)])
    offset = next(at for at, raw in after[place] if raw.value is None)
    assert offset != next(at for at, raw in before[place] if raw.value is None)
    assert moved.key == f"{REQUESTS}-1-{offset}".encode()
    assert DeadLetter.model_validate_json(moved.value or b"").origin.name.encode() == moved.key
    assert alone.key == f"{REQUESTS}-1-10000".encode()


async def untouched(broker: str) -> bool:
    """Whether nothing was written and nothing committed."""
    return await read(broker) == {} and await committed(broker, MARK_GROUP) == {}


def copy_of(folder: Path, to: Path) -> Path:
    to.mkdir()
    for one in folder.iterdir():
        (to / one.name).write_bytes(one.read_bytes())
    return to


async def test_a_flipped_byte_is_refused_by_name_before_anything_is_written(
    broker: str, exported: tuple[Path, Log], tmp_path: Path
) -> None:
    folder = copy_of(exported[0], tmp_path / "copy")
    entry = read_manifest(folder).files[-1]
    path = folder / entry.name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    await empty(broker)
    with pytest.raises(ArchiveError, match=f"{entry.name} is damaged"):
        await import_log(broker, folder)
    assert await untouched(broker)


async def test_what_is_no_whole_export_is_refused(
    broker: str, exported: tuple[Path, Log], tmp_path: Path
) -> None:
    await empty(broker)
    with pytest.raises(ArchiveError, match=r"has no manifest\.json"):
        await import_log(broker, tmp_path)
    with held(exported[0]), pytest.raises(ArchiveError, match="is being imported already"):
        await import_log(broker, exported[0])

    short = copy_of(exported[0], tmp_path / "short")
    (short / read_manifest(short).files[0].name).unlink()
    with pytest.raises(ArchiveError, match="is not readable"):
        await import_log(broker, short)

    fewer = copy_of(exported[0], tmp_path / "fewer")
    content = orjson.loads((fewer / FILE).read_bytes())
    content["files"][0]["records"] += 1
    (fewer / FILE).write_bytes(orjson.dumps(content))
    with pytest.raises(ArchiveError, match=r"records, .* by the manifest"):
        await import_log(broker, fewer)
    assert await untouched(broker)


async def test_a_dry_run_tells_the_same_and_writes_nothing(
    broker: str, exported: tuple[Path, Log]
) -> None:
    folder, before = exported
    await empty(broker)
    told = await import_log(broker, folder, is_dry_run=True)
    assert await untouched(broker)
    assert told == await import_log(broker, folder)
    assert told.records == sum(map(len, before.values()))


async def test_a_kafka_with_records_or_readers_is_refused(
    broker: str, exported: tuple[Path, Log]
) -> None:
    folder, _ = exported
    await empty(broker)
    await write(broker, [Outgoing(HANDLING, b"k", b"v", partition=3)])
    with pytest.raises(ArchiveError, match=r"handling\.v1 holds records already"):
        await import_log(broker, folder)
    assert await committed(broker, MARK_GROUP) == {}

    await empty(broker)
    await commit(broker, "triage", {TopicPartition(REQUESTS, 0): 1})
    with pytest.raises(ArchiveError, match="group triage has read there already"):
        await import_log(broker, folder)

    await empty(broker)
    running = AIOKafkaConsumer(REQUESTS, bootstrap_servers=broker, group_id="notify")
    await running.start()
    try:
        with pytest.raises(ArchiveError, match="group notify has members: stop the services"):
            await import_log(broker, folder)
    finally:
        await running.stop()
    assert await untouched(broker)


async def test_ticks_alone_do_not_make_a_kafka_full(
    broker: str, exported: tuple[Path, Log]
) -> None:
    folder, before = exported
    await empty(broker)
    ticks = [Outgoing(REQUESTS, TICK_KEY, b"{}", partition=n) for n in range(12) for _ in "ab"]
    await write(broker, ticks)
    await import_log(broker, folder)
    after = await read(broker)
    place = TopicPartition(REQUESTS, 1)
    assert [raw for _, raw in after[place]][2:] == [raw for _, raw in before[place]]
    manifest = {
        (one.topic, one.partition): one.offset
        for one in read_manifest(folder).committed
        if one.group == "triage"
    }
    new = (await committed(broker, "triage"))[place]
    assert len(after[place]) - new == len(
        [at for at, _ in before[place] if at >= manifest[REQUESTS, 1]]
    )


async def test_missing_topics_and_other_partitions_are_refused(
    broker: str, exported: tuple[Path, Log]
) -> None:
    folder, _ = exported
    await empty(broker)
    async with admin(broker) as to:
        await to.delete_topics([feed(DEPARTMENTS[0])])
        while feed(DEPARTMENTS[0]) in await to.list_topics():
            await asyncio.sleep(0.05)
    with pytest.raises(ArchiveError, match="run `jieyou topics`"):
        await import_log(broker, folder)
    await ensure_topics(
        broker, [replace(s, partitions=5) for s in SPECS if s.name == feed(DEPARTMENTS[0])]
    )
    with pytest.raises(ArchiveError, match="has 5 partitions instead of 3"):
        await import_log(broker, folder)


async def test_an_import_that_was_killed_goes_on_where_it_stopped(
    broker: str, exported: tuple[Path, Log]
) -> None:
    folder, before = exported
    await empty(broker)
    script = (
        "import asyncio, os, signal, sys\n"
        "from pathlib import Path\n"
        "from deploy.log_archive.importing import import_log\n"
        "def show(p):\n"
        "    if p.done > p.total // 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "asyncio.run(import_log(sys.argv[1], Path(sys.argv[2]), on_write=show))\n"
    )
    command = [sys.executable, "-c", script, broker, str(folder)]
    killed = await asyncio.to_thread(subprocess.run, command, check=False)
    assert killed.returncode == -signal.SIGKILL
    standing = sum(map(len, (await read(broker)).values()))
    total = sum(map(len, before.values()))
    assert 0 < standing < total

    with pytest.raises(ArchiveError, match="another list of erased cases"):
        await import_log(broker, folder, erased=[HISTORIES[0].case_no])
    imported = await import_log(broker, folder)

    letters = TopicPartition(dead_letters("triage"), 0)
    after = without_offsets(await read(broker))
    assert after | {letters: []} == without_offsets(before) | {letters: []}
    assert (imported.standing, imported.records) == (standing, total - standing)
    assert await committed(broker, "triage")
    with pytest.raises(ArchiveError, match="has been imported there already"):
        await import_log(broker, folder)


async def test_a_half_done_import_that_somebody_wrote_into_is_not_gone_on_with(
    broker: str, exported: tuple[Path, Log]
) -> None:
    folder, _ = exported
    await empty(broker)

    class Broken(Exception):
        pass

    def show(progress: Progress) -> None:
        if progress.done > progress.total // 2:
            raise Broken

    with pytest.raises(Broken):
        await import_log(broker, folder, on_write=show)
    await write(broker, [Outgoing(TRIAGE, TICK_KEY, b"{}", partition=n) for n in range(12)])
    with pytest.raises(ArchiveError, match="not of this export"):
        await import_log(broker, folder)


async def test_topics_have_their_own_settings_again_after_an_import(
    broker: str, exported: tuple[Path, Log]
) -> None:
    await empty(broker)
    await import_log(broker, exported[0])
    report = await ensure_topics(broker, SPECS)
    assert (report.created, report.reconfigured) == ([], [])


async def test_an_erased_case_comes_in_without_its_person(
    broker: str, exported: tuple[Path, Log]
) -> None:
    folder, before = exported
    erased = HISTORIES[0]
    assert any(MARKER.encode() in raw.value for raw in records_of(before, erased) if raw.value)
    await empty(broker)

    imported = await import_log(broker, folder, erased=[erased.case_no])

    after = await read(broker)
    assert imported.redacted > 0
    assert not any(MARKER.encode() in raw.value for raw in records_of(after, erased) if raw.value)
    read_back = [
        parse(
            {name: (value or b"").decode("utf-8", "replace") for name, value in raw.headers},
            raw.value,
        )
        for raw in records_of(after, erased)
    ]
    assert {one.data.rev for one in read_back} == {1}
    assert len(read_back) == len(erased.events)
    old, new = state_of(erased.case_no, erased.events), state_of(erased.case_no, read_back)
    assert old.case is not None
    assert new.case is not None
    assert (new.case.phase, new.handoffs.keys()) == (old.case.phase, old.handoffs.keys())
    for place, records in after.items():
        if place.topic.startswith("feed."):
            assert not any(erased.case_no.encode() in (raw.value or b"") for _, raw in records)
    others = [raw for one in HISTORIES[1:] for raw in records_of(after, one)]
    assert others == [raw for one in HISTORIES[1:] for raw in records_of(before, one)]


def records_of(log: Log, history: History) -> list[Raw]:
    """The records of a case on the case topics."""
    number = partition_for(history.case_no)
    subject = ("ce_subject", history.case_no.encode())
    return [
        raw
        for topic in (REQUESTS, TRIAGE, HANDLING)
        for _, raw in log.get(TopicPartition(topic, number), [])
        if subject in raw.headers
    ]


async def test_an_export_only_goes_into_an_empty_folder_and_a_dry_run_makes_none(
    broker: str, exported: tuple[Path, Log], tmp_path: Path
) -> None:
    with pytest.raises(ArchiveError, match="is not empty"):
        await export_log(broker, exported[0], SPECS, profile="zhoukou")
    extent = await extent_of(broker, SPECS)
    assert set(extent.spans) == {one.name for one in SPECS}
    with pytest.raises(ArchiveError, match=r"has no topic feed\.nobody"):
        await export_log(broker, tmp_path / "new", all_topics(["nobody"]), profile="zhoukou")
    assert not (tmp_path / "new").exists()


async def test_intake_knows_the_requests_of_the_log_by_the_first_of_each_case(
    mongo_url: str, unique_name: Callable[[str], str]
) -> None:
    submitted = [history.events[0] for history in HISTORIES]
    second = replace(submitted[0], id=submitted[1].id)
    lines = [
        Line(
            offset,
            WRITTEN_MS,
            event.key,
            tuple((name, text.encode()) for name, text in event.headers().items()),
            event.encoded,
        )
        for offset, event in enumerate([*submitted, second])
    ]
    database = unique_name("intake")
    submissions = Submissions(mongo_url, database)
    store = Store(mongo_url, database)
    try:
        await submissions.require_store()
        assert await submissions.keep([*lines, ODD_LINE]) == len(HISTORIES)
        assert await submissions.keep(lines) == 0
        found = await Records(store).find(history.case_no for history in HISTORIES)
    finally:
        submissions.close()
        store.close()
    assert {one.id: one.event.encoded for one in found} == {
        history.case_no: event.encoded for history, event in zip(HISTORIES, submitted, strict=True)
    }
    for one in found:
        assert isinstance(one.event.data, RequestSubmitted)
        assert one.digest == one.event.data.body_digest
        assert one.channel == one.event.data.request.channel
