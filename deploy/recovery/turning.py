"""Turning from the live generation to a new one, so that no reader sees less than before.

The live one is closed to appliers (readers go on), the new one is brought as far, and one
compare-and-set turns all readers at once. That takes a fraction of a second. Then the processes'
consumers follow, and when none reads for the old generation any more, it is dropped.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from deploy.recovery import groups
from deploy.recovery.filling import Filling, left
from services.chassis.store import Stale, StoreUnavailable
from services.reporting.domain.progress import Ends, Progress, places_of
from services.reporting.generations import Building, Generation, Generations, Live
from services.reporting.live import KEPT_SECONDS
from services.reporting.store import Projection

_NEAR = 1_000
"""Offsets behind the log's end that may be left when the live generation is closed."""
_ROUNDS = 30
_CLOSED_SECONDS = 15.0
_FOLLOW_WITHIN_SECONDS = 60.0
_LOOK_EVERY_SECONDS = 0.5


@dataclass(slots=True)
class Turning:
    """What is needed for it. `is_of_one_log`: the live generation has read this log, so the new
    one must be as far before it is turned to."""

    kafka_url: str
    generations: Generations
    now: Callable[[], Awaitable[datetime]]
    log_ends: Callable[[], Awaitable[Ends]]
    old: Projection
    new: Projection
    filling: Filling
    is_of_one_log: bool
    keeps_old: bool

    async def turn(self, building: Building) -> None:
        """Turn to the new generation.

        Raises Stale if somebody opened the live one again meanwhile, StoreUnavailable and
        LogUnreadable: call it again.
        """
        await self._catch_up()
        offsets = reached(await self.new.progress())
        await groups.begin_at(self.kafka_url, building.generation.group, offsets)
        live = await self.generations.live()
        if live.generation.number == building.generation.number:  # an earlier try had turned
            return
        live = await self.generations.close(live, building.run)
        try:
            async with asyncio.timeout(_CLOSED_SECONDS):
                await self.generations.beat(building.run)  # from here on nobody can be beside it
                await self._turn_closed(live, building.generation)
        except TimeoutError:
            raise Stale("the live generation was closed for too long") from None
        finally:
            await self._open_unless_turned(live)

    async def _catch_up(self) -> None:
        for _ in range(_ROUNDS):
            ends = await self.log_ends()
            behind = left(await self.new.progress(), ends)
            await self.filling.follow(ends)
            if behind < _NEAR:
                return

    async def _turn_closed(self, live: Live, to: Generation) -> None:
        await self.old.close()
        if self.is_of_one_log:
            await self.filling.follow(reached(await self.old.progress()))
        await self.generations.turn(live, to, await self.now(), keeps_old=self.keeps_old)

    async def _open_unless_turned(self, live: Live) -> None:
        """After a turn this is Stale, and the old generation stays closed."""
        with contextlib.suppress(Stale, StoreUnavailable):
            await self.generations.open_again(live)
            await self.old.reopen()


@dataclass(frozen=True, slots=True)
class Followed:
    """Whether all processes have followed: how many there are; what was dropped, what was not."""

    processes: int
    dropped: tuple[Generation, ...]
    undropped: tuple[Generation, ...]


async def follow_and_drop(
    kafka_url: str,
    generations: Generations,
    before: str,
    members_before: int | None,
    projection_of: Callable[[Generation], Projection],
) -> Followed:
    """Wait until the consumers of the group `before` have gone over to the live generation's, and
    drop what is retired. `members_before`: how many they were, None if that was not asked.

    Answers under way are given the time they may take. Raises StoreUnavailable and LogUnreadable
    (call it again).
    """
    turned_at = time.monotonic()
    live = await generations.live()
    have_followed = before == live.generation.group or await _followed(
        kafka_url, before, live.generation.group, members_before
    )
    await asyncio.sleep(max(0.0, KEPT_SECONDS - (time.monotonic() - turned_at)))
    dropped, undropped = [], []
    for one in live.retired:
        is_left = one.group == before and have_followed
        if not is_left and await groups.members(kafka_url, one.group):
            undropped.append(one)
            continue
        await projection_of(one).drop()
        await generations.forget(one)
        dropped.append(one)
    processes = await groups.members(kafka_url, live.generation.group)
    return Followed(processes, tuple(dropped), tuple(undropped))


async def _followed(kafka_url: str, before: str, after: str, members_before: int | None) -> bool:
    """Wait until as many consumers are in the one group as were in the other, or all have left
    it: those that have a name of their own, as ours, stay in a group for 10 s after they left."""
    until = time.monotonic() + _FOLLOW_WITHIN_SECONDS
    while time.monotonic() < until:
        following = await groups.members(kafka_url, after)
        if members_before and following >= members_before:
            return True
        if not await groups.members(kafka_url, before) and (following or not members_before):
            return True
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
    return False


def reached(progress: Mapping[int, Progress]) -> dict[tuple[str, int], int]:
    """Return the next offset of each topic and partition."""
    return {place: at.next_offset for place, at in places_of(progress).items()}
