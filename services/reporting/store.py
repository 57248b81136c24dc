"""Case documents, figures and offsets: written together, so that every figure equals a recount.

One document for each partition number of the three case topics says how far each is applied; its
version is compared and set with every batch, so whoever lost the partition to another process
cannot write any more. All of a case's records lie in the partition of one number, and figures are
kept apart by that number: whoever has the partition writes cases and pages of figures whole.
"""

from collections import Counter
from collections.abc import AsyncIterator, Iterable

from pymongo import InsertOne, ReplaceOne

from contracts.envelope import Event, decode
from contracts.lifecycle import CaseState, state_of
from contracts.topics import CASE_PARTITIONS, CASE_TOPICS
from services.chassis.crash_points import crash_point
from services.chassis.store import (
    AlreadyThere,
    Collection,
    Fields,
    Session,
    Store,
    compare_and_set,
    insert_new,
)
from services.reporting.domain.buckets import Bucket, Figures, Page, added, page_key
from services.reporting.domain.known_case import KnownCase
from services.reporting.domain.progress import Progress, Reached
from services.reporting.handlers import Applied, CaseWrite

_IN_QUEUES = dict.fromkeys(("tasks", "is_opened", "tier", "category", "region", "accepted_at"), 1)


class ProgressLost(Exception):
    """The offsets are gone while this process runs: somebody removed the database. Start anew."""


class Projection:
    """What reporting holds, in its own database."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._cases: Collection = store.collection("cases")
        self._figures: Collection = store.collection("figures")
        self._progress: Collection = store.collection("progress")

    async def prepare(self) -> None:
        """Create indexes and the progress of each partition. Raises StoreUnavailable."""
        async with self.store.answering():
            await self._cases.create_index("waits")
            await self._figures.create_index("hour")
        rows: list[Fields] = [
            {"_id": number, "version": 0, "topics": []} for number in range(CASE_PARTITIONS)
        ]
        try:
            await insert_new(self.store, self._progress, rows)
        except AlreadyThere:
            return

    async def progress(self, partitions: Iterable[int] | None = None) -> dict[int, Progress]:
        """Return the progress of these partition numbers, of all if none are named.

        Raises ProgressLost if one is gone.
        """
        wanted = sorted(set(range(CASE_PARTITIONS) if partitions is None else partitions))
        async with self.store.answering():
            rows = await self._progress.find({"_id": {"$in": wanted}}).to_list(len(wanted))
        found = {row["_id"]: _progress(row) for row in rows}
        if missing := set(wanted) - found.keys():
            raise ProgressLost(f"of {len(missing)} partitions")
        return found

    async def close(self) -> None:
        """Have nothing more applied: whoever tries finds the version changed, and then this.

        One partition after another, each waiting for the batch that is being written to it.
        """
        for number in range(CASE_PARTITIONS):
            async with self.store.answering():
                await self._progress.update_one(
                    {"_id": number}, {"$set": {"is_closed": True}, "$inc": {"version": 1}}
                )

    async def reopen(self) -> None:
        """Let batches be applied again; what is open stays as it is."""
        for number in range(CASE_PARTITIONS):
            async with self.store.answering():
                await self._progress.update_one(
                    {"_id": number, "is_closed": True},
                    {"$unset": {"is_closed": ""}, "$inc": {"version": 1}},
                )

    async def drop(self) -> None:
        """Remove all that is held here, and nothing that stands beside it."""
        for collection in (self._progress, self._figures, self._cases):
            async with self.store.answering():
                await collection.drop()

    async def known(self, case_nos: Iterable[str]) -> dict[str, KnownCase]:
        """Read cases; those that are not held are left out."""
        wanted = list(case_nos)
        if not wanted:
            return {}
        async with self.store.answering():
            rows = await self._cases.find({"_id": {"$in": wanted}}).to_list(len(wanted))
        return {row["_id"]: _known(row) for row in rows}

    async def pages(self, keys: Iterable[tuple[int, str]]) -> list[Page]:
        """Read pages of figures, by partition number and hour; new ones are left out."""
        wanted = [page_key(*key) for key in keys]
        if not wanted:
            return []
        async with self.store.answering():
            rows = await self._figures.find({"_id": {"$in": wanted}}).to_list(len(wanted))
        return [_page(row) for row in rows]

    async def write(self, applied: Applied) -> None:
        """Write a batch in one transaction.

        Raises Stale if another process went on in one of its partitions, and StoreUnavailable.
        """
        moves = [
            (
                {"_id": before.partition, "version": before.version},
                {"$set": {"version": after.version, "topics": _topics(after)}},
            )
            for before, after in applied.moves
        ]
        cases = [_case_write(write) for write in applied.cases]
        pages = [
            ReplaceOne({"_id": page.key}, _page_row(page), upsert=True) for page in applied.pages
        ]

        async def work(session: Session) -> None:
            await compare_and_set(self._progress, moves, session)
            if cases:
                await self._cases.bulk_write(cases, ordered=False, session=session)
            if pages:
                await self._figures.bulk_write(pages, ordered=False, session=session)
            crash_point("reporting.written")

        await self.store.in_transaction(work)

    async def code_n(self, case_no: str) -> int | None:
        """Return which retrieval code a case has; None if the case has not arrived."""
        async with self.store.answering():
            row = await self._cases.find_one({"_id": case_no}, {"code_n": 1})
        return None if row is None else int(row.get("code_n", 0))

    async def case(self, case_no: str) -> KnownCase | None:
        """Return a case with its events."""
        return (await self.known([case_no])).get(case_no)

    async def figures(self, since: str | None, until: str | None) -> Figures:
        """Return the figures of the hours from `since` up to, not including, `until`."""
        span = {k: v for k, v in (("$gte", since), ("$lt", until)) if v is not None}
        where: Fields = {"hour": span} if span else {}
        async with self.store.answering():
            rows = await self._figures.find(where).to_list(None)
        return added(_page(row).cells for row in rows)

    async def counted(self, partition: int) -> Figures:
        """Return the figures of the cases of one partition number."""
        where = {"_id": {"$gte": page_key(partition, ""), "$lt": page_key(partition, "~")}}
        async with self.store.answering():
            rows = await self._figures.find(where).to_list(None)
        return added(_page(row).cells for row in rows)

    async def waiting(self, limit: int) -> list[Fields]:
        """Return facts of cases that wait for a person or for triage."""
        async with self.store.answering():
            rows = self._cases.find({"waits": True}, _IN_QUEUES).limit(limit)
            return await rows.to_list(limit)

    async def queued(self, case_nos: Iterable[str]) -> list[Fields]:
        """Return the same facts of these cases, whether they wait or not."""
        wanted = list(case_nos)
        if not wanted:
            return []
        async with self.store.answering():
            return await self._cases.find({"_id": {"$in": wanted}}, _IN_QUEUES).to_list(len(wanted))

    async def size(self) -> int:
        """Return about how many cases there are."""
        async with self.store.answering():
            return int(await self._cases.estimated_document_count())

    async def audited(self, lower: str, upper: str | None) -> list[Fields]:
        """Return facts of the cases whose numbers lie from `lower` up to, not including, `upper`.

        Bounded on both sides and sorted here: the local store reads all that matches before it
        sorts (bus-facts).
        """
        span = {"$gte": lower} | ({"$lt": upper} if upper is not None else {})
        async with self.store.answering():
            rows = await self._cases.find({"_id": span}, {"events": 0, "counted": 0}).to_list(None)
        return sorted(rows, key=lambda row: str(row["_id"]))

    async def states(self, page: int = 200) -> AsyncIterator[CaseState]:
        """Yield the state of every case, computed from its stored events."""
        cursor = self._cases.find({}, {"events": 1}, batch_size=page)
        while True:
            async with self.store.answering():
                rows = await cursor.to_list(page)
            if not rows:
                return
            for row in rows:
                yield state_of(row["_id"], _events(row).values())


def _progress(row: Fields) -> Progress:
    reached = {
        topic["topic"]: Reached(topic["next_offset"], topic["recorded_at"])
        for topic in row["topics"]
    }
    return Progress(row["_id"], row["version"], reached, bool(row.get("is_closed")))


def _topics(progress: Progress) -> list[Fields]:
    return [
        {"topic": topic, "next_offset": reached.next_offset, "recorded_at": reached.recorded_at}
        for topic in CASE_TOPICS
        if (reached := progress.reached.get(topic)) is not None
    ]


def _events(row: Fields) -> dict[str, Event]:
    return {
        key: decode(stored["type"], key.partition("~")[0], stored["data"], stored.get("trace"))
        for key, stored in row.get("events", {}).items()
    }


def _known(row: Fields) -> KnownCase:
    known = KnownCase(row["_id"], _events(row), _figures(row["counted"]), is_stored=True)
    known.is_folded = not row.get("is_unfolded")
    known.has_changed = not known.is_folded
    return known


def _stored(event: Event) -> Fields:
    stored: Fields = {"type": event.type, "data": event.encoded}
    if event.traceparent:
        stored["trace"] = event.traceparent
    return stored


def _case_write(write: CaseWrite) -> InsertOne[Fields] | ReplaceOne[Fields]:
    """A case is written whole: on the local store that costs half of setting what is new, and a
    redaction leaves nothing behind."""
    known = write.known
    row: Fields = {
        "_id": known.case_no,
        **write.facts,
        "counted": _cells(write.counted),
        "events": {key: _stored(event) for key, event in known.events.items()},
    }
    if not known.is_folded:
        row["is_unfolded"] = True
    return ReplaceOne({"_id": known.case_no}, row) if known.is_stored else InsertOne(row)


def _page_row(page: Page) -> Fields:
    return {
        "_id": page.key,
        "partition": page.partition,
        "hour": page.hour,
        "cells": _cells(page.cells),
    }


def _page(row: Fields) -> Page:
    return Page(row["partition"], row["hour"], _figures(row["cells"]))


def _cells(figures: Figures) -> list[Fields]:
    return [{"bucket": list(bucket), "n": dict(counters)} for bucket, counters in figures.items()]


def _figures(cells: Iterable[Fields]) -> Figures:
    return {Bucket(*cell["bucket"]): Counter(cell["n"]) for cell in cells}
