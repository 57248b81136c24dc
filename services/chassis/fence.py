"""The fence: a mark in a service's database that says "this is the database I have worked on".

A database can be lost while its service lives, or come back empty. A service that went on deciding
on an empty one would open cases a second time and answer what it has forgotten. So each service
that owns documents writes this mark when it begins on a fresh platform, and works only where it
stands. Where it is missing although the log knows of earlier work, and while `jieyou restore` is
at it, nothing is decided and nothing is sent.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from enum import StrEnum

import structlog

from services.chassis.store import (
    AlreadyThere,
    Fields,
    Stale,
    Store,
    StoreUnavailable,
    compare_and_set,
    insert_new,
)
from services.chassis.telemetry import error_fields

log = structlog.get_logger()

COLLECTION = "fence"
_ID = "fence"
_EVERY_SECONDS = 1.0

HasRunBefore = Callable[[], Awaitable[bool | None]]
"""Says whether the log knows of work that this service has done; None when it does not answer."""


class Standing(StrEnum):
    """How a database stands."""

    READY = "ready"
    RESTORING = "restoring"
    GONE = "gone"


class DatabaseGone(StoreUnavailable):
    """The database is not the one that the service has worked on. Nothing may be decided on it;
    what is under way is given back and waits, as when the store does not answer."""


class Fence:
    """The mark of one service. `restore` writes it through the same class."""

    def __init__(self, store: Store, service: str) -> None:
        self._store = store
        self._service = service
        self._collection = store.collection(COLLECTION)
        self._standing: Standing | None = None

    async def standing(self) -> Standing:
        """Look in the store. Raises StoreUnavailable."""
        async with self._store.answering():
            mark = await self._collection.find_one({"_id": _ID})
        self._standing = Standing(mark["state"]) if mark else Standing.GONE
        return self._standing

    async def check(self) -> None:
        """Look in the store; raise DatabaseGone unless the fence stands, else StoreUnavailable if
        the store does not answer. Costs one read by id."""
        if await self.standing() is not Standing.READY:
            raise DatabaseGone(self._says())

    async def require(self) -> None:
        """Like `check`, but costs nothing where the fence stood when it was last looked at."""
        if self._standing is not Standing.READY:
            await self.check()

    async def trouble(self) -> str | None:
        """Why nothing is done, or None; for readiness."""
        return None if self._standing is Standing.READY else self._says()

    def _says(self) -> str:
        match self._standing:
            case Standing.GONE:
                return f"the database is gone; run `jieyou restore {self._service}`"
            case Standing.RESTORING:
                return f"the database is being restored; if not, `jieyou restore {self._service}`"
            case _:
                return "not looked at yet"

    async def opened(
        self, has_run_before: HasRunBefore, every_seconds: float = _EVERY_SECONDS
    ) -> None:
        """Return when the service may work: the fence stands, or the platform is fresh and it is
        put up now. To be awaited before anything else begins; waits as long as it takes."""
        has_alarmed = False
        while True:
            try:
                if await self.standing() is Standing.READY or await self._begun(has_run_before):
                    return
            except StoreUnavailable as error:
                log.warning("store not available yet", reason=str(error))
            else:
                if not has_alarmed and self._standing is not None:
                    log.critical("nothing is done", reason=self._says(), alarm=True)
                    has_alarmed = True
            await asyncio.sleep(every_seconds)

    async def _begun(self, has_run_before: HasRunBefore) -> bool:
        """Begin on a fresh platform; whether the fence stands now. Another process may be first."""
        if self._standing is Standing.RESTORING:
            return False
        has_run = await has_run_before()
        if has_run is None:
            self._standing = None  # nothing is known yet
            return False
        if not has_run:
            await self.put_up()
        return await self.standing() is Standing.READY

    async def watch(self, every_seconds: float = _EVERY_SECONDS) -> None:
        """Look each second while the process works. Raises DatabaseGone, which ends the process:
        nothing that it has in memory may be relied on any more."""
        while True:
            await asyncio.sleep(every_seconds)
            try:
                await self.check()
            except DatabaseGone as gone:
                log.critical("the process leaves", reason=str(gone), alarm=True)
                raise
            except Exception as error:  # noqa: BLE001 - the store is away, that is something else
                log.warning("fence not looked at", **error_fields(error))

    async def put_up(self) -> None:
        """Declare this database to be the service's, unless it says something already."""
        try:
            await insert_new(self._store, self._collection, [{"_id": _ID, "state": Standing.READY}])
        except AlreadyThere:
            return

    async def hold(self, run: str, at: datetime) -> None:
        """A restore of this name begins: nobody works here from now on, and an earlier restore is
        taken over."""
        state: Fields = {"state": Standing.RESTORING, "run": run, "since": at, "beat": 0}
        async with self._store.answering():
            await self._collection.replace_one({"_id": _ID}, {"_id": _ID, **state}, upsert=True)

    async def beat(self, run: str) -> None:
        """Show that the restore is alive. Raises Stale if another has taken over."""
        async with self._store.answering():
            await compare_and_set(self._collection, [(_of(run), {"$inc": {"beat": 1}})])

    async def last_beat(self) -> tuple[str, int] | None:
        """Return the restore under way and how far it has beaten; None if there is none."""
        async with self._store.answering():
            mark = await self._collection.find_one(_of(None))
        return (str(mark["run"]), int(mark["beat"])) if mark else None

    async def release(self, run: str, at: datetime) -> None:
        """The restore is done: the service may work. Raises Stale if another has taken over."""
        done = {"$set": {"state": Standing.READY, "restored_at": at}}
        async with self._store.answering():
            await compare_and_set(self._collection, [(_of(run), done)])


def _of(run: str | None) -> Fields:
    named: Fields = {"_id": _ID, "state": Standing.RESTORING}
    return named if run is None else {**named, "run": run}


__all__ = ["DatabaseGone", "Fence", "Stale", "Standing"]
