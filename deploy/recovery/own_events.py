"""What a service has written about the cases of one partition: the highest `rev` of each event.

Held are bytes and few headers; documents are parsed one by one when they are folded.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import orjson

from contracts.envelope import TICK_KEY, TYPE_PREFIX, ContractError, Event, parse
from services.chassis.bus import Record

_NEEDED = ("ce_specversion", "ce_type", "ce_id", "ce_subject", "traceparent")


@dataclass(frozen=True, slots=True)
class Written:
    """A record of a case event, unread but for its place in its document."""

    origin: str
    headers: tuple[str, ...] = field(repr=False)
    value: bytes = field(repr=False)
    document_id: str
    seq: int
    rev: int

    @classmethod
    def of(cls, record: Record) -> "Written":
        """Look at a record. Raises ContractError where it has no place in a document."""
        try:
            content = orjson.loads(record.value or b"")
            document_id, seq = content["document_id"], content["seq"]
            rev = content.get("rev", 0)
        except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
            raise ContractError("value", "has no place in a document") from None
        if not isinstance(document_id, str) or not isinstance(seq, int) or not isinstance(rev, int):
            raise ContractError("value", "has no place in a document")
        headers = tuple(record.headers.get(name, "") for name in _NEEDED)
        return cls(record.origin, headers, record.value or b"", document_id, seq, rev)

    @property
    def event_id(self) -> str:
        """The id that the record says it has."""
        return self.headers[2]

    def event(self) -> Event:
        """Read it. Raises ContractError."""
        named = {name: text for name, text in zip(_NEEDED, self.headers, strict=True) if text}
        return parse(named, self.value)


@dataclass(slots=True)
class OwnEvents:
    """The events of one partition of a service's own topic."""

    conflicting: int = 0
    unreadable: list[str] = field(default_factory=list)
    _by_id: dict[str, Written] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        """Take a record in. Of two contents of equal `rev` the earliest counts, as with every
        reader (`contracts.lifecycle`)."""
        if record.key == TICK_KEY:
            return
        if record.value is None:
            self._by_id.pop((record.key or b"").decode("utf-8", "replace"), None)
            return
        try:
            written = Written.of(record)
        except ContractError:
            self.unreadable.append(record.origin)
            return
        known = self._by_id.get(written.event_id)
        if known is None or written.rev > known.rev:
            self._by_id[written.event_id] = written
        elif written.rev == known.rev and written.value != known.value:
            self.conflicting += 1
            self._by_id[written.event_id] = _earliest(known, written)

    def cases_with(self, event_type: str) -> set[str]:
        """Return the cases that have an event of a type."""
        wanted = TYPE_PREFIX + event_type
        return {one.headers[3] for one in self._by_id.values() if one.headers[1] == wanted}

    def documents(self) -> Iterator[list[Event]]:
        """Yield the events of each document in the order of `seq`; what breaks the contract is
        left out and noted. What was yielded is forgotten."""
        by_document: dict[str, list[Written]] = {}
        for one in self._by_id.values():
            by_document.setdefault(one.document_id, []).append(one)
        self._by_id.clear()
        while by_document:
            _, own = by_document.popitem()
            events = list(self._read(sorted(own, key=lambda written: written.seq)))
            if events:
                yield events

    def _read(self, own: list[Written]) -> Iterator[Event]:
        for one in own:
            try:
                yield one.event()
            except ContractError:
                self.unreadable.append(one.origin)


def _earliest(known: Written, other: Written) -> Written:
    try:
        by_age = {written: written.event().data.recorded_at for written in (known, other)}
    except ContractError:
        return known
    return min(by_age, key=lambda written: (by_age[written], written.value))
