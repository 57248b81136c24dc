"""What intake remembers: for each idempotency key what it stands for, and what may not be on the
bus yet.

The hot path is one insert, with those of all calls that arrive meanwhile in one round trip. That a
record was published is not written to it, which would double the writes: each process numbers its
records (`run`, `seq`) and once a second writes how far all of them are published. What a process
that died had not published stands at or above that number.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from contracts.envelope import Event, decode
from services.chassis.documents import REDACTED
from services.chassis.store import (
    AlreadyThere,
    Fields,
    Store,
    StoreUnavailable,
    compare_and_set,
    insert_new,
)

_BATCH = 500


@dataclass(frozen=True, slots=True)
class Kept:
    """A record: the frozen event of a key, and the digest of the body it was made from.

    `id` is the case number for a submission and holds kind and key for what comes later.
    """

    id: str
    digest: str
    channel: str | None
    event: Event = field(repr=False)

    def fields(self, run: str, seq: int) -> Fields:
        """Return the record as it is stored."""
        return {
            "_id": self.id,
            "digest": self.digest,
            "channel": self.channel,
            "run": run,
            "seq": seq,
            "event_id": self.event.id,
            "type": self.event.type,
            "encoded": self.event.encoded,
            "traceparent": self.event.traceparent,
        }

    @classmethod
    def of(cls, fields: Fields) -> "Kept":
        """Return the record that `fields` made."""
        event = decode(
            fields["type"], fields["event_id"], bytes(fields["encoded"]), fields["traceparent"]
        )
        return cls(fields["_id"], fields["digest"], fields["channel"], event)


class Records:
    """The idempotency records of all instances. Keys never expire."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._collection = store.collection("records")
        self._queue: deque[tuple[Fields, asyncio.Future[None]]] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def prepare(self) -> None:
        """Create the index by which a dead process's records are found."""
        async with self._store.answering():
            await self._collection.create_index([("run", 1), ("seq", 1)])

    async def add(self, record: Kept, run: str, seq: int) -> None:
        """Insert a record. Raises AlreadyThere and StoreUnavailable (outcome unknown)."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((record.fields(run, seq), written))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_all(), name="intake-records")
        await written

    async def find(self, ids: Iterable[str]) -> list[Kept]:
        """Read records; ids that are not there are left out."""
        async with self._store.answering():
            found = self._collection.find({"_id": {"$in": list(ids)}})
            return [Kept.of(fields) for fields in await found.to_list(None)]

    async def redact(self, case_no: str) -> int:
        """Redact the records of a case, its later words' too; return how many held a person.

        Digest and event id stay. Raises StoreUnavailable.
        """
        later = {"$gt": f"{case_no}/", "$lt": f"{case_no}0"}  # "0" follows "/"
        redacted = 0
        async with self._store.answering():
            for where in ({"_id": case_no}, {"_id": later}):
                for fields in await self._collection.find(where).to_list(None):
                    if fields.get(REDACTED):
                        continue
                    event = Kept.of(fields).event
                    if not event.data.rev:
                        event = event.redacted()
                        redacted += 1
                    change = {"$set": {"encoded": event.encoded, REDACTED: True}}
                    await self._collection.update_one({"_id": fields["_id"]}, change)
        return redacted

    async def of_run(self, run: str, from_seq: int) -> list[tuple[int, str]]:
        """Return (seq, id) of a run's records from a number on, in order.

        Sorted here: the embedded store reads all matches before it sorts and cuts.
        """
        where = {"run": run, "seq": {"$gte": from_seq}}
        async with self._store.answering():
            found = await self._collection.find(where, {"seq": 1}).to_list(None)
        return sorted((fields["seq"], fields["_id"]) for fields in found)

    async def _write_all(self) -> None:
        while self._queue:
            batch = self._next_batch()
            try:
                await insert_new(
                    self._store, self._collection, [fields for fields, _ in batch.values()]
                )
                present: frozenset[str] = frozenset()
            except AlreadyThere as found:
                present = found.ids
            except Exception as error:  # noqa: BLE001 - every caller is told, none waits for ever
                why = str(error) if isinstance(error, StoreUnavailable) else type(error).__name__
                for _, written in batch.values():
                    if not written.done():
                        written.set_exception(StoreUnavailable(why))
                continue
            for id_, (_, written) in batch.items():
                if written.done():
                    continue
                if id_ in present:
                    written.set_exception(AlreadyThere(frozenset({id_})))
                else:
                    written.set_result(None)

    def _next_batch(self) -> dict[str, tuple[Fields, asyncio.Future[None]]]:
        """Take what waits, each id once: the second of two equal keys is to find the first."""
        batch: dict[str, tuple[Fields, asyncio.Future[None]]] = {}
        while self._queue and len(batch) < _BATCH and self._queue[0][0]["_id"] not in batch:
            fields, written = self._queue.popleft()
            batch[fields["_id"]] = (fields, written)
        return batch


@dataclass(frozen=True, slots=True)
class Run:
    """One process's life: all of its records below `published_through` are on the bus."""

    id: str
    instance: str
    published_through: int
    waiting: int
    beat_at: datetime


class Runs:
    """How far each process has published what it recorded."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._collection = store.collection("runs")

    async def beat(self, run: Run) -> None:
        """Write how far a run is."""
        fields = {
            "instance": run.instance,
            "published_through": run.published_through,
            "waiting": run.waiting,
            "beat_at": run.beat_at,
        }
        async with self._store.answering():
            await self._collection.update_one({"_id": run.id}, {"$set": fields}, upsert=True)

    async def all(self) -> list[Run]:
        """Return all runs that are not known to be finished."""
        async with self._store.answering():
            found = await self._collection.find({}).to_list(None)
        return [
            Run(
                one["_id"],
                one["instance"],
                one["published_through"],
                one["waiting"],
                one["beat_at"],
            )
            for one in found
        ]

    async def take_over(self, run: Run, instance: str, now: datetime) -> None:
        """Claim a dead run. Raises Stale if another instance was faster or it is alive."""
        async with self._store.answering():
            await compare_and_set(
                self._collection,
                [
                    (
                        {"_id": run.id, "beat_at": run.beat_at},
                        {"$set": {"instance": instance, "beat_at": now}},
                    )
                ],
            )

    async def finish(self, run_id: str) -> None:
        """Forget a run whose records are all on the bus."""
        async with self._store.answering():
            await self._collection.delete_one({"_id": run_id})
