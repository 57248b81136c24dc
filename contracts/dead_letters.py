"""What stands in `dead-letters.<service>.v1`: a record that a service could not handle, whole.

The key is the record's origin, so a record that is delivered twice has one letter. A null value
under the key takes the letter off: its record was handled after a retry, or was given up. So the
topics say at any time what lies aside, and nothing else says which cases are blocked.
"""

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from contracts.ids import parse_case_number
from contracts.topics import CASE_TOPICS, partition_for
from contracts.vocabulary import Instant

ALARM_AFTER = timedelta(days=7)
"""A letter that nobody has seen to for so long is alarmed."""
KEPT = timedelta(days=14)
"""Then the topic drops it, payload and all."""

Base64 = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]*={0,2}$")]


class Origin(BaseModel):
    """Where the record stands, and when Kafka took it there."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    topic: str = Field(min_length=1, max_length=249)
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)
    timestamp_ms: int

    @property
    def name(self) -> str:
        """Topic, partition and offset in one word, which is the letter's key."""
        return f"{self.topic}-{self.partition}-{self.offset}"


@dataclass(frozen=True, slots=True)
class Block:
    """What a letter tells without its record: who put what aside, why (a phrase of the code)."""

    service: str
    origin: str
    reason: str
    at: datetime


class DeadLetter(BaseModel):
    """A record that could not be handled, with its origin and the reason.

    `reason` is a phrase of the code and holds nothing of the record; key, headers and payload may
    hold personal data. `is_whole`: nothing of them was cut.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    service: str
    reason: str
    error_class: str | None = None
    stack_digest: str | None = None
    origin: Origin
    key_base64: Base64 | None = Field(default=None, repr=False)
    payload_base64: Base64 | None = Field(default=None, repr=False)
    payload_bytes: int | None = Field(default=None, ge=0)
    payload_sha256: str | None = None
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    is_whole: bool = True
    at: Instant

    @model_validator(mode="after")
    def _base64_decodes(self) -> Self:
        for text in (self.key_base64, self.payload_base64):
            try:
                base64.b64decode(text or "", validate=True)
            except binascii.Error:
                raise ValueError("is no base64") from None
        return self

    @property
    def key(self) -> bytes | None:
        """The record's key."""
        return _bytes(self.key_base64)

    @property
    def payload(self) -> bytes | None:
        """The record's value; None for a tombstone."""
        return _bytes(self.payload_base64)

    @property
    def block(self) -> Block:
        """Return what may be shown of it anywhere."""
        return Block(self.service, self.origin.name, self.reason, self.at)

    @property
    def case_no(self) -> str | None:
        """The case that stands still with the record, where that can be told.

        Departments may write any header to their own topics: only case topics are believed, and
        only where the case's records belong.
        """
        if self.origin.topic not in CASE_TOPICS:
            return None
        case_no = parse_case_number(self.headers.get("ce_subject", ""))
        if case_no is None or partition_for(case_no) != self.origin.partition:
            return None
        return case_no


def _bytes(text: str | None) -> bytes | None:
    return base64.b64decode(text) if text is not None else None
