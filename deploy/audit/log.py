"""Reading topics from their beginning to an end that was noted before: no group, no commits."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from contracts.envelope import TICK_KEY, ContractError, Event, is_removal, parse
from contracts.ids import parse_case_number
from contracts.topics import CASE_TOPICS
from deploy.local.errors import PlatformError
from deploy.whole_log import WholeLog
from services.chassis.bus import Record
from services.chassis.bus.records import to_record

_MOST_RECORDS = 2_000
_COORDINATOR_WITHIN_SECONDS = 20.0
_ASK_AGAIN_SECONDS = 0.3
_NEEDED = ("ce_specversion", "ce_type", "ce_id", "ce_subject")


class AuditError(PlatformError):
    """The audit cannot be made; the message is one line."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record stands, and when Kafka took it there (ms)."""

    topic: str
    partition: int
    offset: int
    written_ms: int = 0

    @property
    def origin(self) -> str:
        """The name under which dead letters know it."""
        return f"{self.topic}-{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True)
class Logged:
    """A record of a case topic, unread but for its case: thousands of them are held at a time."""

    place: Place
    case_no: str
    headers: tuple[str, ...] = field(repr=False)
    value: bytes | None = field(repr=False)
    key: bytes = field(default=b"", repr=False)

    @property
    def is_removal(self) -> bool:
        """Whether it only takes off what stood under its key."""
        return is_removal(dict(zip(_NEEDED, self.headers, strict=True)), self.value)

    def event(self) -> Event:
        """Read it. Raises ContractError."""
        event = parse(dict(zip(_NEEDED, self.headers, strict=True)), self.value)
        if event.partition != self.place.partition:
            raise ContractError("partition", "is not the case's")
        return event


@dataclass(frozen=True, slots=True)
class Handled:
    """How far each service has committed: what stands before that, it has answered for good."""

    offsets: Mapping[tuple[str, str, int], int] = field(default_factory=dict)
    """By (group, topic, partition): the offset that the group reads next."""

    def has(self, group: str, place: Place) -> bool:
        """Whether a service has handled a record."""
        return place.offset < self.offsets.get((group, place.topic, place.partition), 0)


Offsets = Mapping[TopicPartition, int]


class Log(WholeLog):
    """A Kafka that is read for an audit. Use it as an asynchronous context."""

    failure = AuditError

    async def __aenter__(self) -> Self:
        """Connect, and see which topics there are. Raises AuditError."""
        await super().__aenter__()
        missing = [topic for topic in CASE_TOPICS if topic not in self.partitions]
        if missing:
            await self._close()
            raise AuditError(f"Kafka at {self.url} has no topic {missing[0]}: `jieyou topics`")
        return self

    def topics(self, prefix: str) -> list[str]:
        """Return the topics whose names begin so."""
        return sorted(name for name in self.partitions if name.startswith(prefix))

    async def handled(self, groups: Iterable[str]) -> Handled:
        """Return how far these groups have committed. Raises AuditError."""
        offsets: dict[tuple[str, str, int], int] = {}
        for group in groups:
            for partition, at in (await self._committed(group)).items():
                offsets[group, partition.topic, partition.partition] = at.offset
        return Handled(offsets)

    async def _committed(self, group: str) -> Mapping[TopicPartition, OffsetAndMetadata]:
        """Ask a group's coordinator; a Kafka that is just starting has none for some seconds."""
        until = time.monotonic() + _COORDINATOR_WITHIN_SECONDS
        while True:
            try:
                found: Mapping[
                    TopicPartition, OffsetAndMetadata
                ] = await self._admin.list_consumer_group_offsets(group)
            except KafkaError as error:
                if not error.retriable or time.monotonic() > until:
                    reason = f"group {group} is not readable ({type(error).__name__})"
                    raise AuditError(reason) from error
                await asyncio.sleep(_ASK_AGAIN_SECONDS)
            else:
                return found

    async def ends(self, topics: Iterable[str]) -> dict[TopicPartition, int]:
        """Return the ends of the partitions of these topics as they are now."""
        wanted = [
            TopicPartition(topic, number)
            for topic in topics
            for number in range(self.partitions.get(topic, 0))
        ]
        if not wanted:
            return {}
        try:
            self._consumer.assign(wanted)
            found: dict[TopicPartition, int] = await self._consumer.end_offsets(wanted)
        except KafkaError as error:
            raise AuditError(f"no end offsets ({type(error).__name__})") from error
        return found

    async def read(
        self, ends: Offsets, starts: Offsets | None = None
    ) -> AsyncIterator[Sequence[Record]]:
        """Yield the records before the ends, from the beginning or from `starts`.

        Raises AuditError when a partition cannot be read to its end.
        """
        wanted = {p: end for p, end in ends.items() if end > (starts or {}).get(p, 0)}
        if not wanted:
            return
        try:
            self._consumer.assign(list(wanted))
            await self._consumer.seek_to_beginning(*wanted)
            for partition, start in (starts or {}).items():
                if partition in wanted:
                    self._consumer.seek(partition, start)
            async for found in self._read_assigned(wanted, _MOST_RECORDS):
                for records in found.values():
                    yield [to_record(one) for one in records]
        except KafkaError as error:
            raise AuditError(f"the log is not readable ({type(error).__name__})") from error


def logged(record: Record) -> Logged | None:
    """Return a record of a case topic with its case; None for a tick.

    Raises ContractError when it names no case.
    """
    if record.key == TICK_KEY:
        return None
    case_no = parse_case_number(record.headers.get("ce_subject", ""))
    if case_no is None:
        raise ContractError("ce_subject", "is no case number")
    place = Place(record.topic, record.partition, record.offset, record.timestamp_ms)
    headers = tuple(record.headers.get(name, "") for name in _NEEDED)
    return Logged(place, case_no, headers, record.value, record.key or b"")
