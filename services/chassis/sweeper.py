"""The sweeper: fires the deadlines that stand in documents, each once.

Deadlines are fields of the document they belong to. A firing is one compare-and-set that appends
its event and moves `next_due`, so several sweepers and a crash at any point do no harm; its event
id is derived from (document, deadline, version, firing).
"""

import asyncio
from datetime import UTC, datetime
from typing import Protocol, TypeVar

import structlog

from services.chassis.clock import Clock
from services.chassis.crash_points import crash_point
from services.chassis.documents import Documents, Publish, Unit
from services.chassis.due import Due, Fire, HasDeadlines, moments, next_due
from services.chassis.kept import Kept
from services.chassis.store import Stale

log = structlog.get_logger()

__all__ = ["Due", "Fire", "HasDeadlines", "moments", "next_due", "sweep", "sweep_once"]

SLICE = 200
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


D = TypeVar("D", bound=HasDeadlines)


class TrustedClock(Clock, Protocol):
    """A clock that knows whether it may be relied on."""

    @property
    def trusted(self) -> bool:
        """Whether deadlines may fire by it."""
        ...


async def sweep_once(
    documents: Documents[D], fire: Fire[D], publish: Publish, clock: TrustedClock
) -> int:
    """Fire what is due, at most one slice; return how many documents were due."""
    if not clock.trusted:
        return 0
    now = clock.now()
    where = {"next_due": {"$gt": _BEGINNING, "$lte": now}, "pending_since": None}
    due = await documents.find(where, SLICE)
    if not due:
        return 0
    try:
        await _fire_all(documents, due, fire, publish, now)
    except Stale:
        for kept in due:
            for again in (await documents.load([kept.document.document_id])).values():
                try:
                    await _fire_all(documents, [again], fire, publish, now)
                except Stale:
                    continue
    return len(due)


async def _fire_all(
    documents: Documents[D], due: list[Kept[D]], fire: Fire[D], publish: Publish, now: datetime
) -> None:
    unit = Unit(documents.store, owed_by_offset=False)
    for kept in due:
        while True:
            coming = moments(list(kept.document.deadlines.values()))
            if not coming or coming[0].at > now:
                break
            before = kept.document.seq
            fire(kept, coming[0], now)
            if kept.document.seq == before:
                raise RuntimeError(f"deadline {coming[0].deadline.name} fired without an event")
    unit.add(documents, *due)
    crash_point("sweep.decided")
    await unit.save()
    await unit.publish_pending(publish)


async def sweep(
    documents: Documents[D],
    fire: Fire[D],
    publish: Publish,
    clock: TrustedClock,
    every_seconds: float = 0.5,
) -> None:
    """Run for ever. A full slice is followed by the next at once."""
    while True:
        found = 0
        try:
            found = await sweep_once(documents, fire, publish, clock)
        except Exception as error:  # noqa: BLE001 - passing trouble; what is due stays due
            log.warning("sweep failed", error=type(error).__name__)
        if found < SLICE:
            await asyncio.sleep(every_seconds)
