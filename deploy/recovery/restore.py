"""A service's documents restored from its own topic, alone and fenced.

The fence is put into `restoring` first, so that no process works here; then everything is thrown
away and written anew, as the service itself would have inserted it with all its events published.
A run that dies leaves the fence as it is: nobody works, and the next run begins from the start.
"""

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import AsyncIterator, Collection

from deploy.recovery import groups
from deploy.recovery.lasting import given_up, lasting
from deploy.recovery.restored import OnStep, Outcome, RestoreError
from deploy.recovery.restoring import Restoring
from deploy.recovery.sources import SOURCES, Source
from services.chassis.fence import COLLECTION, Fence, Standing
from services.chassis.store import Stale, Store, StoreUnavailable

_BEAT_SECONDS = 1.0
_SILENT_SECONDS = 4.0
_LEFT_WITHIN_SECONDS = 20.0
_LOOK_EVERY_SECONDS = 0.5
_DOCUMENTS = ("cases", "groups", "handoffs", "deliveries")


class Restore:
    """Restores one service of a platform."""

    def __init__(
        self,
        kafka_url: str,
        mongo_url: str,
        store: Store,
        source: Source,
        left_within_seconds: float = _LEFT_WITHIN_SECONDS,
    ) -> None:
        """`left_within_seconds`: how long others may still be in the service's group."""
        self._kafka_url = kafka_url
        self._mongo_url = mongo_url
        self._store = store
        self._source = source
        self._left_within_seconds = left_within_seconds
        self._fence = Fence(store, source.service)
        self._run = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._is_taken_over = False

    async def check(self, *, may_throw_away: bool) -> None:
        """Raise RestoreError unless the database may be thrown away: it is empty, half restored,
        or somebody said so, and no other restore is at it."""
        if await lasting(self._fence.standing) is Standing.RESTORING:
            await self._require_alone()
            return
        documents = await lasting(self._count)
        if documents and not may_throw_away:
            raise RestoreError(
                f"the database of {self._source.service} holds {documents} documents: "
                "--yes throws them away"
            )

    async def run(self, on_step: OnStep, *, held: Collection[str] = ()) -> Outcome:
        """Restore. `held`: processes of the service that are known to have ended, though Kafka may
        not have noticed yet.

        Raises RestoreError; from the beginning to a good end nobody works on the database.
        """
        await self._require_left(held)
        began = time.monotonic()
        await lasting(self._begin)
        async with self._beating():
            await lasting(self._source.prepare)
            outcome = await self._restored(on_step, is_dry_run=False)
            self._require_mine()
            try:
                await self._fence.release(self._run, await self._store.time())
            except Stale:
                raise RestoreError("another restore has taken this one over") from None
            except StoreUnavailable as error:
                raise given_up(error) from error
        outcome.seconds = time.monotonic() - began
        return outcome

    async def plan(self, on_step: OnStep) -> Outcome:
        """Read and fold, and write nothing. Raises RestoreError."""
        began = time.monotonic()
        outcome = await self._restored(on_step, is_dry_run=True)
        outcome.seconds = time.monotonic() - began
        return outcome

    async def _restored(self, on_step: OnStep, *, is_dry_run: bool) -> Outcome:
        outcome = Outcome(self._source.service, is_dry_run)
        restoring = Restoring(
            self._kafka_url,
            self._mongo_url,
            self._store,
            self._source,
            outcome,
            on_step,
            self._require_mine,
        )
        await restoring.run()
        return outcome

    async def _begin(self) -> None:
        await self._fence.hold(self._run, await self._store.time())
        await self._store.drop_collections(but=COLLECTION)

    async def _count(self) -> int:
        """Count what would be missed."""
        count = 0
        async with self._store.answering():
            for name in _DOCUMENTS:
                count += await self._store.collection(name).count_documents({})
        return count

    async def _require_alone(self) -> None:
        """Raise RestoreError if another restore shows life."""
        before = await lasting(self._fence.last_beat)
        until = time.monotonic() + _SILENT_SECONDS
        while before is not None and time.monotonic() < until:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            if await lasting(self._fence.last_beat) != before:
                raise RestoreError("another restore is under way: wait for its end")

    async def _require_left(self, held: Collection[str]) -> None:
        """Raise RestoreError if others are in the service's group and stay there: one that was
        killed leaves it after 10 s."""
        until = time.monotonic() + self._left_within_seconds
        while others := await lasting(self._clients) - set(held):
            if time.monotonic() > until:
                service, names = self._source.service, ", ".join(sorted(others))
                raise RestoreError(f"{service} runs ({names}): stop all its processes first")
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def _clients(self) -> set[str]:
        return await groups.clients(self._kafka_url, self._source.group)

    @contextlib.asynccontextmanager
    async def _beating(self) -> AsyncIterator[None]:
        """Show life while this lasts."""

        async def beat() -> None:
            while not self._is_taken_over:
                await asyncio.sleep(_BEAT_SECONDS)
                try:
                    await self._fence.beat(self._run)
                except Stale:
                    self._is_taken_over = True
                except StoreUnavailable:
                    continue

        task = asyncio.create_task(beat())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def _require_mine(self) -> None:
        if self._is_taken_over:
            raise RestoreError("another restore has taken this one over")


@contextlib.asynccontextmanager
async def restoring(
    service: str,
    kafka_url: str,
    mongo_url: str,
    *,
    database: str = "",
    group: str = "",
    left_within_seconds: float = _LEFT_WITHIN_SECONDS,
) -> AsyncIterator[Restore]:
    """Connect to a platform's store for one service; its usual database and consumer group unless
    others are named. Raises KeyError for a service that is not restored."""
    kind = SOURCES[service]
    store = Store(mongo_url, database or kind.database)
    try:
        source = kind(store, group or kind.group)
        yield Restore(kafka_url, mongo_url, store, source, left_within_seconds)
    finally:
        store.close()
