"""One rebuild at a time: a run shows that it is alive, and takes up only what nobody is at."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from deploy.recovery.lasting import lasting
from deploy.recovery.rebuilt import RebuildError
from services.chassis.store import Stale, StoreUnavailable
from services.reporting.generations import LAID_DOWN, Building, Generations
from services.reporting.live import SILENT_SECONDS

_BEAT_SECONDS = 1.0
_LOOK_EVERY_SECONDS = 0.3


async def left_alone(generations: Generations) -> Building | None:
    """Return what another run left half-built; raises RebuildError if that run is alive."""
    before = await lasting(generations.building)
    if before is None or before.run == LAID_DOWN:
        return before
    until = time.monotonic() + SILENT_SECONDS
    while time.monotonic() < until:
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
        now = await lasting(generations.building)
        if now is None or now.run == LAID_DOWN:
            return now
        if (now.run, now.beat) != (before.run, before.beat):
            raise RebuildError("another rebuild is under way: wait for its end")
    return before


@contextlib.asynccontextmanager
async def beating(generations: Generations, run: str) -> AsyncIterator[None]:
    """Show life while this lasts. Raises RebuildError when another run took over."""
    main = asyncio.current_task()
    is_lost = False

    async def beat() -> None:
        nonlocal is_lost
        while not is_lost:
            await asyncio.sleep(_BEAT_SECONDS)
            try:
                await generations.beat(run)
            except StoreUnavailable:
                continue
            except Stale:
                is_lost = True
        if main is not None:
            main.cancel()

    task = asyncio.create_task(beat())
    try:
        yield
    except BaseException as error:
        with contextlib.suppress(StoreUnavailable):
            await generations.lay_down(run)
        if is_lost and main is not None and isinstance(error, asyncio.CancelledError):
            main.uncancel()
            raise RebuildError("another rebuild has taken this one over") from None
        raise
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
