"""The parts of export and import that need no Kafka: lines, files, translated offsets, erasure."""

from pathlib import Path

import orjson
import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from contracts.topics import HANDLING, REQUESTS, TRIAGE, feed, replies
from deploy.log_archive.erasing import Erasure, case_numbers
from deploy.log_archive.errors import ArchiveError
from deploy.log_archive.files import PartitionFiles, check_file, read_lines
from deploy.log_archive.letters import moved, origin_of
from deploy.log_archive.lines import Line, decoded, encoded
from deploy.log_archive.manifest import FILE, read_manifest
from deploy.log_archive.offsets import Offsets
from services.chassis.batches import outgoing
from tests.contract.histories import MARKER, case_number
from tests.contract.stories import history_from

BYTES = st.none() | st.binary(max_size=40) | st.text(max_size=20).map(str.encode)
HEADERS = st.lists(st.tuples(st.text(max_size=8), BYTES), max_size=4).map(tuple)
LINES = st.builds(
    Line,
    offset=st.integers(0, 2**62),
    timestamp_ms=st.integers(0, 2**42),
    key=BYTES,
    headers=HEADERS,
    value=BYTES,
)


@given(LINES)
def test_a_line_gives_back_its_record_byte_for_byte(line: Line) -> None:
    text = encoded(line)
    assert text.count(b"\n") == 1
    assert text.endswith(b"\n")
    assert decoded(text) == line


def test_a_line_names_what_is_not_text() -> None:
    line = Line(7, 1, "键".encode(), (("a", b"\xff"), ("b", None), ("c", b"t")), b"\xff")
    assert orjson.loads(encoded(line)) == {
        "offset": 7,
        "timestamp_ms": 1,
        "key": "键",
        "headers": [["a", {"base64": "/w=="}], ["b", None], ["c", "t"]],
        "value_base64": "/w==",
    }


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b'{"offset": 1}',
        b'{"offset":1,"timestamp_ms":1,"key":1,"headers":[],"value":null}',
    ],
)
def test_another_line_is_refused_without_its_content(text: bytes) -> None:
    with pytest.raises(ArchiveError, match="a line is no record of this format"):
        decoded(text)


@given(
    st.lists(LINES, min_size=1, max_size=30, unique_by=lambda line: line.offset),
    st.integers(1, 2_000),
)
def test_parts_of_bounded_size_hold_every_record_in_order(
    tmp_path_factory: pytest.TempPathFactory, lines: list[Line], part_bytes: int
) -> None:
    folder = tmp_path_factory.mktemp("parts")
    lines.sort(key=lambda line: line.offset)
    files = PartitionFiles(folder, "requests.v1", 3, part_bytes=part_bytes)
    files.write(lines[:10])
    files.write(lines[10:])
    entries = files.close()
    assert list(read_lines(folder, entries)) == lines
    assert sum(one.records for one in entries) == len(lines)
    assert entries[0].name == "requests.v1-3.jsonl.gz"
    assert (entries[0].first_offset, entries[-1].last_offset) == (lines[0].offset, lines[-1].offset)
    longest = max(len(encoded(line)) for line in lines)
    for entry in entries:
        assert check_file(folder, entry) == []
        assert sum(len(encoded(x)) for x in read_lines(folder, [entry])) <= part_bytes + longest


@given(st.sets(st.integers(0, 60)), st.lists(st.integers(0, 70), max_size=6), st.integers(0, 5))
def test_a_group_goes_on_before_the_same_records_through_all_gaps(
    written: set[int], asked: list[int], base: int
) -> None:
    offsets = Offsets(asked, base)
    new_of = {}
    for old in sorted(written):
        new_of[old] = offsets.next
        offsets.take(old)
    for old in asked:
        new = offsets.new(old)
        assert {o for o, n in new_of.items() if n >= new} == {o for o in written if o >= old}
        assert base <= new <= base + len(written)
        assert offsets.new_of_record(old) == new_of.get(old)
    assert offsets.next == base + len(written)


def test_a_letter_whose_record_is_not_there_stays_as_it_is() -> None:
    place, key = TopicPartition("triage.v1", 3), b"triage.v1-3-17"
    assert origin_of(key) == (place, 17)
    assert [origin_of(one) for one in (None, b"tick", b"a-b-1", b"\xff")] == [None] * 4
    line = Line(0, 1, key, (), None)
    assert moved(line, lambda _, __: None) is line
    assert moved(line, lambda _, __: 17) is line
    assert moved(line, lambda p, old: old - 5 if p == place else None).key == b"triage.v1-3-12"


def test_a_list_of_erased_cases_may_hold_what_erase_prints_and_nothing_else() -> None:
    one, two = case_number(1), case_number(2)
    spoken = "-".join(one[i : i + 4] for i in range(0, len(one), 4)).lower()
    assert case_numbers(f"{spoken}  2022-01-20T08:00:00Z\n\n{two}\n") == {one, two}
    with pytest.raises(ArchiveError, match="line 2 of the list") as caught:
        case_numbers(f"{one}\n张三\n")
    assert "张三" not in str(caught.value)


def lines_of(seed: int, script: str) -> list[tuple[str, Line]]:
    """The records of a case with traces of a person in all its events."""
    found = []
    for offset, event in enumerate(history_from(seed, script).events):
        record = outgoing(event)
        headers = tuple((name, text.encode()) for name, text in record.headers.items())
        found.append((record.topic, Line(offset, 1, record.key, headers, record.value)))
    return found


@pytest.mark.parametrize("seed", range(6))
def test_of_an_erased_case_no_trace_comes_in(seed: int) -> None:
    lines = lines_of(seed, "lead and assists")
    erasure = Erasure([case_number(1)])
    treated = [erasure.treat(topic, line) for topic, line in lines]
    assert any(MARKER.encode() in (line.value or b"") for _, line in lines)
    assert not any(MARKER.encode() in (line.value or b"") for line in treated if line)
    assert [line.key for line in treated if line] == [line.key for _, line in lines]
    again = [
        erasure.treat(topic, line) for (topic, _), line in zip(lines, treated, strict=True) if line
    ]
    assert again == treated


def test_another_case_is_left_as_it_is() -> None:
    erasure = Erasure([case_number(2)])
    for topic, line in lines_of(1, "lead and assists"):
        assert erasure.treat(topic, line) is line
    assert (erasure.redacted, erasure.left_out) == (0, 0)


def test_what_stands_beside_an_erased_case_goes_or_loses_its_words() -> None:
    erasure = Erasure([case_number(1)])
    for topic, line in lines_of(1, "lead and assists"):
        erasure.treat(topic, line)
    handoff = next(
        orjson.loads(line.value)["handoff_id"]
        for topic, line in lines_of(1, "lead and assists")
        if topic == HANDLING and line.value and b"handoff_id" in line.value
    )
    reply = {
        "act": "result",
        "reply_id": "r",
        "handoff_id": handoff,
        "text": "王五家",
        "person": "王五",
    }
    treated = erasure.treat(replies("health"), Line(0, 1, None, (), orjson.dumps(reply)))
    assert treated is not None
    assert orjson.loads(treated.value or b"") == {
        "act": "result",
        "reply_id": "r",
        "handoff_id": handoff,
        "text": "（个人信息已清除）",
    }
    document = {"case_no": case_number(1), "handoff_id": handoff, "text": "王五家"}
    in_feed = Line(0, 1, handoff.encode(), (), orjson.dumps(document))
    assert erasure.treat(feed("health"), in_feed) is None
    marked = Line(0, 1, handoff.encode(), (), orjson.dumps({**document, "erased": True}))
    assert erasure.treat(feed("health"), marked) is marked
    poison = Line(0, 1, b"k", (), b"{" + case_number(1).encode())
    assert erasure.treat(REQUESTS, poison) is None
    tombstone = Line(0, 1, b"k", (("ce_subject", case_number(1).encode()),), None)
    assert erasure.treat(TRIAGE, tombstone) is tombstone
    other = Line(0, 1, None, (), orjson.dumps({**reply, "handoff_id": "another"}))
    assert erasure.treat(replies("health"), other) is other


def test_a_manifest_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"format": 2}', encoding="utf-8")
    with pytest.raises(ArchiveError, match=r"is not of this format \(at format\)"):
        read_manifest(tmp_path)
    (tmp_path / FILE).write_text("x", encoding="utf-8")
    with pytest.raises(ArchiveError, match="is not of this format"):
        read_manifest(tmp_path)
