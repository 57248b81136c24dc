"""The simulated citizens: they ask through the channel, and say later what came of it."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import structlog

from deploy.simulators.calls import Answer, Calls
from deploy.simulators.plans import Plan
from deploy.simulators.room import Accepted, Journal, Room

log = structlog.get_logger()

_ASK_AT_ONCE = 16
_LOOK_UP_AT_ONCE = 6
_FIRST_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 1.5, 4.0
_ORDERED = ("ordered", "sent", "signed", "in_progress")
_CODE = "Retrieval-Code"


class NotAccepted(Exception):
    """Intake refused a request of the story: a mistake in one of the two."""


@dataclass(frozen=True, slots=True)
class Citizens:
    """All citizens of a play. `callback_url` is where the channel takes callbacks."""

    room: Room
    intake: Calls
    lookup: Calls
    callback_url: str
    asked: Journal
    told: Journal
    tasks: asyncio.TaskGroup

    async def ask(self, plans: Iterable[Plan]) -> None:
        """Post all requests in their order, several at once."""
        slots = asyncio.Semaphore(_ASK_AT_ONCE)
        looking = asyncio.Semaphore(_LOOK_UP_AT_ONCE)
        async with asyncio.TaskGroup() as asking:
            for plan in plans:
                await slots.acquire()
                task = asking.create_task(self._ask(plan, looking))
                task.add_done_callback(lambda _: slots.release())

    async def _ask(self, plan: Plan, looking: asyncio.Semaphore) -> None:
        request = plan.request
        body = request.body()
        if request.path.told_by == "callback":
            body["callback_url"] = self.callback_url
        key = request.external_id
        answer = await self.intake.post("/v1/requests", body, key=key)
        if not answer.is_taken:
            raise NotAccepted(f"request {key} was refused: {answer.status} {answer.why}")
        case_no, code = answer.document["case_no"], answer.document["retrieval_code"]
        self.asked.write(case_no=case_no, key=key)
        self.room.accept(case_no, plan, code)
        known = self.room.accepted[case_no]
        for number, text in enumerate(request.path.supplements, start=1):
            await self._say(known, "supplements", {"text": text}, f"{key}/supplement-{number}")
        withdrawal = request.path.withdrawal
        if withdrawal is not None and withdrawal.moment == "before_handoff":
            await self._withdraw(known)
        if request.path.told_by == "lookup":
            self.tasks.create_task(self._look_up(known, looking))

    async def _say(self, known: Accepted, what: str, body: dict[str, Any], key: str) -> Answer:
        """Say something about one's case: to intake, with number and retrieval code."""
        answer = await self.intake.post(
            f"/v1/requests/{known.case_no}/{what}", body, key=key, headers={_CODE: known.code}
        )
        self.room.counts[f"citizen.{what}"] += 1
        if not answer.is_taken:
            log.info(
                "a citizen was refused",
                case_no=known.case_no,
                act=what,
                status=answer.status,
                why=answer.why,
            )
        return answer

    async def _withdraw(self, known: Accepted) -> None:
        request = known.plan.request
        if request.path.withdrawal is not None:
            # Who withdraws at once would leave the desk no time to put the category right.
            self.room.ask_desk(known.case_no)
            await self.room.until(known.case_no, lambda: known.case_no in self.room.corrected)
            body = {"reason": request.path.withdrawal.reason}
            await self._say(known, "withdrawal", body, f"{request.external_id}/withdrawal")

    def take_callback(self, message_id: str, body: dict[str, Any]) -> str:
        """Take a message of the channel; what it leads to is done beside the answer."""
        step, case_no, round_ = body["step"], body["case_no"], body["round"]
        event_id = body["event_id"]
        self.told.write(
            webhook_id=message_id, case_no=case_no, event_id=event_id, step=step, round=round_
        )
        self.room.tell(case_no, step, round_, event_id)
        if step in ("handed_over", "finished_ask_rating"):
            self.tasks.create_task(self._react(case_no, step, round_))
        return f"app-{message_id[:8]}"

    async def _react(self, case_no: str, step: str, round_: int) -> None:
        if await self.room.plan_of_case(case_no) is None:
            return
        known = self.room.accepted[case_no]
        if step == "finished_ask_rating":
            await self._speak(known, round_)
        elif _withdraws_later(known.plan):
            await self._withdraw(known)

    async def _speak(self, known: Accepted, round_: int) -> None:
        """Rate a finished round, or leave it to the desk to ring."""
        feedback = known.plan.feedback(round_)
        stands = (known.case_no, round_)
        if stands in self.room.rated or stands in self.room.silent:
            return
        if feedback.by == "visit":
            self.room.silent.add(stands)
        else:
            self.room.rated.add(stands)
            following = known.plan.round(round_ + 1)
            comment = following.wish if following is not None else feedback.comment
            body = {"level": feedback.level, "solved": feedback.solved}
            key = f"{known.plan.request.external_id}/rating-{round_}"
            await self._say(known, "rating", {**body, "comment": comment} if comment else body, key)
        self.room.ask_desk(known.case_no)

    async def _look_up(self, known: Accepted, looking: asyncio.Semaphore) -> None:
        """Look the case up until it is closed, as one does who left no address."""
        wait = _FIRST_LOOK_SECONDS
        while True:
            await asyncio.sleep(wait)
            wait = min(wait * 1.3, _LONGEST_LOOK_SECONDS)
            async with looking:
                answer = await self.lookup.get(f"/v1/cases/{known.case_no}", {_CODE: known.code})
            seen = answer.document
            self.room.counts["citizen.look_up"] += 1
            if seen.get("status") == "closed":
                return
            if seen.get("rating_awaited"):
                await self._speak(known, seen["round"])
            elif seen.get("status") in _ORDERED and _withdraws_later(known.plan):
                await self._withdraw(known)


def _withdraws_later(plan: Plan) -> bool:
    withdrawal = plan.request.path.withdrawal
    return withdrawal is not None and withdrawal.moment == "after_handoff"
