"""Which cases are blocked follows from the dead letters that stand, and from nothing else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY
from pydantic import ValidationError

from contracts.dead_letters import ALARM_AFTER, DeadLetter, Origin
from contracts.ids import case_number
from contracts.topics import CASE_PARTITIONS, REQUESTS, dead_letters, partition_for, replies
from deploy.dead_letters import showing
from deploy.dead_letters.ledger import Entry, State
from deploy.dead_letters.letters import Aside
from deploy.dead_letters.repair import Line
from services.chassis.blocked import BlockedCases
from services.chassis.bus import Record

NOW = datetime(2022, 1, 20, tzinfo=UTC)
CASE = case_number(b"s" * 32, "app", "blocked")
PARTITION = partition_for(CASE)


def letter(**fields: Any) -> DeadLetter:
    origin = {"topic": REQUESTS, "partition": PARTITION, "offset": 5, "timestamp_ms": 1}
    given: dict[str, Any] = {
        "service": "triage",
        "reason": "could not be decided",
        "headers": {"ce_subject": CASE},
        "at": NOW,
        **fields,
    }
    return DeadLetter(**{**given, "origin": Origin(**{**origin, **given.get("origin", {})})})


def record(of: DeadLetter, *, is_tombstone: bool = False) -> Record:
    value = None if is_tombstone else of.model_dump_json().encode()
    return Record(dead_letters(of.service), 0, 0, of.origin.name.encode(), value, {}, 0)


async def test_a_case_is_blocked_as_long_as_one_letter_of_it_stands() -> None:
    blocked = BlockedCases()
    one, other = letter(), letter(service="reporting", at=NOW - timedelta(hours=1))
    for written in (one, other, one):  # delivered twice
        await blocked.apply(record(written))
    assert [block.service for block in blocked.of(CASE)] == ["reporting", "triage"]
    assert blocked.since() == {CASE: other.at}
    await blocked.apply(record(other, is_tombstone=True))
    assert [block.service for block in blocked.of(CASE)] == ["triage"]
    await blocked.apply(record(one, is_tombstone=True))
    await blocked.apply(record(one, is_tombstone=True))
    assert (blocked.of(CASE), blocked.since()) == ([], {})


@pytest.mark.parametrize(
    "origin", [{"topic": replies("health")}, {"partition": (PARTITION + 1) % CASE_PARTITIONS}]
)
async def test_who_does_not_own_a_case_cannot_block_it(origin: dict[str, Any]) -> None:
    """A department may write any header to its own topic, and anybody may miss the partition."""
    blocked = BlockedCases()
    await blocked.apply(record(letter(origin=origin)))
    assert blocked.of(CASE) == []
    assert len(blocked.measure(NOW + ALARM_AFTER)) == 1, "it lies aside all the same"


async def test_letters_are_counted_and_the_old_ones_named() -> None:
    blocked = BlockedCases()
    await blocked.apply(record(letter()))
    assert blocked.measure(NOW + timedelta(days=6)) == []
    labels = {"service": "triage"}
    assert REGISTRY.get_sample_value("jieyou_dead_letters_aside", labels) == 1
    assert REGISTRY.get_sample_value("jieyou_oldest_dead_letter_seconds") == 6 * 86_400
    (old,) = blocked.measure(NOW + timedelta(days=7))
    assert old.origin == f"{REQUESTS}-{PARTITION}-5"
    await blocked.apply(record(letter(), is_tombstone=True))
    assert blocked.measure(NOW + timedelta(days=7)) == []
    assert REGISTRY.get_sample_value("jieyou_dead_letters_aside", labels) == 0
    assert REGISTRY.get_sample_value("jieyou_oldest_dead_letter_seconds") == 0


async def test_what_is_no_letter_blocks_nobody_and_tells_nothing() -> None:
    written = Record(dead_letters("triage"), 0, 0, b"k", b'{"text": "13800000123"}', {}, 0)
    with pytest.raises(ValidationError) as raised:
        await BlockedCases().apply(written)
    assert "13800000123" not in str(raised.value)


def line(state: State = State.OPEN, *, stands: bool = True, **fields: Any) -> Line:
    of = letter(payload_base64="eHg=", headers={"ce_subject": CASE, "x": "13800000123"}, **fields)
    id_ = f"triage/{of.origin.name}"
    entry = Entry.of(id_, "triage", of).changed(state=state)
    return Line(entry, Aside(id_, "triage", b"k", of) if stands else None)


def test_what_is_listed_is_alarmed_at_seven_days_and_holds_nothing_of_the_record() -> None:
    lines = [line(), line(State.DISCARDED, stands=False), line(stands=False)]
    young, old = (showing.rows(lines, NOW + timedelta(days=d)) for d in (6, 7))
    assert [row["is_old"] for row in young] == [False, False, False]
    assert [row["is_old"] for row in old] == [True, False, False]
    assert [row["state"] for row in old] == ["open", "discarded", "expired"]
    assert "13800000123" not in str(old)
    assert "eHg=" not in str(old)
    with (console := showing.console()).capture() as captured:
        showing.print_letters(lines, NOW + timedelta(days=7), console)
        showing.print_letter(lines[0], NOW + timedelta(days=7), console)
    shown = captured.get()
    assert "告警" in shown
    assert lines[0].entry.id in shown
    assert "13800000123" not in shown
