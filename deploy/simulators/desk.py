"""The simulated duty desk: clerks who work the queue through the desk's HTTP.

A case always comes to the same clerk, who claims it and does one act after another until nothing is
left for the desk. Beside the queue the clerks look at cases that somebody asks them to look at.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zlib import crc32

import structlog

from contracts.profile import Profile
from deploy.simulators.calls import Answer, Calls
from deploy.simulators.case_view import CaseShown
from deploy.simulators.desk_rules import Act, Facts, Ring, Step, Visit, Wait, next_step
from deploy.simulators.plans import Plan
from deploy.simulators.room import Room
from deploy.simulators.stories.story import Feedback, Story

log = structlog.get_logger()

_AT_ONCE = 12
_QUEUE_LENGTH = 200
_LOOK_EVERY_SECONDS = 0.4
_BATCH_SECONDS = 3.0
_MOST_ACTS = 25
_NOT_POSSIBLE = (409, 412)


@dataclass(frozen=True, slots=True)
class Clerks:
    """The desk's people, each with a client of their own, by code."""

    triage: Mapping[str, Calls]
    notify: Mapping[str, Calls]
    supervisor: str

    def of(self, case_no: str) -> str:
        """Return who handles a case."""
        people = sorted(person for person in self.triage if person != self.supervisor)
        return people[crc32(case_no.encode()) % len(people)]

    def visitor(self, case: CaseShown) -> str:
        """Return who may ring the citizen: never one who handled the case, red for a supervisor."""
        free = [person for person in sorted(self.triage) if person not in case.handled_by]
        if case.tier == "red" and self.supervisor in free:
            return self.supervisor
        return next((one for one in free if one != self.supervisor), self.supervisor)


@dataclass(slots=True)
class Desk:
    """The desk at work. `refusals` counts commands that the state of a case did not allow."""

    room: Room
    profile: Profile
    clerks: Clerks
    refusals: int = 0
    _locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _claimed: set[str] = field(default_factory=set)
    _in_hand: set[str] = field(default_factory=set)
    _since: dict[tuple[str, str, int], float] = field(default_factory=dict)
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def publish_policies(self, story: Story) -> None:
        """Put up the policies that answers quote."""
        calls = next(iter(self.clerks.triage.values()))
        for entry in story.policies:
            form = entry.policy.model_dump(
                mode="json", exclude={"policy_id", "version"}, exclude_none=True
            )
            answer = await calls.put(f"/v1/desk/policies/{entry.policy.policy_id}", form)
            if not answer.is_taken:
                raise RuntimeError(f"policy {entry.policy.policy_id} was refused: {answer.why}")

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._work_queue(tasks))
            tasks.create_task(self._work_attention(tasks))

    async def _work_queue(self, tasks: asyncio.TaskGroup) -> None:
        """Take what waits, red first as the queue shows it."""
        calls = self.clerks.triage[self.clerks.supervisor]
        while True:
            answer = await calls.get(f"/v1/desk/queue?limit={_QUEUE_LENGTH}")
            waiting = [case["case_no"] for case in answer.document.get("cases", ())]
            begun = [self._take(no, tasks) for no in waiting if no not in self._in_hand]
            if begun:  # one case that takes long does not keep the others waiting
                await asyncio.wait(begun, timeout=_BATCH_SECONDS)
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def _work_attention(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            case_no = await self.room.attention.get()
            tasks.create_task(self.attend(case_no))

    def _take(self, case_no: str, tasks: asyncio.TaskGroup) -> asyncio.Task[None]:
        self._in_hand.add(case_no)
        task = tasks.create_task(self.attend(case_no))
        task.add_done_callback(lambda _: self._in_hand.discard(case_no))
        return task

    async def attend(self, case_no: str) -> None:
        """Do what is to be done with a case, up to where somebody else must act."""
        async with self._locks[case_no], self._slots:
            case = await self._claim(case_no)
            for _ in range(_MOST_ACTS):
                if case is None:
                    return
                plan = self.room.plan_of(case.external_id)
                self._note_corrected(case, plan)
                step = next_step(case, plan, self._facts(case))
                if step is None or isinstance(step, Wait):
                    self._note_checked(case, step)
                    return
                case = await self._do(case, step)
            log.warning("a clerk gave up for now", case_no=case_no)

    def _note_corrected(self, case: CaseShown, plan: Plan | None) -> None:
        if plan is None or case.decision is None or case.case_no in self.room.corrected:
            return
        if case.decision.category == plan.request.true_category:
            self.room.corrected.add(case.case_no)
            self.room.happened(case.case_no)

    def _note_checked(self, case: CaseShown, step: Step) -> None:
        if step is None:
            self.room.assisting.update(
                (case.case_no, case.round, order.department)
                for order in case.open_orders
                if order.role == "assist"
            )
            self.room.checked.update(order.handoff_id for order in case.open_orders)
            self.room.happened(case.case_no)

    def _facts(self, case: CaseShown) -> Facts:
        stands = (case.case_no, case.phase, case.round)
        since = self._since.setdefault(stands, time.monotonic())
        round_ = (case.case_no, case.round)
        plan = self.room.plan_of(case.external_id)
        code = plan.request.path.group if plan is not None else None
        lead = case.lead
        return Facts(
            now=datetime.now(UTC),
            waited_seconds=time.monotonic() - since,
            is_signed=lead is not None and lead.handoff_id in self.room.signed,
            is_rated=round_ in self.room.rated,
            is_silent=round_ in self.room.silent,
            group=self.room.groups.get(code) if code is not None else None,
            fallback_department=next(
                one.code for one in self.profile.departments if one.code not in case.returned_by
            ),
        )

    async def _claim(self, case_no: str) -> CaseShown | None:
        """Claim a case once; later looks only read it. None if there is no such case yet."""
        person = self.clerks.of(case_no)
        calls = self.clerks.triage[person]
        if case_no in self._claimed:
            return await self._read(case_no)
        answer = await calls.post(
            f"/v1/desk/cases/{case_no}/claim", None, key=f"claim/{case_no}/{person}"
        )
        if not answer.is_taken:
            return await self._read(case_no) if answer.status in _NOT_POSSIBLE else None
        self._claimed.add(case_no)
        return CaseShown.read(answer.document)

    async def _read(self, case_no: str) -> CaseShown | None:
        calls = self.clerks.triage[self.clerks.of(case_no)]
        answer = await calls.get(f"/v1/desk/cases/{case_no}")
        return CaseShown.read(answer.document) if answer.is_taken else None

    async def _do(self, case: CaseShown, step: Act | Visit | Ring) -> CaseShown | None:
        """Do one step; the case as it stands after it."""
        answer: Answer | None
        match step:
            case Act():
                answer = await self._act(case, step)
            case Visit(feedback=feedback):
                answer = await self._visit(case, feedback)
            case Ring(handoff_id=handoff_id):
                await self._ring(case, handoff_id)
                return None  # what notify notes comes back to triage by itself
        if answer is not None and answer.is_taken:
            return CaseShown.read(answer.document)
        if answer is not None:
            self.refusals += 1
            log.info(
                "a clerk was refused",
                case_no=case.case_no,
                status=answer.status,
                act=step.name if isinstance(step, Act) else "visit",
                why=answer.why,
            )
            await asyncio.sleep(0.2)
        return await self._read(case.case_no)

    async def _act(self, case: CaseShown, act: Act) -> Answer:
        """Give a command. Its id is that of the act upon the version that the clerk saw."""
        calls = self.clerks.triage[self.clerks.of(case.case_no)]
        self.room.counts[f"desk.{act.name}"] += 1
        return await calls.post(
            f"/v1/desk/cases/{case.case_no}/{act.name}",
            act.form,
            key=f"{act.name}/{case.case_no}/{case.version}",
            headers={"If-Match": case.view} if act.needs_view else None,
        )

    async def _visit(self, case: CaseShown, feedback: Feedback) -> Answer | None:
        """Ring the citizen as often as the story says, until reached or the last attempt."""
        calls = self.clerks.triage[self.clerks.visitor(case)]
        last = max(1, feedback.attempts)
        answer: Answer | None = None
        for attempt in range(1, last + 1):
            rating = _rating(feedback) if attempt == last and feedback.reached else None
            self.room.counts["desk.visit"] += 1
            answer = await calls.post(
                f"/v1/desk/cases/{case.case_no}/visit",
                {"by": "telephone", "rating": rating},
                key=f"visit/{case.case_no}/{case.round}/{attempt}",
            )
            if not answer.is_taken:
                return answer
        return answer

    async def _ring(self, case: CaseShown, handoff_id: str) -> None:
        calls = self.clerks.notify[self.clerks.of(case.case_no)]
        await calls.post(f"/v1/handoffs/{handoff_id}/sent", None, key=f"ring/{handoff_id}")


def _rating(feedback: Feedback) -> dict[str, object]:
    rating: dict[str, object] = {
        "level": feedback.level or 5,
        "solved": feedback.solved is not False,
    }
    return {**rating, "comment": feedback.comment} if feedback.comment else rating
