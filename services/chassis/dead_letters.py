"""Putting aside what can't be handled, so that one bad record does not hold up its partition."""

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime

import structlog

from contracts import topics
from contracts.dead_letters import DeadLetter, Origin
from services.chassis import metrics
from services.chassis.bus import Outgoing, Publisher, Record
from services.chassis.clock import Clock, SystemClock
from services.chassis.crash_points import crash_point
from services.chassis.telemetry import stack_digest, traceparent

LONGEST_PAYLOAD_BYTES = 384 * 1024
"""What is kept of a payload; in base64 it must fit into a record of 1 MiB with all the rest."""
_LONGEST_KEY_BYTES = 1_024
_LONGEST_HEADER_NAME = 200
_LONGEST_HEADER = 2_000
_MOST_HEADERS = 50

log = structlog.get_logger()


class TooManyDeadLetters(Exception):
    """Too many records in a row could not be handled: that is a bad release, not bad records.

    The batch is given back and nothing more is put aside; the consumer stands until it is mended.
    """


class DeadLetters:
    """Writes to `dead-letters.<service>.v1`. The key is the record's origin, so that a record that
    is delivered twice has one dead letter.

    "In a row" means next to each other in what was read of a partition; offsets that compaction
    has removed in between don't count.
    """

    def __init__(
        self,
        publisher: Publisher,
        service: str,
        *,
        longest_run: int = 20,
        clock: Clock | None = None,
    ) -> None:
        self._publisher = publisher
        self._service = service
        self._longest_run = longest_run
        self._clock = clock or SystemClock()
        self._places: dict[str, int] = {}
        self._last_of: dict[tuple[str, int], int] = {}
        self._carried: dict[tuple[str, int], int] = {}
        self._runs: dict[tuple[str, int], tuple[int, int]] = {}
        self._written: set[str] = set()

    def begin(self, records: Sequence[Record]) -> None:
        """An attempt at these records begins; counting starts from where the last batch ended."""
        self._places, self._last_of, self._runs = {}, {}, {}
        for record in records:
            partition = (record.topic, record.partition)
            place = self._last_of.get(partition, -1) + 1
            self._last_of[partition] = place
            self._places[record.origin] = place

    def end(self) -> None:
        """The attempt succeeded: a run counts on only where it reaches the end of the batch."""
        for partition, last in self._last_of.items():
            place, length = self._runs.get(partition, (-1, 0))
            self._carried[partition] = length if place == last else 0
        self._places, self._last_of, self._runs = {}, {}, {}
        self._written.clear()

    async def put(self, record: Record, reason: str, error: BaseException | None = None) -> None:
        """Put a record aside; returns when the bus has acknowledged the dead letter.

        `reason` is a constant phrase of the code, never text of the record. Raises
        TooManyDeadLetters beyond the longest run, and BusUnavailable; let both pass.
        """
        run = self._length_of_run(record)
        if run > self._longest_run:
            log.critical(
                "too many dead letters in a row, consumer stands",
                topic=record.topic,
                partition=record.partition,
                offset=record.offset,
                dead_letters=run,
                reason=reason,
                alarm=True,
            )
            raise TooManyDeadLetters(f"{run} in a row in {record.topic}-{record.partition}")
        if record.origin in self._written:  # by an earlier attempt at the same batch
            return
        letter = _letter(self._service, record, reason, error, self._clock.now())
        await self._publisher.publish_all([_outgoing(letter)])
        crash_point("dead_letters.put")
        self._written.add(record.origin)
        metrics.DEAD_LETTERS.labels(self._service, record.topic).inc()
        log.error(
            "record put aside",
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=reason,
            error=type(error).__qualname__ if error is not None else None,
            error_digest=stack_digest(error) if error is not None else None,
            alarm=True,
        )

    def _length_of_run(self, record: Record) -> int:
        partition = (record.topic, record.partition)
        place = self._places.get(record.origin, record.offset)
        last_place, length = self._runs.get(partition, (-1, self._carried.get(partition, 0)))
        if place != last_place:
            length = length + 1 if place == last_place + 1 else 1
        self._runs[partition] = (place, length)
        return length


class Cut(ValueError):
    """A letter holds only a part of its record, which can't be written again from it."""


def original(letter: DeadLetter) -> Outgoing:
    """Return the record of a letter as it was read, to be written once more where it came from.

    Whoever handles it goes through the same checks as with the first: a cause that was decided
    meanwhile is found. Raises Cut.
    """
    if not letter.is_whole:
        raise Cut("the letter does not hold the whole record")
    origin = letter.origin
    return Outgoing(origin.topic, letter.key, letter.payload, letter.headers, origin.partition)


def taken_off(service: str, origin: str) -> Outgoing:
    """Return the tombstone of a letter; with it the payload leaves the topic as well."""
    return Outgoing(topics.dead_letters(service), origin.encode(), None, partition=0)


def _outgoing(letter: DeadLetter) -> Outgoing:
    return Outgoing(
        topic=topics.dead_letters(letter.service),
        key=letter.origin.name.encode(),
        value=letter.model_dump_json().encode(),
        headers={"content-type": "application/json", "traceparent": traceparent()},
    )


def _letter(
    service: str, record: Record, reason: str, error: BaseException | None, at: datetime
) -> DeadLetter:
    key, payload, headers = record.key, record.value, record.headers
    kept = {
        name[:_LONGEST_HEADER_NAME]: text[:_LONGEST_HEADER]
        for name, text in list(headers.items())[:_MOST_HEADERS]
    }
    return DeadLetter(
        service=service,
        reason=reason,
        error_class=type(error).__qualname__ if error is not None else None,
        stack_digest=stack_digest(error) if error is not None else None,
        origin=Origin(
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            timestamp_ms=record.timestamp_ms,
        ),
        key_base64=_base64(key[:_LONGEST_KEY_BYTES] if key else key),
        payload_base64=_base64(payload[:LONGEST_PAYLOAD_BYTES] if payload else payload),
        payload_bytes=len(payload) if payload is not None else None,
        payload_sha256=hashlib.sha256(payload).hexdigest() if payload is not None else None,
        headers=kept,
        is_whole=len(key or b"") <= _LONGEST_KEY_BYTES
        and len(payload or b"") <= LONGEST_PAYLOAD_BYTES
        and kept == headers,
        at=at,
    )


def _base64(data: bytes | None) -> str | None:
    return base64.b64encode(data).decode() if data is not None else None
