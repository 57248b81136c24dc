"""One record of the log as one line of JSON.

What is valid UTF-8 stands as text (`key`, `value`), anything else in base64 (`key_base64`,
`value_base64`); of a header the value is text, null, or `{"base64": …}`. A null value is a
tombstone and is kept as one.
"""

import base64
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiokafka import ConsumerRecord

from deploy.log_archive.errors import ArchiveError

Header = tuple[str, bytes | None]


@dataclass(frozen=True, slots=True)
class Line:
    """A record with its old offset, byte for byte as it stood on the log."""

    offset: int
    timestamp_ms: int
    key: bytes | None = field(repr=False)
    headers: tuple[Header, ...] = field(repr=False)
    value: bytes | None = field(repr=False)

    @classmethod
    def of(cls, raw: "ConsumerRecord[Any, Any]") -> "Line":
        """Return a record as aiokafka read it."""
        return cls(raw.offset, raw.timestamp, raw.key, tuple(raw.headers), raw.value)

    def is_same_record(self, other: "Line") -> bool:
        """Whether the other holds the same, wherever it stands."""
        return (
            self.key == other.key
            and self.value == other.value
            and self.timestamp_ms == other.timestamp_ms
            and self.headers == other.headers
        )

    def header(self, name: str) -> str:
        """Return the last header of this name as text, as readers do; empty if there is none."""
        for own, value in reversed(self.headers):
            if own == name:
                return value.decode("utf-8", "replace") if value is not None else ""
        return ""


def encoded(line: Line) -> bytes:
    """Return a record's line, with its end."""
    return orjson.dumps(
        {
            "offset": line.offset,
            "timestamp_ms": line.timestamp_ms,
            **_named("key", line.key),
            "headers": [(name, _header(value)) for name, value in line.headers],
            **_named("value", line.value),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def decoded(text: bytes) -> Line:
    """Return the record of a line. Raises ArchiveError."""
    try:
        content = orjson.loads(text)
        return Line(
            content["offset"],
            content["timestamp_ms"],
            _bytes(content, "key"),
            tuple((name, _header_bytes(value)) for name, value in content["headers"]),
            _bytes(content, "value"),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ArchiveError("a line is no record of this format") from None


def _named(name: str, data: bytes | None) -> dict[str, str | None]:
    if data is None:
        return {name: None}
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}


def _bytes(content: dict[str, Any], name: str) -> bytes | None:
    if name in content:
        text = content[name]
        return text.encode() if text is not None else None
    return base64.b64decode(content[f"{name}_base64"], validate=True)


def _header(value: bytes | None) -> str | dict[str, str] | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _header_bytes(value: str | dict[str, str] | None) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    return base64.b64decode(value["base64"], validate=True)
