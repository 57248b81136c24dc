"""The relay: publishes what commands and deadlines left pending when their process died."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import structlog

from services.chassis.clock import Clock
from services.chassis.crash_points import crash_point
from services.chassis.documents import GRACE, Documents, Publish, mark_published

log = structlog.get_logger()

BATCH = 200
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


async def relay_once(documents: Documents[Any], publish: Publish, clock: Clock) -> int:
    """Publish what has been pending longer than `GRACE`; return how many documents that were."""
    now = clock.now()
    overdue = {
        "next_due": {"$gt": _BEGINNING, "$lte": now},
        "pending_since": {"$ne": None, "$lte": now - GRACE},
    }
    waiting = await documents.find(overdue, BATCH)
    for kept in waiting:
        await publish(kept.unpublished)
        crash_point("relay.published")
        await mark_published(documents, kept)
    return len(waiting)


async def relay(
    kinds: list[Documents[Any]], publish: Publish, clock: Clock, every_seconds: float = 1.0
) -> None:
    """Run for ever; trouble with bus or store is passing and is tried again."""
    while True:
        for documents in kinds:
            try:
                if relayed := await relay_once(documents, publish, clock):
                    log.info("relayed", collection=documents.collection.name, documents=relayed)
            except Exception as error:  # noqa: BLE001 - passing trouble; the events stay pending
                log.warning("relay failed", error=type(error).__name__)
        await asyncio.sleep(every_seconds)
