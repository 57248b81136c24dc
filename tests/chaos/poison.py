"""Poison: records of every kind that a service cannot read, written among the good ones.

Each carries a header of its own, so that a reader of the log knows it for what it is whatever else
is broken about it.
"""

import asyncio
import random
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from contracts.ids import case_number
from contracts.topics import CASE_PARTITIONS, CASE_TOPICS, FEED_PARTITIONS, partition_for, replies
from tests.chaos import journal
from tests.chaos.reading import stopped

MARK = "chaos-poison"
_REPLY_KINDS = 3
_BIG_BYTES = 900_000

Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True, slots=True)
class Bad:
    """A record that is bad in one way."""

    headers: Headers
    value: bytes | None


def is_poison(headers: Iterable[tuple[str, bytes | None]]) -> bool:
    """Whether a record is one that this module wrote."""
    return any(name == MARK for name, _ in headers)


def _good(case_no: str) -> tuple[dict[str, bytes], dict[str, Any]]:
    event_id = str(uuid.uuid4())
    headers = {
        "ce_specversion": b"1.0",
        "ce_id": event_id.encode(),
        "ce_source": b"/jieyou/chaos",
        "ce_type": b"jieyou.rating.given",
        "ce_subject": case_no.encode(),
    }
    data = {
        "case_no": case_no,
        "document_id": case_no,
        "lc": 1,
        "caused_by": f"command:{event_id}",
        "occurred_at": "2022-01-20T08:00:00Z",
        "recorded_at": "2022-01-20T08:00:00Z",
    }
    return headers, data


def _with(case_no: str, value: bytes | None = None, **changed: bytes | None) -> Bad:
    headers, data = _good(case_no)
    merged: dict[str, bytes | None] = {**headers, **changed}
    return Bad(list(merged.items()), orjson.dumps(data) if value is None else value)


def _without_value(case_no: str) -> Bad:
    return Bad(_with(case_no).headers, None)


def _without(case_no: str, name: str) -> Bad:
    bad = _with(case_no)
    return Bad([one for one in bad.headers if one[0] != name], bad.value)


EVENT_KINDS: dict[str, Callable[[str], Bad]] = {
    "no JSON": lambda no: _with(no, b"{" + no.encode()),
    "not UTF-8": lambda no: _with(no, b"\xff\xfe\x00\x80"),
    "empty value": lambda no: _with(no, b""),
    "null value": _without_value,
    "a list": lambda no: _with(no, b"[1,2,3]"),
    "missing fields": lambda no: _with(no, b"{}"),
    "null header": lambda no: _with(no, traceparent=None, ce_type=None),
    "header not UTF-8": lambda no: _with(no, ce_type=b"\xff\xff"),
    "no headers at all": lambda _: Bad([], b"{}"),
    "no type": lambda no: _without(no, "ce_type"),
    "no id": lambda no: _with(no, ce_id=b"7"),
    "another version": lambda no: _with(no, ce_specversion=b"0.3"),
    "another case": lambda no: _with(no, ce_subject=b"0CRJD9Z9PJ0F2"),
    "reply_to": lambda no: _with(no, b"[]", reply_to=b"requests.v1"),
    "very large": lambda no: _with(no, b"[" + b"1," * (_BIG_BYTES // 2) + b"1]"),
}
REPLY_KINDS: dict[str, Callable[[str], Bad]] = {
    "reply: no JSON": lambda _: Bad([], b"\xff{"),
    "reply: null value": lambda _: Bad([], None),
    "reply: unknown act": lambda _: Bad([], b'{"act":"sing","reply_id":"1","handoff_id":"h"}'),
    "reply: unknown hand-off": lambda _: Bad(
        [], orjson.dumps({"act": "sign", "reply_id": "1", "handoff_id": str(uuid.uuid4())})
    ),
}


class Poisoner:
    """Writes poison at a rate, each record of the next kind to the next topic."""

    def __init__(self, kafka_url: str, departments: Sequence[str], seed: int) -> None:
        self._departments = departments
        self._chance = random.Random(f"{seed}/poison")
        self._number = 0
        self._producer = AIOKafkaProducer(
            bootstrap_servers=kafka_url.split(","), acks="all", request_timeout_ms=10_000
        )

    async def run(self, rate: float, over: asyncio.Event, journals: journal.Journals) -> None:
        """Write until told that it is over; a write of unknown outcome is not repeated."""
        await self._producer.start()
        try:
            while not over.is_set():
                kind, topic, partition, bad = self._next()
                outcome = "written"
                try:
                    await self._producer.send_and_wait(
                        topic,
                        bad.value,
                        uuid.uuid4().hex.encode(),
                        partition,
                        headers=[(MARK, b"1"), *bad.headers],
                    )
                except KafkaError as error:
                    outcome = type(error).__name__
                journals[journal.POISON].write(kind=kind, topic=topic, outcome=outcome)
                await asyncio.sleep(1 / rate)
        finally:
            await stopped(self._producer)

    def _next(self) -> tuple[str, str, int, Bad]:
        number = self._number
        self._number += 1
        if number % _REPLY_KINDS == _REPLY_KINDS - 1:
            kinds = list(REPLY_KINDS.items())
            name, make = kinds[number // _REPLY_KINDS % len(kinds)]
            topic = replies(self._chance.choice(self._departments))
            return name, topic, self._chance.randrange(FEED_PARTITIONS), make("")
        case_no = case_number(b"poison", "nobody", uuid.uuid4().hex)
        events = list(EVENT_KINDS.items())
        name, make = events[number % len(events)]
        topic = CASE_TOPICS[number // len(events) % len(CASE_TOPICS)]
        return name, topic, partition_for(case_no, CASE_PARTITIONS), make(case_no)
