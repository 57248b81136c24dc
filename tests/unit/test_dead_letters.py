"""Dead letters: whole, written before anything is committed, and no flood after a bad release."""

import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest

from contracts.dead_letters import DeadLetter
from services.chassis.bus import BusUnavailable, Outgoing, Publisher, Record, make_broker
from services.chassis.dead_letters import (
    LONGEST_PAYLOAD_BYTES,
    Cut,
    DeadLetters,
    TooManyDeadLetters,
    original,
)
from services.chassis.settings import ServiceSettings


class KeepingPublisher(Publisher):
    """Keeps what is published; fails while it is told to."""

    def __init__(self) -> None:
        super().__init__(make_broker(ServiceSettings()))
        self.written: list[Outgoing] = []
        self.fails = False

    async def publish_all(
        self, outgoing: Sequence[Outgoing], timeout_seconds: float | None = None
    ) -> None:
        if self.fails:
            raise BusUnavailable("down")
        self.written.extend(outgoing)


@pytest.fixture
def publisher() -> KeepingPublisher:
    return KeepingPublisher()


def record(offset: int, partition: int = 0, value: bytes | None = b"{") -> Record:
    return Record("triage.v1", partition, offset, b"key", value, {"ce_id": "e1"}, 1_700_000_000_000)


async def test_a_dead_letter_tells_all_that_is_needed_to_repair_it(
    publisher: KeepingPublisher,
) -> None:
    letters = DeadLetters(publisher, "notify")
    try:
        raise ValueError("the text of 13800000123")
    except ValueError as error:
        await letters.put(record(7, value=b"\xff13800000123"), "no JSON", error)
    (letter,) = publisher.written
    assert letter.topic == "dead-letters.notify.v1"
    assert letter.key == b"triage.v1-0-7"
    content = orjson.loads(letter.value or b"")
    assert content["origin"] == {
        "topic": "triage.v1",
        "partition": 0,
        "offset": 7,
        "timestamp_ms": 1_700_000_000_000,
    }
    assert base64.b64decode(content["payload_base64"]) == b"\xff13800000123"
    assert base64.b64decode(content["key_base64"]) == b"key"
    assert content["headers"] == {"ce_id": "e1"}
    assert (content["reason"], content["error_class"]) == ("no JSON", "ValueError")
    assert "text of" not in str(content), "the text of an error can quote the record"


async def test_a_tombstone_and_a_huge_record_fit(publisher: KeepingPublisher) -> None:
    letters = DeadLetters(publisher, "notify")
    await letters.put(record(1, value=None), "empty")
    await letters.put(record(2, value=b"x" * 1_000_000), "huge")
    empty, huge = (orjson.loads(letter.value or b"") for letter in publisher.written)
    assert empty["payload_base64"] is None
    assert huge["payload_bytes"] == 1_000_000
    assert len(base64.b64decode(huge["payload_base64"])) == LONGEST_PAYLOAD_BYTES
    assert len(publisher.written[1].value or b"") < 1_000_000


async def test_a_failed_write_is_told_and_counts_for_nothing(publisher: KeepingPublisher) -> None:
    letters = DeadLetters(publisher, "notify", longest_run=1)
    publisher.fails = True
    for _ in range(5):
        letters.begin([record(1)])
        with pytest.raises(BusUnavailable):
            await letters.put(record(1), "bad")
    publisher.fails = False
    letters.begin([record(1)])
    await letters.put(record(1), "bad")
    assert len(publisher.written) == 1


async def test_a_run_beyond_the_limit_stops_and_writes_no_more(
    publisher: KeepingPublisher,
) -> None:
    letters = DeadLetters(publisher, "notify", longest_run=3)
    records = [record(offset) for offset in (1, 5, 6, 9)]  # compaction took the others
    for _ in range(2):  # as it is delivered again
        letters.begin(records)
        for one in records[:3]:
            await letters.put(one, "bad")
        with pytest.raises(TooManyDeadLetters):
            await letters.put(records[3], "bad")
    assert len(publisher.written) == 3, "written twice for one batch"


async def test_a_run_goes_on_over_batches_and_ends_with_a_good_record(
    publisher: KeepingPublisher,
) -> None:
    letters = DeadLetters(publisher, "notify", longest_run=3)

    async def batch(offsets: Sequence[int], bad: Sequence[int]) -> None:
        letters.begin([record(offset) for offset in offsets])
        for offset in bad:
            await letters.put(record(offset), "bad")
        letters.end()

    await batch([1, 2], bad=[1, 2])
    await batch([3], bad=[])
    await batch([4, 5], bad=[4, 5])
    await batch([6, 7], bad=[6])
    await batch([8, 9, 10], bad=[8, 9, 10])
    with pytest.raises(TooManyDeadLetters):
        await batch([11], bad=[11])


async def test_partitions_are_counted_apart(publisher: KeepingPublisher) -> None:
    letters = DeadLetters(publisher, "notify", longest_run=2)
    records = [record(offset, partition) for offset in (1, 2) for partition in (0, 1, 2)]
    letters.begin(records)
    for one in records:
        await letters.put(one, "bad")
    letters.end()
    assert len(publisher.written) == 6


async def test_the_record_is_written_again_as_it_was_read(publisher: KeepingPublisher) -> None:
    letters = DeadLetters(publisher, "notify")
    await letters.put(record(7, partition=3, value=b"\xff\x00"), "no JSON")
    await letters.put(record(8, value=None), "empty")
    again, tombstone = (original(letter) for letter in map(read, publisher.written))
    assert (again.topic, again.partition, again.key) == ("triage.v1", 3, b"key")
    assert (again.value, again.headers) == (b"\xff\x00", {"ce_id": "e1"})
    assert tombstone.value is None


@pytest.mark.parametrize(
    "cut",
    [
        {"value": b"x" * (LONGEST_PAYLOAD_BYTES + 1)},
        {"key": b"k" * 2_000},
        {"headers": {"long": "x" * 3_000}},
        {"headers": {f"h{n}": "" for n in range(60)}},
    ],
)
async def test_what_was_cut_is_never_written_again(
    publisher: KeepingPublisher, cut: dict[str, Any]
) -> None:
    await DeadLetters(publisher, "notify").put(replace(record(1), **cut), "bad")
    with pytest.raises(Cut):
        original(read(publisher.written[0]))


def read(written: Outgoing) -> DeadLetter:
    return DeadLetter.model_validate_json(written.value or b"")
