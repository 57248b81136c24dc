"""The documents of a service read from the log, partition by partition, and written anew."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiokafka import TopicPartition

from contracts.topics import CASE_PARTITIONS, POLICIES
from deploy.audit.log import Log
from deploy.recovery.folding import Folded, folded
from deploy.recovery.known_letters import Known, known_letters
from deploy.recovery.lasting import lasting
from deploy.recovery.merged import read_merged
from deploy.recovery.own_events import OwnEvents
from deploy.recovery.restored import OnStep, Outcome, Step
from deploy.recovery.sources import Beside, Source
from services.chassis.bus import Record
from services.chassis.documents import Documents
from services.chassis.store import AlreadyThere, Fields, Store, insert_new

_READ_AT_ONCE = 2_000
_WRITTEN_AT_ONCE = 500

Offsets = dict[TopicPartition, int]


@dataclass(slots=True)
class Restoring:
    """One run. `must_stop` raises when it may not write any more."""

    kafka_url: str
    mongo_url: str
    store: Store
    source: Source
    outcome: Outcome
    on_step: OnStep
    must_stop: Callable[[], None]
    _upto: Offsets = field(default_factory=dict)
    _known: Known = field(default_factory=dict)
    _done: int = 0

    async def run(self) -> None:
        """Read to the ends as they are now, and write unless it is a dry run.

        Raises RestoreError and AuditError.
        """
        source = self.source
        async with Log(self.kafka_url) as log:
            ends = await log.ends([source.topic, source.beside, POLICIES])
            handled = await log.handled([source.group])
        self._known = await known_letters(self.kafka_url, self.mongo_url, source.service)
        for place, end in ends.items():
            at = (source.group, place.topic, place.partition)
            is_bounded = place.topic == source.beside and source.is_beside_committed
            self._upto[place] = min(end, handled.offsets.get(at, 0)) if is_bounded else end
        for number in range(CASE_PARTITIONS):
            await self._partition(number)
        self._move(0)
        values = await lasting(self._policies)
        if not self.outcome.is_dry_run:
            self.outcome.policies = await lasting(lambda: source.keep_policies(values))

    async def _partition(self, number: int) -> None:
        """Restore the cases of one partition: those of one are in memory at a time."""
        source, outcome, begun_at = self.source, self.outcome, self._done
        own, beside = await lasting(lambda: self._read(number, begun_at))
        erased = beside.erased(own)
        answered: set[str] = set()
        cases: set[str] = set()
        waiting: list[Folded] = []
        for events in own.documents():
            document = folded(events, source.documents_of, erased)
            if document is None:
                continue
            answered |= document.causes
            cases.add(document.case_no)
            waiting.append(document)
            if len(waiting) >= _WRITTEN_AT_ONCE:
                await self._write(waiting)
        await self._write(waiting)
        parked = beside.waiting(answered, erased)
        if not outcome.is_dry_run:
            await lasting(lambda: source.park(parked))
            await lasting(lambda: source.erased.add(erased))
        outcome.cases += len(cases)
        outcome.conflicting += own.conflicting
        outcome.unreadable += own.unreadable
        outcome.parked += len(parked)
        outcome.erased += len(erased)

    async def _read(self, number: int, begun_at: int) -> tuple[OwnEvents, Beside]:
        """Read a partition of the service's own topic, and of the one beside it."""
        self._done = begun_at
        own, beside = OwnEvents(), self.source.reader(self._known)
        async with aclosing(self._records(TopicPartition(self.source.topic, number))) as records:
            async for record in records:
                own.take(record)
        async with aclosing(self._records(TopicPartition(self.source.beside, number))) as records:
            async for record in records:
                beside.take(record)
        return own, beside

    async def _records(self, place: TopicPartition) -> AsyncGenerator[Record]:
        end, at = self._upto.get(place, 0), 0
        if not end:
            return
        async with aclosing(
            read_merged(self.kafka_url, {place: (0, end)}, _READ_AT_ONCE)
        ) as batches:
            async for records in batches:
                for record in records:
                    yield record
                self._move(records[-1].offset + 1 - at)
                at = records[-1].offset + 1
        self._move(end - at)

    def _move(self, offsets: int) -> None:
        self._done += offsets
        total = sum(end for place, end in self._upto.items() if place.topic != POLICIES)
        self.on_step(Step(self._done, total, self.outcome.written))

    async def _write(self, waiting: list[Folded]) -> None:
        """Write documents and forget them."""
        self.must_stop()
        rows: dict[str, tuple[Documents[Any], list[Fields]]] = {}
        for one in waiting:
            self.outcome.take(one)
            if one.row:
                rows.setdefault(one.kind.collection.name, (one.kind, []))[1].append(one.row)
        waiting.clear()
        if self.outcome.is_dry_run:
            return
        for kind, own in rows.values():
            await lasting(partial(self._insert, kind, own))

    async def _insert(self, kind: Documents[Any], rows: Sequence[Fields]) -> None:
        """Insert rows; what stands there already (of a try that broke off, or of a process that
        had not noticed the loss yet) gives way. Raises StoreUnavailable."""
        try:
            await insert_new(self.store, kind.collection, rows)
        except AlreadyThere as there:
            async with self.store.answering():
                await kind.collection.delete_many({"_id": {"$in": sorted(there.ids)}})
            again = [row for row in rows if row["_id"] in there.ids]
            await insert_new(self.store, kind.collection, again)

    async def _policies(self) -> list[bytes]:
        values: dict[bytes | None, bytes | None] = {}
        spans = {at: (0, end) for at, end in self._upto.items() if at.topic == POLICIES and end}
        if spans:
            async with aclosing(read_merged(self.kafka_url, spans, _READ_AT_ONCE)) as batches:
                async for records in batches:
                    values.update({record.key: record.value for record in records})
        return [value for value in values.values() if value is not None]
