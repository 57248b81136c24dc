"""Events in: a batch of the three case topics is applied at once, or not at all.

Records at or below the stored offset are skipped, whatever Kafka's own commits say; the figures
change by what each touched case contributes now, less what was counted of it before.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import structlog

from contracts.envelope import Event, UnknownData
from contracts.lifecycle import state_of
from contracts.topics import partition_for
from services.chassis.batches import PutAside
from services.chassis.bus import Record
from services.chassis.crash_points import crash_point
from services.chassis.store import Stale
from services.chassis.telemetry import error_fields
from services.reporting import metrics
from services.reporting.domain.buckets import Figures, Page, change, count, turned
from services.reporting.domain.contribution import contribution_of
from services.reporting.domain.facts import facts_of
from services.reporting.domain.known_case import KnownCase, Taken
from services.reporting.domain.progress import Progress
from services.reporting.reading import Batch, sort_out

log = structlog.get_logger()

K = TypeVar("K")
V = TypeVar("V")
_TRIES = 4
_CACHED_PAGES = 2_000
_NOT_FOLDED = "could not be folded"


class Closed(Exception):
    """Nothing more is applied here: another generation is about to take over, or has done so."""


@dataclass(frozen=True, slots=True)
class CaseWrite:
    """A changed case, with its facts and what it contributes now."""

    known: KnownCase
    facts: dict[str, object]
    counted: Figures


@dataclass(frozen=True, slots=True)
class Applied:
    """A batch as it is written: progress before and after, changed cases, pages of figures."""

    moves: Sequence[tuple[Progress, Progress]]
    cases: Sequence[CaseWrite]
    pages: Sequence[Page]


class Keeps(Protocol):
    """Where cases, figures and offsets are kept (`store.Projection`)."""

    async def progress(self, partitions: Iterable[int] | None = None) -> dict[int, Progress]:
        """Return how far these partitions are applied."""
        ...

    async def known(self, case_nos: Iterable[str]) -> dict[str, KnownCase]:
        """Read cases; those that are not held are left out."""
        ...

    async def pages(self, keys: Iterable[tuple[int, str]]) -> list[Page]:
        """Read pages of figures, by partition number and hour; new ones are left out."""
        ...

    async def write(self, applied: Applied) -> None:
        """Write a batch in one transaction. Raises Stale and StoreUnavailable."""
        ...


class Applier:
    """Applies batches, one after another, keeping in memory what was touched last: cases, parsed,
    and pages of figures.

    The memory holds as long as nobody else writes the same partitions, which each write finds out;
    whatever fails, it is dropped.
    """

    def __init__(self, keeps: Keeps, dead_letters: PutAside, cached_cases: int) -> None:
        self._keeps = keeps
        self._dead_letters = dead_letters
        self._cached = cached_cases
        self._cases: OrderedDict[str, KnownCase] = OrderedDict()
        self._pages: OrderedDict[tuple[int, str], Page] = OrderedDict()
        self._progress: dict[int, Progress] = {}

    async def apply(self, records: Sequence[Record]) -> None:
        """Apply a batch; returning means that its offsets may be committed.

        Raises StoreUnavailable and BusUnavailable (the batch is delivered again), and Closed.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                await self._apply(records)
                return
            except Stale:
                self._forget()
                metrics.BATCHES_REDONE.inc()
                if attempt == _TRIES:
                    raise
            except BaseException:
                self._forget()
                raise

    def _forget(self) -> None:
        self._cases.clear()
        self._pages.clear()
        self._progress.clear()

    async def _apply(self, records: Sequence[Record]) -> None:
        progress = await self._progress_of({record.partition for record in records})
        fresh = [r for r in records if r.offset >= progress[r.partition].offset(r.topic)]
        if not fresh:
            return
        batch = await sort_out(fresh, self._dead_letters)
        cases = await self._cases_of(batch.case_nos)
        writes = [
            write
            for case_no in sorted(batch.case_nos)
            if (write := await self._taken(cases[case_no], batch)) is not None
        ]
        moves = [
            (progress[number], progress[number].moved(reached))
            for number, reached in batch.reached.items()
        ]
        pages = await self._turned(_changes(writes))
        crash_point("reporting.computed")
        await self._keeps.write(Applied(moves, writes, pages))
        crash_point("reporting.applied")
        self._progress.update({after.partition: after for _, after in moves})
        for write in writes:
            write.known.settle(write.facts, write.counted)
        stored = {case_no: known for case_no, known in cases.items() if known.is_stored}
        _remember(self._cases, stored, self._cached)
        _remember(self._pages, {(page.partition, page.hour): page for page in pages}, _CACHED_PAGES)

    async def _progress_of(self, partitions: set[int]) -> dict[int, Progress]:
        if missing := partitions - self._progress.keys():
            self._progress.update(await self._keeps.progress(missing))
        if any(self._progress[number].is_closed for number in partitions):
            raise Closed
        return self._progress

    async def _cases_of(self, case_nos: set[str]) -> dict[str, KnownCase]:
        cases = {n: self._cases[n] for n in case_nos if n in self._cases}
        cases.update(await self._keeps.known(case_nos - cases.keys()))
        for case_no in case_nos - cases.keys():
            cases[case_no] = KnownCase(case_no)
        return cases

    async def _taken(self, known: KnownCase, batch: Batch) -> CaseWrite | None:
        """Take in what the batch holds of a case; None if that changes nothing."""
        taken = batch.events.get(known.case_no, ())
        for _, event in taken:
            _count(known.take(event), event)
        if not known.has_changed:
            return None
        try:
            state = state_of(known.case_no, known.events.values())
            write = CaseWrite(known, facts_of(state), contribution_of(state))
        except Exception as error:  # noqa: BLE001 -- one case must not hold up its partition
            log.critical(
                "case not folded", case_no=known.case_no, alarm=True, **error_fields(error)
            )
            metrics.CASES_NOT_FOLDED.inc()
        else:
            known.is_folded = True
            return write
        for record, _ in taken:
            await self._dead_letters.put(record, _NOT_FOLDED)
        known.is_folded = False
        return CaseWrite(known, known.facts, known.counted)

    async def _turned(self, changes: dict[tuple[int, str], Figures]) -> list[Page]:
        """Return the pages with the changes in them."""
        pages = {key: self._pages[key] for key in changes if key in self._pages}
        for page in await self._keeps.pages(changes.keys() - pages.keys()):
            pages[page.partition, page.hour] = page
        return [turned(pages.get(key, Page(*key, {})), changed) for key, changed in changes.items()]


def _changes(writes: Sequence[CaseWrite]) -> dict[tuple[int, str], Figures]:
    """What changes in the figures, by partition number and hour."""
    changes: dict[tuple[int, str], Figures] = {}
    for write in writes:
        partition = partition_for(write.known.case_no)
        for bucket, counters in change(write.known.counted, write.counted).items():
            count(changes.setdefault((partition, bucket.hour), {}), bucket, counters)
    return changes


def _remember(cache: OrderedDict[K, V], used: Mapping[K, V], most: int) -> None:
    """Keep what was used, the least used of others leaving."""
    for key, value in used.items():
        cache[key] = value
        cache.move_to_end(key)
    while len(cache) > most:
        cache.popitem(last=False)


def _count(taken: Taken, event: Event) -> None:
    if taken is Taken.REPEATED:
        metrics.EVENTS_REPEATED.inc()
        return
    metrics.EVENTS_APPLIED.inc()
    if taken is Taken.CONFLICTING:
        metrics.EVENTS_CONFLICTING.inc()
        log.error(
            "event has two contents", case_no=event.data.case_no, event_id=event.id, alarm=True
        )
    if isinstance(event.data, UnknownData):
        metrics.EVENTS_UNKNOWN.inc()
