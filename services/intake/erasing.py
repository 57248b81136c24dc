"""Erasure at intake: triage says which cases are erased; intake redacts what it keeps of them.

Records stay, with their digests, so that a key that comes again still gets its case number; what
they hold of the person goes. Until a record is redacted in the store the set of erased cases
keeps it from the bus.
"""

from collections.abc import Container, Iterable, Sequence
from typing import Protocol

from contracts.envelope import TYPE_PREFIX, ContractError, Event, parse
from contracts.requests import ErasureRequested
from contracts.triage import CaseErased
from services.chassis.batches import PutAside
from services.chassis.bus import Record
from services.chassis.erasure import ErasedCases
from services.chassis.store import prepare_when_available

_CASE_ERASED = TYPE_PREFIX + CaseErased.type


class NotesErased(Protocol):
    """What keeps the erased cases (`ErasedCases`)."""

    async def add(self, case_nos: Iterable[str]) -> None:
        """Note cases durably. Raises StoreUnavailable."""
        ...


class Listener:
    """Hears on `triage.v1` which cases are erased. All else there passes by its header, unread."""

    def __init__(self, erased: NotesErased, dead_letters: PutAside) -> None:
        self._erased = erased
        self._dead_letters = dead_letters

    async def handle(self, records: Sequence[Record]) -> None:
        """Note the erased cases of a batch. Raises StoreUnavailable and BusUnavailable; the batch
        comes again then."""
        named: list[str] = []
        for record in records:
            if record.headers.get("ce_type") != _CASE_ERASED:
                continue
            try:
                named.append(parse(record.headers, record.value).data.case_no)
            except ContractError as error:
                reason = f"breaks the contract at {error.field}"
                await self._dead_letters.put(record, reason, error)
        await self._erased.add(named)


async def keep_known(erased: ErasedCases) -> None:
    """Know the erased cases, for ever; the store may start later than this process."""
    await prepare_when_available(erased.prepare)
    await erased.keep_fresh()


def may_say(event: Event) -> bool:
    """Whether an event may be published of an erased case as it was accepted: that somebody asks
    for the erasure once more, which says nothing of the person."""
    return bool(event.data.rev) or isinstance(event.data, ErasureRequested)


def without_erased(events: Iterable[Event], erased: Container[str]) -> list[Event]:
    """Return the events as they may be published: those of erased cases redacted."""
    return [
        event.redacted() if event.data.case_no in erased and not may_say(event) else event
        for event in events
    ]
