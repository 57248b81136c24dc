"""How a service works through a batch: decide, write, publish, and only then commit.

The service gives two functions: `load` reads the owner's documents that the inputs concern (one
round trip), `decide` records on them what one input means. Everything else is the same for all:
what cannot be read or decided is put aside alone, a document that somebody else changed is read
and decided again, and what a second delivery finds decided is published as it is stored.

The first attempt takes documents from memory, and what an input creates for new. After a crash
both can be wrong: the batch that comes again may hold an order beside the reply to it. So nothing
is put aside before it was decided once more on what the store has.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import structlog

from contracts.envelope import TICK_KEY, ContractError, Event, is_removal, parse
from contracts.topics import HANDLING, REQUESTS, TRIAGE
from services.chassis.bus import Outgoing, Publisher, Record
from services.chassis.crash_points import crash_point
from services.chassis.documents import Unit
from services.chassis.store import Stale, Store
from services.chassis.telemetry import stack_digest

log = structlog.get_logger()

_TOPIC_OF = {"intake": REQUESTS, "triage": TRIAGE, "notify": HANDLING}
_TRIES = 8
_PUBLISH_SECONDS = 20.0
"""A handler waits longer for the bus than a citizen does: its batch is not lost meanwhile."""

I = TypeVar("I")  # noqa: E741 - an input as the service reads it
C = TypeVar("C")  # the documents that a batch concerns


class Undecidable(Exception):
    """An input that can never be decided; `reason` is a constant phrase for its dead letter."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class PutAside(Protocol):
    """Where records go that can never be handled."""

    async def put(self, record: Record, reason: str, error: BaseException | None = None) -> None:
        """Put a record aside; returns when that is acknowledged."""
        ...


@dataclass(frozen=True, slots=True)
class Input(Generic[I]):
    """An input and the record it came in."""

    record: Record
    read: I


Read = Callable[[Record], I | None]
"""Reads a record; None for what does not concern the service. Raises ContractError."""
Load = Callable[[Sequence[Input[I]], Unit], Awaitable[C]]
"""Reads (or creates) the documents that a batch concerns and adds them to the unit."""
Decide = Callable[[C, Input[I]], Iterable[Outgoing]]
"""Records what one input means; returns what is to be published, in order."""


def read_event(record: Record) -> Event | None:
    """Read a case event; the ticks that keep segments rolling are none, nor are removals."""
    if record.key == TICK_KEY or is_removal(record.headers, record.value):
        return None
    return parse(record.headers, record.value)


def outgoing(event: Event) -> Outgoing:
    """Return the record of a case event, on the case's partition of its owner's topic."""
    topic = _TOPIC_OF[event.data.owner]
    return Outgoing(topic, event.key, event.encoded, event.headers(), event.partition)


async def publish_events(publisher: Publisher, events: Sequence[Event]) -> None:
    """Publish case events and wait for all acknowledgements. Raises BusUnavailable."""
    await publisher.publish_all([outgoing(event) for event in events], _PUBLISH_SECONDS)


async def work_through(
    records: Sequence[Record],
    *,
    read: Read[I],
    load: Load[I, C],
    decide: Decide[C, I],
    store: Store,
    publisher: Publisher,
    dead_letters: PutAside,
) -> None:
    """Handle a batch; returning means that its offsets may be committed.

    Raises StoreUnavailable and BusUnavailable (the batch is delivered again).
    """
    inputs = await _readable(records, read, dead_letters)
    for attempt in range(1, _TRIES + 1):
        try:
            inputs, to_publish = await _decided(inputs, load, decide, store, dead_letters, attempt)
            break
        except Stale:
            continue
    else:
        raise Stale(f"documents kept changing through {_TRIES} attempts")
    crash_point("batch.saved")
    await publisher.publish_all(to_publish, _PUBLISH_SECONDS)
    crash_point("batch.published")


async def _readable(
    records: Sequence[Record], read: Read[I], dead_letters: PutAside
) -> list[Input[I]]:
    inputs: list[Input[I]] = []
    for record in records:
        try:
            content = read(record)
        except ContractError as error:
            await dead_letters.put(record, f"breaks the contract at {error.field}", error)
            continue
        if content is not None:
            inputs.append(Input(record, content))
    return inputs


async def _decided(
    inputs: list[Input[I]],
    load: Load[I, C],
    decide: Decide[C, I],
    store: Store,
    dead_letters: PutAside,
    attempt: int,
) -> tuple[list[Input[I]], list[Outgoing]]:
    """Decide and save. An input whose decision fails, and not just on what was remembered, is put
    aside, and the rest decided anew. Raises Stale for what is to be read first."""
    while True:
        unit = Unit(store, owed_by_offset=True, attempt=attempt)
        documents = await load(inputs, unit)
        to_publish: list[Outgoing] = []
        for number, one in enumerate(inputs):
            try:
                to_publish.extend(decide(documents, one))
            except Exception as error:  # whatever it is, its neighbours go on
                unit.forget()
                if attempt == 1:
                    raise Stale("not decided on what was remembered") from error
                log.error("not decided", origin=one.record.origin, error_digest=stack_digest(error))
                reason = error.reason if isinstance(error, Undecidable) else "could not be decided"
                await dead_letters.put(one.record, reason, error)
                inputs = inputs[:number] + inputs[number + 1 :]
                break
        else:
            crash_point("batch.decided")
            before = [outgoing(event) for event in unit.pending_before()]
            await unit.save()
            return inputs, before + to_publish
