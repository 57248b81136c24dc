"""The store: the one module that knows the driver (motor, as decision 11 says).

Every write is acknowledged by the majority's journal. What fails is one of three things: the
store is not to be had now (`StoreUnavailable`, try again), somebody else was first (`Stale`,
decide again), or a document with this id is there already (`AlreadyThere`).
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from copy import copy
from datetime import UTC, datetime
from typing import Any, TypeAlias

import structlog
from motor.motor_asyncio import (
    AsyncIOMotorClient,
    AsyncIOMotorClientSession,
    AsyncIOMotorCollection,
)
from pymongo import UpdateOne
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    DuplicateKeyError,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
)

log = structlog.get_logger()

Fields: TypeAlias = dict[str, Any]
Collection: TypeAlias = AsyncIOMotorCollection[Fields]
Session: TypeAlias = AsyncIOMotorClientSession

_DUPLICATE = 11000
_CONFLICT = 112
_NOT_NOW = frozenset({1, 8, 91, 189, 10107, 11600, 11602, 13435, 13436, 14031})
"""What a server answers that has a fault of its own: an internal or unknown error, it shuts down,
it is not (or no longer) the primary, its disk is full. The caller's command is not at fault."""
_TRIES = 6
TIMEOUT_SECONDS = 10.0


class StoreUnavailable(Exception):
    """The store did not answer; whether a write happened is unknown. Try again."""


class Stale(Exception):
    """A document has changed since it was read: read it again and decide again."""


class AlreadyThere(Exception):
    """Documents with these ids are in the store already; all others were inserted."""

    def __init__(self, ids: frozenset[str]) -> None:
        super().__init__(f"{len(ids)} documents are there already")
        self.ids = ids


class Store:
    """One service's database."""

    def __init__(self, url: str, database: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._timeout = timeout_seconds
        self._client: AsyncIOMotorClient[Fields] = AsyncIOMotorClient(
            url,
            tz_aware=True,
            w="majority",
            journal=True,
            retryWrites=False,
            # A streamed hello costs the local store a busy thread for each connection.
            serverMonitoringMode="poll",
            heartbeatFrequencyMS=5_000,
            serverSelectionTimeoutMS=2_000,
            connectTimeoutMS=2_000,
            socketTimeoutMS=int(timeout_seconds * 1_000),
        )
        self._database = self._client[database]

    def collection(self, name: str) -> Collection:
        """Return a collection of this service."""
        return self._database[name]

    def beside(self, database: str) -> "Store":
        """Return another database of this service, over the same connections: closed together."""
        other = copy(self)
        other._database = self._client[database]  # noqa: SLF001 -- its own
        return other

    async def ping(self) -> None:
        """Raise StoreUnavailable unless the store answers."""
        async with self.answering():
            await self._client.admin.command("ping")

    async def time(self) -> datetime:
        """Return the store's own time."""
        async with self.answering():
            said = await self._client.admin.command("hello")
        local: datetime = said["localTime"]
        return local if local.tzinfo else local.replace(tzinfo=UTC)

    async def drop(self) -> None:
        """Remove this service's database whole (recovery and tests)."""
        async with self.answering():
            await self._client.drop_database(self._database.name)

    async def drop_collections(self, but: str) -> None:
        """Remove all collections but one (recovery)."""
        async with self.answering():
            for name in await self._database.list_collection_names():
                if name != but:
                    await self._database.drop_collection(name)

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Turn the driver's errors into this module's, and bound the time."""
        try:
            async with asyncio.timeout(self._timeout):
                yield
        except TimeoutError:
            raise StoreUnavailable("the store did not answer in time") from None
        except DuplicateKeyError as error:
            raise AlreadyThere(frozenset({_key_of(error.details)})) from None
        except (ConnectionFailure, ExecutionTimeout) as error:
            raise StoreUnavailable(type(error).__name__) from None
        except OperationFailure as error:
            if _is_transient(error):
                raise StoreUnavailable(f"transient error {error.code}") from None
            if error.code in _NOT_NOW:
                raise StoreUnavailable(f"the store has an error of its own, {error.code}") from None
            raise

    async def in_transaction(self, work: Callable[[Session], Awaitable[None]]) -> None:
        """Run work in one transaction; repeat while it collides with another.

        Raises what the work raises (then nothing is written) and StoreUnavailable.
        """
        for attempt in range(_TRIES):
            try:
                async with (
                    self.answering(),
                    await self._client.start_session() as session,
                    session.start_transaction(),
                ):
                    await work(session)
                return
            except StoreUnavailable as error:
                if "transient" not in str(error) or attempt == _TRIES - 1:
                    raise
            await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311


def _is_transient(error: PyMongoError) -> bool:
    return (
        error.has_error_label("TransientTransactionError") or getattr(error, "code", 0) == _CONFLICT
    )


def _key_of(details: Mapping[str, Any] | None) -> str:
    value = (details or {}).get("keyValue", {})
    return str(value.get("_id", ""))


async def insert_new(
    store: Store,
    collection: Collection,
    documents: Sequence[Fields],
    session: Session | None = None,
) -> None:
    """Insert documents. Outside a transaction, ids that are there already do not stop the others;
    inside one they undo everything.

    Raises AlreadyThere with those ids, outside a transaction after all others were inserted.
    """
    if not documents:
        return
    try:
        async with store.answering():
            await collection.insert_many(documents, ordered=False, session=session)
    except BulkWriteError as error:
        failed = error.details.get("writeErrors", [])
        other = {one.get("code") for one in failed} - {_DUPLICATE}
        if other:
            kind = "transient" if other == {_CONFLICT} else "not to be had"
            raise StoreUnavailable(f"{kind}: an insert failed") from None
        raise AlreadyThere(
            frozenset(str(documents[one["index"]]["_id"]) for one in failed)
        ) from None


async def compare_and_set(
    collection: Collection,
    updates: Sequence[tuple[Fields, Fields]],
    session: Session | None = None,
) -> None:
    """Apply (filter, update) pairs, each of which must match. Raises Stale if one does not.

    In a transaction the caller's is then rolled back; without one, give a single pair.
    """
    if not updates:
        return
    if len(updates) == 1:
        one = await collection.update_one(*updates[0], session=session)
        matched = one.matched_count
    else:
        ops = [UpdateOne(where, change) for where, change in updates]
        bulk = await collection.bulk_write(ops, ordered=False, session=session)
        matched = bulk.matched_count
    if matched != len(updates):
        raise Stale(f"{len(updates) - matched} of {len(updates)} documents have changed")


async def change_all(store: Store, collection: Collection, where: Fields, change: Fields) -> None:
    """Apply a change to all documents that match, in one transaction.

    Never by a plain `update_many`: the local store waits inside it for whoever holds one of the
    documents, and holds the collection meanwhile, so that the other never ends, and nothing does.
    """

    async def write(session: Session) -> None:
        await collection.update_many(where, change, session=session)

    await store.in_transaction(write)


async def store_trouble(store: Store) -> str | None:
    """Why the store can't be used right now, or None; for readiness."""
    try:
        await store.ping()
    except StoreUnavailable as error:
        return str(error)
    return None


async def prepare_when_available(prepare: Callable[[], Awaitable[None]]) -> None:
    """Create indexes as soon as the store answers, which may start later than this process."""
    while True:
        try:
            await prepare()
        except StoreUnavailable as error:
            log.warning("store not available yet", reason=str(error))
            await asyncio.sleep(1)
        else:
            return
