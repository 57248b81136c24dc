"""What comes from the bus and what goes to it, as plain values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka import ConsumerRecord


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was read. `value` is None for a tombstone, which is not the same as b""."""

    topic: str
    partition: int
    offset: int
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: dict[str, str] = field(repr=False)
    timestamp_ms: int

    @property
    def origin(self) -> str:
        """Topic, partition and offset in one word: the record's name for ever."""
        return f"{self.topic}-{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to write. Without `partition` the key's hash decides, which case topics forbid;
    compacted topics take no record without a key."""

    topic: str
    key: bytes | None = field(repr=False)
    value: bytes | None = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    partition: int | None = None


def repaired_headers(headers: Iterable[tuple[str, bytes | None]]) -> dict[str, str]:
    """Headers as text: null becomes empty, what is no UTF-8 gets replacement characters.

    A header is written by somebody else; a strange one must not cost the records beside it.
    """
    return {
        name: value.decode("utf-8", "replace") if value is not None else ""
        for name, value in headers
    }


def to_record(raw: "ConsumerRecord[Any, Any]") -> Record:
    """The record of aiokafka as ours, with repaired headers."""
    return Record(
        raw.topic,
        raw.partition,
        raw.offset,
        raw.key,
        raw.value,
        repaired_headers(raw.headers) if raw.headers else {},
        raw.timestamp,
    )
