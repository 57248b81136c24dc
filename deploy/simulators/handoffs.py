"""A simulated department at work on its hand-offs, however it gets them and replies."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from contracts.feeds import FeedHandoff
from deploy.simulators.handoff_script import Awaited, Say, Until, script_of
from deploy.simulators.room import PATIENCE_SECONDS, Journal, Room

Reply = Callable[[FeedHandoff, Say], Awaitable[None]]
"""Brings a reply to the platform, and returns when it was taken."""


@dataclass(slots=True)
class Department:
    """Plays the hand-offs of one department. What comes twice changes nothing."""

    code: str
    room: Room
    reply: Reply
    journal: Journal
    tasks: asyncio.TaskGroup
    newest: dict[str, FeedHandoff] = field(default_factory=dict)

    def arrive(self, handoff: FeedHandoff) -> None:
        """Take a hand-off or news of one, in any order and as often as it comes."""
        known = self.newest.get(handoff.handoff_id)
        self.journal.write(
            department=self.code,
            handoff_id=handoff.handoff_id,
            case_no=handoff.case_no,
            version=handoff.version,
            state=handoff.state,
            repeated=known is not None and known.version >= handoff.version,
        )
        if known is None or handoff.erased or handoff.version > known.version:
            self.newest[handoff.handoff_id] = handoff
        if known is None and handoff.state.is_open:
            self.tasks.create_task(self._play(handoff))
        self.room.happened(handoff.case_no)

    async def _play(self, handoff: FeedHandoff) -> None:
        plan = await self.room.plan_of_case(handoff.case_no)
        for step in script_of(handoff, plan, datetime.now(UTC)):
            if isinstance(step, Until):
                await self._wait(handoff, step.what)
            if not self.newest[handoff.handoff_id].state.is_open:
                return
            if isinstance(step, Say):
                await self.reply(handoff, step)
                self._note(handoff, step)

    def _note(self, handoff: FeedHandoff, said: Say) -> None:
        """Let the others know what was done."""
        case_no = handoff.case_no
        self.room.counts[f"department.{said.act}"] += 1
        if said.act == "sign":
            self.room.signed.add(handoff.handoff_id)
            plan = self.room.accepted[case_no].plan if case_no in self.room.accepted else None
            if plan is not None and plan.request.path.urgings:
                self.room.ask_desk(case_no)
        if said.act == "result" and handoff.role == "assist":
            self.room.assisted.add((case_no, handoff.round, self.code))
            self.room.happened(case_no)

    async def _wait(self, handoff: FeedHandoff, what: Awaited) -> None:
        """Wait for somebody else, but not for ever; the end of the hand-off ends all waiting."""
        if what == "checked" and handoff.handoff_id not in self.room.checked:
            self.room.ask_desk(handoff.case_no)
        await self.room.until(
            handoff.case_no, lambda: self._is_there(handoff, what), PATIENCE_SECONDS
        )

    def _is_there(self, handoff: FeedHandoff, what: Awaited) -> bool:
        now = self.newest[handoff.handoff_id]
        if not now.state.is_open:
            return True
        known = self.room.accepted.get(handoff.case_no)
        if known is None:
            return True
        match what:
            case "checked":
                return handoff.handoff_id in self.room.checked
            case "urged":
                return now.urgings >= len(known.plan.request.path.urgings)
            case "extended":
                before, after = handoff.result_due_at, now.result_due_at
                return before is not None and after is not None and after > before
            case "assisted":
                order = known.plan.order(handoff.round)
                assists = {
                    (handoff.case_no, handoff.round, one.department)
                    for one in (order.assists if order is not None else ())
                }
                return not (assists & self.room.assisting) - self.room.assisted
            case "ended":
                return False
