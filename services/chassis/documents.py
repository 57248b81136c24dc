"""Documents and their events: written together, published afterwards, never lost between.

A document in the store holds the events that it was folded from (frozen bytes and all), so what
is stored and what is published cannot differ. Who writes an event also says who owes its
publication:

- a Kafka handler: its offset is not committed until the event is acknowledged, so a crash brings
  the input back, which finds its cause in the document and publishes the stored event again;
- a person's command or a deadline: the event is pending (`pending_since`) until it has been
  published; the relay publishes what a crash left.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from contracts.envelope import Event, decode
from services.chassis.kept import Foldable, Kept
from services.chassis.store import (
    AlreadyThere,
    Collection,
    Fields,
    Session,
    Stale,
    Store,
    compare_and_set,
    insert_new,
)

GRACE = timedelta(seconds=3)
"""How long the process that wrote an event has to publish it itself; then the relay does."""


D = TypeVar("D", bound=Foldable)
Publish = Callable[[Sequence[Event]], Awaitable[None]]
"""Publishes case events and returns when all are acknowledged; raises if one is not."""


class Documents(Generic[D]):
    """The documents of one kind that a service owns.

    `facts` gives the fields by which people find a document; they are derived and never read
    back. `next_due` gives the moment of the next deadline. One index on the moment at which
    somebody has to look at a document serves the sweeper and the relay: each index costs every
    write of every event.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        new: Callable[[str, str], D],
        next_due: Callable[[D], datetime | None],
        facts: Callable[[D], Fields] | None = None,
        cached: int = 20_000,
    ) -> None:
        self.store = store
        self.collection: Collection = store.collection(name)
        self._new = new
        self._next_due = next_due
        self._facts = facts or (lambda _document: {})
        self._cache: OrderedDict[str, Kept[D]] = OrderedDict()
        self._cached = cached

    async def prepare(self, *indexes: str) -> None:
        """Create the index that the relay and the sweeper need, and those of the named facts."""
        async with self.store.answering():
            for field in ("next_due", *indexes):
                await self.collection.create_index(field)

    def create(self, document_id: str, case_no: str) -> Kept[D]:
        """Return a new document; the store says at `save` if there is one already."""
        return Kept(self._new(document_id, case_no), [], 0)

    async def load(self, ids: Iterable[str]) -> dict[str, Kept[D]]:
        """Read documents from the store; those that it does not hold are left out."""
        wanted = list(ids)
        if not wanted:
            return {}
        where: Fields = {"_id": wanted[0]} if len(wanted) == 1 else {"_id": {"$in": wanted}}
        return {kept.document.document_id: kept for kept in await self.find(where, len(wanted))}

    async def find(self, where: Fields, limit: int) -> list[Kept[D]]:
        """Read the documents that match, at most `limit`, in no order."""
        async with self.store.answering():
            found = await self.collection.find(where).limit(limit).to_list(limit)
        return [self._restored(fields) for fields in found]

    def remembered(self, ids: Iterable[str]) -> dict[str, Kept[D]]:
        """Return those documents that are in the cache. For the service's handler loop alone.

        A cached document may be behind a person's command; `save` finds that out, of one that
        nothing was recorded on too: what seemed to mean nothing may mean something by now.
        """
        known: dict[str, Kept[D]] = {}
        for document_id in ids:
            kept = self._cache.get(document_id)
            if kept is not None:
                self._cache.move_to_end(document_id)
                kept.is_remembered = True
                known[document_id] = kept
        return known

    async def check_still_stored(self, kept: Sequence[Kept[D]]) -> None:
        """Raise Stale if the store has another version of one of these documents."""
        versions = {one.document.document_id: one.stored_seq for one in kept}
        async with self.store.answering():
            cursor = self.collection.find({"_id": {"$in": list(versions)}}, {"version": 1})
            stored = {row["_id"]: row["version"] for row in await cursor.to_list(len(versions))}
        if stored != versions:
            raise Stale("a remembered document is behind the store")

    async def cached(self, ids: Iterable[str]) -> dict[str, Kept[D]]:
        """Like `load`, through the cache. For the service's handler loop alone."""
        wanted = set(ids)
        known = self.remembered(wanted)
        known.update(await self.load(wanted - known.keys()))
        return known

    def remember(self, kept: Iterable[Kept[D]]) -> None:
        """Keep documents in the cache, the least used of others leaving it."""
        for one in kept:
            self._cache[one.document.document_id] = one
            self._cache.move_to_end(one.document.document_id)
        while len(self._cache) > self._cached:
            self._cache.popitem(last=False)

    def forget(self, kept: Iterable[Kept[D]]) -> None:
        """Drop documents from the cache: what is in memory may not be what is stored."""
        for one in kept:
            self._cache.pop(one.document.document_id, None)

    def _restored(self, fields: Fields) -> Kept[D]:
        document = self._new(fields["_id"], fields["case_no"])
        events = [
            decode(stored["type"], stored["id"], stored["data"], stored.get("trace"))
            for stored in fields["events"]
        ]
        for event in events:
            document.apply(event)
        return Kept(document, events, fields["published_through"])

    def insertion(self, kept: Kept[D], owed_by_offset: bool) -> Fields:
        """Return a new document as it is stored."""
        document = kept.document
        return {
            "_id": document.document_id,
            "case_no": document.case_no,
            "events": [_stored(event) for event in kept.events],
            **self._changing(kept, owed_by_offset),
        }

    def update(self, kept: Kept[D], owed_by_offset: bool) -> tuple[Fields, Fields]:
        """Return the compare-and-set that appends the fresh events."""
        return (
            {"_id": kept.document.document_id, "version": kept.stored_seq},
            {
                "$set": self._changing(kept, owed_by_offset),
                "$push": {"events": {"$each": [_stored(event) for event in kept.fresh]}},
            },
        )

    def _changing(self, kept: Kept[D], owed_by_offset: bool) -> Fields:
        document = kept.document
        is_published = owed_by_offset and kept.published_through == kept.stored_seq
        through = document.seq if is_published else kept.published_through
        pending = None if is_published else kept.fresh[0].data.recorded_at
        return {
            "version": document.seq,
            "published_through": through,
            "pending_since": pending,
            "next_due": self.look_at(document, pending),
            **self._facts(document),
        }

    def look_at(self, document: D, pending_since: datetime | None = None) -> datetime | None:
        """Return when somebody has to look at a document: for a deadline, or to publish."""
        due = self._next_due(document)
        if pending_since is None:
            return due
        to_publish = pending_since + GRACE
        return min(due, to_publish) if due is not None else to_publish


def _stored(event: Event) -> Fields:
    stored: Fields = {"id": event.id, "type": event.type, "data": event.encoded}
    if event.traceparent:
        stored["trace"] = event.traceparent
    return stored


class Unit:
    """Documents that are written together. One unit holds documents of several kinds.

    `owed_by_offset`: the events are a handler's, whose uncommitted offset owes their publication.
    `attempt` is 1 at first, and more when documents turned out to be stale or there already.
    """

    def __init__(self, store: Store, *, owed_by_offset: bool, attempt: int = 1) -> None:
        self.attempt = attempt
        self._store = store
        self._owed = owed_by_offset
        self._kept: list[tuple[Documents[Any], Kept[Any]]] = []

    def add(self, documents: Documents[D], *kept: Kept[D]) -> None:
        """Take documents into the unit; those without fresh events are not written."""
        self._kept.extend((documents, one) for one in kept)

    async def save(self) -> None:
        """Write everything: new documents by insert; where known ones change too, all in one
        transaction, since what is new may follow from the change and must not stand without it.

        Raises Stale if one was changed or created by somebody else meanwhile: then read and
        decide again (new documents that were inserted alone stay and are found by their causes).
        """
        try:
            await self._check_unchanged()
            await self._write()
        except AlreadyThere as error:
            self.forget()
            raise Stale(str(error)) from None
        except BaseException:
            self.forget()
            raise
        for documents, kept in self._kept:
            if kept.fresh:
                if self._owed and kept.published_through == kept.stored_seq:
                    kept.published_through = kept.document.seq
                kept.stored_seq = kept.document.seq
            if self._owed:
                documents.remember([kept])
            else:
                documents.forget([kept])  # what the handler loop remembers is behind by now

    def forget(self) -> None:
        """Drop the unit's documents from the cache: they hold what was not stored."""
        for documents, kept in self._kept:
            documents.forget([kept])

    async def _check_unchanged(self) -> None:
        """What is written is compared as it is set; what is only remembered is compared here."""
        unchanged: dict[int, tuple[Documents[Any], list[Kept[Any]]]] = {}
        for documents, kept in self._kept:
            if kept.is_remembered and not kept.fresh:
                unchanged.setdefault(id(documents), (documents, []))[1].append(kept)
        for documents, remembered in unchanged.values():
            await documents.check_still_stored(remembered)

    async def _write(self) -> None:
        inserts: dict[int, tuple[Collection, list[Fields]]] = {}
        updates: dict[int, tuple[Collection, list[tuple[Fields, Fields]]]] = {}
        for documents, kept in self._kept:
            collection = documents.collection
            if not kept.fresh:
                continue
            if kept.is_new:
                rows = inserts.setdefault(id(documents), (collection, []))[1]
                rows.append(documents.insertion(kept, self._owed))
            else:
                pairs = updates.setdefault(id(documents), (collection, []))[1]
                pairs.append(documents.update(kept, self._owed))

        async def write(session: Session | None) -> None:
            for collection, rows in inserts.values():
                await insert_new(self._store, collection, rows, session)
            for collection, pairs in updates.values():
                async with self._store.answering():
                    await compare_and_set(collection, pairs, session)

        changes = sum(len(pairs) for _, pairs in updates.values())
        if changes > 1 or (changes and inserts):
            await self._store.in_transaction(write)
        else:
            await write(None)

    async def publish_pending(self, publish: Publish) -> None:
        """Publish all that is unpublished in these documents, and mark it so.

        Raises what `publish` raises; the events stay pending then, and the relay takes over.
        """
        waiting = [(d, k) for d, k in self._kept if k.unpublished]
        await publish([event for _, one in waiting for event in one.unpublished])
        for documents in {id(d): d for d, _ in waiting}.values():
            await mark_all_published(documents, [k for d, k in waiting if d is documents])


async def mark_all_published(documents: Documents[D], kept: Sequence[Kept[D]]) -> None:
    """Like `mark_published` for several documents: one transaction where none has moved on."""

    def marks() -> list[tuple[Fields, Fields]]:
        return [
            (
                {
                    "_id": one.document.document_id,
                    "version": one.stored_seq,
                    "published_through": {"$lt": one.stored_seq},
                },
                {"$set": {"published_through": one.stored_seq, **_settled(documents, one)}},
            )
            for one in kept
        ]

    async def write(session: Session) -> None:
        await compare_and_set(documents.collection, marks(), session)

    try:
        if len(kept) > 1:
            await documents.store.in_transaction(write)
        else:
            async with documents.store.answering():
                await compare_and_set(documents.collection, marks())
    except Stale:
        for one in kept:
            await mark_published(documents, one)
    for one in kept:
        one.published_through = one.stored_seq


async def mark_published(documents: Documents[D], kept: Kept[D]) -> None:
    """Advance `published_through` to what this process has published; never back."""
    where = {
        "_id": kept.document.document_id,
        "published_through": {"$lt": kept.stored_seq},
    }
    through = {"$set": {"published_through": kept.stored_seq}}
    async with documents.store.answering():
        await documents.collection.update_one(where, through)
        await documents.collection.update_one(
            {"_id": kept.document.document_id, "version": kept.stored_seq},
            {"$set": _settled(documents, kept)},
        )
    kept.published_through = kept.stored_seq


def _settled(documents: Documents[D], kept: Kept[D]) -> Fields:
    return {"pending_since": None, "next_due": documents.look_at(kept.document)}
