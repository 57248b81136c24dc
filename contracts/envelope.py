"""The envelope of every record on the three case topics: CloudEvents 1.0, binary mode.

Headers carry who, what and when; the value is JSON and holds what the state is folded from. The
record key is the event id, the partition is the case's: a redaction with the same key replaces
the bytes that compaction then removes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.ids import CASE_NUMBER_PATTERN
from contracts.topics import partition_for
from contracts.vocabulary import CaseNumber, Count, Instant, without_personal

SPEC_VERSION = "1.0"
TYPE_PREFIX = "jieyou."
TICK_KEY = b"tick"
"""The fixed key of the record that tells readers how current they are; no case event."""
REMOVED = TYPE_PREFIX + "record.removed"
"""The `ce_type` of a null value that takes a record off which nobody can read: no case event."""

_CAUSE = r"^(event|command|deadline|reply|group|attempt):.+$"


class ContractError(ValueError):
    """A record breaks the contract; `field` says where. Never holds the record's content."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field
        self.why = why


class EventData(BaseModel):
    """What the value of every case event holds. Each event type adds its own fields.

    `document_id` and `seq` place the event in its owner's document (intake keeps none, so its
    events have no `seq`); `lc` is a Lamport clock that orders the timeline people read and
    nothing else; `rev` counts redactions. `caused_by` is `event:<id>` for an event of the same
    case, else `command:`, `deadline:`, `reply:`, `attempt:` or `group:` and what identifies it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: ClassVar[str] = ""
    owner: ClassVar[str] = ""
    is_of_one_case: ClassVar[bool] = True
    """Whether the erasure of the case in its subject reaches it."""

    case_no: CaseNumber
    document_id: str
    seq: int | None = Field(default=None, ge=1)
    lc: int = Field(ge=1)
    rev: Count = 0
    caused_by: str = Field(pattern=_CAUSE)
    round: Count = 0
    supersedes: str | None = None
    occurred_at: Instant
    recorded_at: Instant


class UnknownData(EventData):
    """An event of a type that this reader does not know: kept, counted, never dead-lettered."""

    model_config = ConfigDict(frozen=True, extra="allow")


@dataclass(frozen=True, slots=True)
class Event:
    """An event with its identity. `encoded` are the frozen bytes of its value."""

    id: str
    type: str
    data: EventData
    encoded: bytes
    traceparent: str | None = None

    @classmethod
    def of(cls, id_: str, data: EventData, traceparent: str | None = None) -> Self:
        """Freeze data as the event of this id."""
        return cls(id_, data.type, data, encode(data), traceparent)

    @property
    def key(self) -> bytes:
        """The record key."""
        return self.id.encode()

    @property
    def partition(self) -> int:
        """The record's partition: the case's."""
        return partition_for(self.data.case_no)

    def headers(self) -> dict[str, str]:
        """Return the record's CloudEvents headers."""
        kind = self.type
        headers = {
            "ce_specversion": SPEC_VERSION,
            "ce_id": self.id,
            "ce_source": f"/jieyou/{self.data.owner or 'unknown'}",
            "ce_type": TYPE_PREFIX + kind,
            "ce_time": self.data.recorded_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "ce_subject": self.data.case_no,
            "ce_dataschema": f"urn:jieyou:schema:{kind}:1",
            "content-type": "application/json",
        }
        if self.traceparent:
            headers["traceparent"] = self.traceparent
        return headers

    def redacted(self) -> "Event":
        """Return this event without what is personal, one `rev` higher."""
        data = without_personal(self.data).model_copy(update={"rev": self.data.rev + 1})
        return Event(self.id, self.type, data, encode(data), self.traceparent)


def removal_headers(case_no: str) -> dict[str, str]:
    """Return the headers of a null value by which an owner takes an unreadable record off."""
    return {"ce_specversion": SPEC_VERSION, "ce_type": REMOVED, "ce_subject": case_no}


def is_removal(headers: Mapping[str, str], value: bytes | None) -> bool:
    """Whether a record only takes off what stood under its key; readers pass it over."""
    return value is None and headers.get("ce_type") == REMOVED


def encode(data: EventData) -> bytes:
    """Return the value's bytes: JSON in UTF-8, nulls left out."""
    return data.model_dump_json(exclude_none=True).encode()


_TYPES: dict[str, type[EventData]] = {}
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def register(owner: str, *types: type[EventData]) -> None:
    """Enter a writer's event types, so that readers can parse them by name."""
    for data_type in types:
        if not data_type.type or data_type.type in _TYPES:
            raise ValueError(f"event type {data_type.type!r} is empty or stands twice")
        data_type.owner = owner
        _TYPES[data_type.type] = data_type


def event_types() -> dict[str, type[EventData]]:
    """Return all event types by name."""
    return dict(_TYPES)


def decode(event_type: str, id_: str, value: bytes, traceparent: str | None = None) -> Event:
    """Return the event in a value. Raises ContractError, which names the field and no content."""
    data_type = _TYPES.get(event_type, UnknownData)
    try:
        data = data_type.model_validate_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(str(step) for step in first["loc"]) or "value"
        raise ContractError(field, first["type"]) from None
    return Event(id_, event_type, data, value, traceparent)


def parse(headers: Mapping[str, str], value: bytes | None) -> Event:
    """Return the event in a record. Raises ContractError for anything that breaks the contract."""
    if value is None:
        raise ContractError("value", "is null")
    if headers.get("ce_specversion") != SPEC_VERSION:
        raise ContractError("ce_specversion", "is missing or not 1.0")
    prefixed = headers.get("ce_type", "")
    if not prefixed.startswith(TYPE_PREFIX):
        raise ContractError("ce_type", "is missing or not of this contract")
    id_ = headers.get("ce_id", "")
    if not _ID.fullmatch(id_):
        raise ContractError("ce_id", "is no UUID")
    event = decode(prefixed.removeprefix(TYPE_PREFIX), id_, value, headers.get("traceparent"))
    if headers.get("ce_subject") != event.data.case_no:
        raise ContractError("ce_subject", "is not the case number in the value")
    return event


def schema_of(data_type: type[EventData]) -> dict[str, Any]:
    """Return the JSON Schema of an event type's value."""
    schema = data_type.model_json_schema(mode="validation")
    schema["$id"] = f"urn:jieyou:schema:{data_type.type}:1"
    return schema


def headers_schema() -> dict[str, Any]:
    """Return the JSON Schema of the headers of every record on a case topic."""
    fixed = {"ce_specversion": SPEC_VERSION, "content-type": "application/json"}
    patterns = {
        "ce_id": f"^{_ID.pattern}$",
        "ce_source": "^/jieyou/",
        "ce_type": "^" + re.escape(TYPE_PREFIX),
        "ce_subject": CASE_NUMBER_PATTERN,
        "ce_dataschema": "^urn:jieyou:schema:",
    }
    properties: dict[str, dict[str, str]] = {
        **{name: {"type": "string", "const": value} for name, value in fixed.items()},
        **{name: {"type": "string", "pattern": pattern} for name, pattern in patterns.items()},
        "ce_time": {"type": "string", "format": "date-time"},
        "traceparent": {"type": "string"},
    }
    required = sorted(properties.keys() - {"traceparent"})
    return {"type": "object", "properties": properties, "required": required}
