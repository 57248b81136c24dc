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
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from contracts.envelope import Event, decode
from services.chassis.crash_points import crash_point
from services.chassis.fence import Fence
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

REDACTED = "redacted"
"""The field that says that a stored document holds redacted events alone; else it is missing."""
_REDACTED_AT_ONCE = 100

GRACE = timedelta(seconds=3)
"""How long the process that wrote an event has to publish it itself; then the relay does."""


D = TypeVar("D", bound=Foldable)
NoteErased = Callable[[Iterable[str]], Awaitable[None]]
"""Notes durably that the person of some cases is erased (`erasure.ErasedCases.add`)."""
Publish = Callable[[Sequence[Event]], Awaitable[None]]
"""Publishes case events and returns when all are acknowledged; raises if one is not."""


class Documents(Generic[D]):
    """The documents of one kind that a service owns.

    `facts` gives the fields by which people find a document; they are derived and never read
    back. `next_due` gives the moment of the next deadline. One index on the moment at which
    somebody has to look at a document serves the sweeper and the relay: each index costs every
    write of every event.

    Of a case in `erased` nothing personal leaves this class, whether or not the stored document is
    redacted yet; a document that knows of its erasure itself (the case) need not stand there:
    `note_erased` is told of it before it is stored, so that a crash does not leave it unredacted.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        new: Callable[[str, str], D],
        next_due: Callable[[D], datetime | None],
        facts: Callable[[D], Fields] | None = None,
        cached: int = 20_000,
        erased: Container[str] = frozenset(),
        fence: Fence | None = None,
        note_erased: NoteErased | None = None,
    ) -> None:
        self.store = store
        self.collection: Collection = store.collection(name)
        self._new = new
        self._next_due = next_due
        self._facts = facts or (lambda _document: {})
        self._cache: OrderedDict[str, Kept[D]] = OrderedDict()
        self._cached = cached
        self._erased = erased
        self.fence = fence
        self.note_erased = note_erased

    async def prepare(self, *indexes: str) -> None:
        """Create the index that the relay and the sweeper need, and those of the named facts."""
        async with self.store.answering():
            for field in ("next_due", *indexes):
                await self.collection.create_index(field)

    def create(self, document_id: str, case_no: str) -> Kept[D]:
        """Return a new document; the store says at `save` if there is one already."""
        return Kept(self._new(document_id, case_no), [], 0, is_erased=case_no in self._erased)

    async def load(self, ids: Iterable[str]) -> dict[str, Kept[D]]:
        """Read documents from the store; those that it does not hold are left out.

        Raises DatabaseGone where they are missing because all is.
        """
        wanted = list(dict.fromkeys(ids))
        if not wanted:
            return {}
        where: Fields = {"_id": wanted[0]} if len(wanted) == 1 else {"_id": {"$in": wanted}}
        found = {kept.document.document_id: kept for kept in await self.find(where, len(wanted))}
        if len(found) < len(wanted) and self.fence is not None:
            await self.fence.check()
        return found

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
            if kept is not None and kept.document.case_no in self._erased and not kept.is_erased:
                del self._cache[document_id]  # read before the erasure
                kept = None
            if kept is not None:
                self._cache.move_to_end(document_id)
                kept.is_remembered = True
                known[document_id] = kept
        return known

    async def check_still_stored(self, kept: Sequence[Kept[D]]) -> None:
        """Raise Stale if the store has another version of one of these documents."""
        versions = {one.document.document_id: (one.stored_seq, one.is_redacted) for one in kept}
        fields = {"version": 1, REDACTED: 1}
        async with self.store.answering():
            cursor = self.collection.find({"_id": {"$in": list(versions)}}, fields)
            stored = {
                row["_id"]: (row["version"], row.get(REDACTED, False))
                for row in await cursor.to_list(len(versions))
            }
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

    async def redact(self, where: Fields) -> list[Event]:
        """Redact the stored documents that match, all of erased cases; return the redacted events
        of those that were not, to be published by the caller.

        Their versions stay, yet who read one before writes nothing to it any more (Stale). What
        was redacted already is left alone. Raises StoreUnavailable.
        """
        redacted: list[Event] = []
        while True:
            async with self.store.answering():
                waiting = {**where, REDACTED: {"$ne": True}}
                found = await self.collection.find(waiting).limit(_REDACTED_AT_ONCE).to_list(None)
            if not found:
                return redacted
            for fields in found:
                kept = self._restored(fields, is_erased=True)
                change = {
                    "events": [_stored(event) for event in kept.events],
                    REDACTED: True,
                    "next_due": self.look_at(kept.document, fields["pending_since"]),
                    **self._facts(kept.document),
                }
                try:
                    async with self.store.answering():
                        await compare_and_set(self.collection, [(_as_read(kept), {"$set": change})])
                except Stale:
                    continue  # it is found and read again
                known = {stored["id"]: stored["data"] for stored in fields["events"]}
                redacted += [event for event in kept.events if event.encoded != known[event.id]]

    def _restored(self, fields: Fields, *, is_erased: bool = False) -> Kept[D]:
        events = [
            decode(stored["type"], stored["id"], stored["data"], stored.get("trace"))
            for stored in fields["events"]
        ]
        document = self._folded(fields, events)
        kept = Kept(
            document,
            events,
            fields["published_through"],
            is_redacted=fields.get(REDACTED, False),
            is_erased=is_erased or fields["case_no"] in self._erased,
        )
        if kept.is_erased and not kept.is_redacted:
            kept.events = [event if event.data.rev else event.redacted() for event in events]
            kept.document = self._folded(fields, kept.events)
        return kept

    def _folded(self, fields: Fields, events: Iterable[Event]) -> D:
        document = self._new(fields["_id"], fields["case_no"])
        for event in events:
            document.apply(event)
        return document

    def insertion(self, kept: Kept[D], owed_by_offset: bool) -> Fields:
        """Return a new document as it is stored."""
        document = kept.document
        return {
            "_id": document.document_id,
            "case_no": document.case_no,
            "events": [_stored(event) for event in kept.events],
            **({REDACTED: True} if _holds_redacted_alone(kept) else {}),
            **self._changing(kept, owed_by_offset),
        }

    def update(self, kept: Kept[D], owed_by_offset: bool) -> tuple[Fields, Fields]:
        """Return the compare-and-set that appends the fresh events."""
        return (
            _as_read(kept),
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


def _as_read(kept: Kept[Any]) -> Fields:
    """Return the filter that finds a document if nobody has changed or redacted it since."""
    return {
        "_id": kept.document.document_id,
        "version": kept.stored_seq,
        REDACTED: True if kept.is_redacted else None,
    }


def _holds_redacted_alone(kept: Kept[Any]) -> bool:
    return all(event.data.rev for event in kept.events)


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
        decide again (new documents that were inserted alone stay and are found by their causes);
        DatabaseGone where they may stand in an empty database in place of the lost one.
        """
        try:
            await self._check_unchanged()
            await self._note_erased()
            await self._write_inside_fences()
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
                if kept.is_new:
                    kept.is_redacted = _holds_redacted_alone(kept)
                kept.stored_seq = kept.document.seq
            if self._owed and (kept.is_redacted or not kept.is_erased):
                documents.remember([kept])
            else:
                documents.forget([kept])  # what the handler loop remembers is behind by now

    def forget(self) -> None:
        """Drop the unit's documents from the cache: they hold what was not stored."""
        for documents, kept in self._kept:
            documents.forget([kept])

    async def _note_erased(self) -> None:
        for documents, kept in self._kept:
            if documents.note_erased and kept.fresh and kept.is_erased and not kept.is_redacted:
                await documents.note_erased([kept.document.case_no])

    async def _write_inside_fences(self) -> None:
        """Write, and be sure that it was not into an empty database in place of the lost one: an
        update finds that out by itself, an insert, and one that found its like, does not."""
        written = [(documents, kept) for documents, kept in self._kept if kept.fresh]
        for fence in _fences(documents for documents, _ in written):
            await fence.require()
        around_new = _fences(documents for documents, kept in written if kept.is_new)
        try:
            await self._write()
        except AlreadyThere:
            for fence in around_new:
                await fence.check()
            raise
        for fence in around_new:
            await fence.check()

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
                crash_point("unit.inserted")
            for collection, pairs in updates.values():
                async with self._store.answering():
                    await compare_and_set(collection, pairs, session)
            if session is not None:
                crash_point("unit.written")

        changes = sum(len(pairs) for _, pairs in updates.values())
        if changes > 1 or (changes and inserts):
            await self._store.in_transaction(write)
        else:
            await write(None)

    def pending_before(self) -> list[Event]:
        """Return what stands in these documents before their fresh events and is not known to be
        published: whoever publishes an event publishes those before it first, so that the log has
        no gap should the document be lost."""
        return [
            event
            for _, kept in self._kept
            if kept.fresh
            for event in kept.events[kept.published_through : kept.stored_seq]
        ]

    async def publish_pending(self, publish: Publish) -> None:
        """Publish all that is unpublished in these documents, and mark it so.

        Raises what `publish` raises; the events stay pending then, and the relay takes over.
        """
        waiting = [(d, k) for d, k in self._kept if k.unpublished]
        crash_point("pending.saved")
        await publish([event for _, one in waiting for event in one.unpublished])
        crash_point("pending.published")
        for documents in {id(d): d for d, _ in waiting}.values():
            await mark_all_published(documents, [k for d, k in waiting if d is documents])
        crash_point("pending.marked")


def _fences(kinds: Iterable[Documents[Any]]) -> set[Fence]:
    return {documents.fence for documents in kinds if documents.fence is not None}


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
