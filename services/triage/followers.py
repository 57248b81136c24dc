"""What follows later from what was decided: groups reach their members, parked wishes their case.

Each loop looks at the store, so it goes on after a crash where it was.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from contracts.envelope import Event
from contracts.lifecycle import CaseDocument, GroupDocument
from contracts.profile import Profile
from services.chassis.clock import Clock
from services.chassis.crash_points import crash_point
from services.chassis.documents import Publish, Unit
from services.chassis.kept import Kept
from services.chassis.store import Stale
from services.triage.domain import groups
from services.triage.domain.occasion import Occasion
from services.triage.handlers import decide, erasures_of
from services.triage.store import TriageStore

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Followers:
    """The loops with their ports."""

    kept: TriageStore
    profile: Profile
    clock: Clock
    publish: Publish
    parked_alarm: timedelta

    async def follow_groups(self) -> None:
        """Bring each group's events to its members, and its anchor's result to the group."""
        await self._for_ever("groups", self.groups_once)

    async def unpark(self) -> None:
        """Decide parked wishes whose case has arrived; alarm for what grows old."""
        await self._for_ever("parked", self.unpark_once)

    async def _for_ever(self, name: str, once: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await once()
            except Exception as error:  # noqa: BLE001 - passing trouble; the store remembers
                log.warning("follower failed", follower=name, error=type(error).__name__)
            await asyncio.sleep(0.5)

    async def groups_once(self) -> None:
        """Look at all groups once."""
        for group in await self.kept.groups_to_fan_out():
            await self._fan_out(group)
        waiting = await self.kept.open_groups()
        anchors = await self.kept.cases.load({group.document.case_no for group in waiting})
        for group in waiting:
            anchor = anchors.get(group.document.case_no)
            if anchor is None:
                continue
            occasion = Occasion(self.profile, self.clock.now(), "event:none")
            if groups.follow_anchor(occasion, group, anchor.document) is not None:
                unit = Unit(self.kept.store, owed_by_offset=False)
                unit.add(self.kept.groups, group)
                await self._save_and_publish(unit)

    async def _fan_out(self, group: Kept[GroupDocument]) -> None:
        """Record every event of a group on every member that lacks it, then note it as done."""
        document = group.document
        concerned: set[str] = set()
        for event in group.events:
            concerned.update(_named(event.data))
        members = await self.kept.cases.load(concerned)
        occasion = Occasion(self.profile, self.clock.now(), "group:none")
        for member in members.values():
            for event in group.events:
                groups.fan_out(occasion, member, document, event)
            if member.fresh:
                unit = Unit(self.kept.store, owed_by_offset=False)
                unit.add(self.kept.cases, member)
                if not await self._save_and_publish(unit):
                    return
                crash_point("groups.member_followed")
        crash_point("groups.fanned_out")
        await self.kept.mark_fanned_out(group)

    async def unpark_once(self) -> None:
        """Look at all parked records once."""
        parked = await self.kept.parked()
        if not parked:
            return
        now = self.clock.now()
        cases = await self.kept.cases.load({one.event.data.case_no for one in parked})
        old = 0
        for one in parked:
            kept = cases.get(one.event.data.case_no)
            if kept is None:
                old += now - one.since > self.parked_alarm
                continue
            if self._decided(kept, one.event):
                unit = Unit(self.kept.store, owed_by_offset=False)
                unit.add(self.kept.cases, kept)
                if not await self._save_and_publish(unit):
                    continue
            if not one.event.data.rev:
                await self.publish(erasures_of(kept))
            crash_point("unpark.decided")
            await self.kept.unpark(one.event.id)
        if old:
            log.error("parked wishes grow old", count=old, alarm=True)

    def _decided(self, kept: Kept[CaseDocument], event: Event) -> bool:
        cause = f"event:{event.id}"
        if kept.document.has_cause(cause):
            return False
        occasion = Occasion(
            self.profile,
            self.clock.now(),
            cause,
            after=event.data,
            traceparent=event.traceparent,
        )
        return bool(decide(occasion, kept, event, None))

    async def _save_and_publish(self, unit: Unit) -> bool:
        try:
            await unit.save()
        except Stale:
            return False
        await unit.publish_pending(self.publish)
        return True


def _named(data: object) -> set[str]:
    named: set[str] = set()
    for field in ("members", "joined", "left"):
        named.update(getattr(data, field, ()))
    return named
