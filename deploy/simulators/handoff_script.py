"""What a department does with a hand-off, step by step: a pure function of it and of the story."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from contracts.feeds import FeedHandoff
from deploy.simulators.plans import Plan
from deploy.simulators.stories.story import PathKind, StoryResult

Awaited = Literal["checked", "urged", "extended", "assisted", "ended"]
_ANYBODY_ELSE = ("policy-desk", "community")
_PERSON = "经办人（模拟）"


@dataclass(frozen=True, slots=True)
class Say:
    """A reply to the platform. `reply_id` is the same whenever the hand-off is played."""

    act: str
    reply_id: str
    body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Until:
    """Wait for somebody else: for the desk to have looked, urged or extended; for the assisting
    departments; or for the end of the hand-off, which a citizen is about to withdraw."""

    what: Awaited


Step = Say | Until


def script_of(handoff: FeedHandoff, plan: Plan | None, now: datetime) -> list[Step]:
    """Return what a department does with a hand-off that has just come."""
    if plan is None:
        return [_sign(), _result(_generic(now))]
    if handoff.role == "assist":
        result = plan.result(handoff.round, handoff.department, assists=True)
        return [_sign(), _result(result or _generic(now))]
    returned = _return(handoff, plan)
    if returned is not None:
        return [Until("checked"), returned]
    if plan.request.path.withdrawal is not None and handoff.round == 0:
        return [Until("ended"), _sign(), _result(_generic(now))]
    return [Until("checked"), *_handle(handoff, plan, now)]


def _handle(handoff: FeedHandoff, plan: Plan, now: datetime) -> list[Step]:
    """Sign, ring the citizen, report how far it is, ask for more time, bring the result."""
    order = plan.order(handoff.round)
    steps: list[Step] = [_sign()]
    if order is not None and order.contacted:
        steps.append(_contacted(now))
    if order is not None:
        steps += [
            Say("progress", f"progress-{number}", {"text": text, "person": _PERSON})
            for number, text in enumerate(order.progress, start=1)
        ]
        if order.extension is not None:
            steps += [_extension(handoff, order.extension.reason, order.extension.hours, now)]
            steps += [Until("extended")]
        if order.assists:
            steps.append(Until("assisted"))
    if plan.request.path.urgings and handoff.round == 0:
        steps.append(Until("urged"))
    result = plan.result(handoff.round, handoff.department, assists=False)
    return [*steps, _result(result or _answered(plan, handoff, now))]


def _return(handoff: FeedHandoff, plan: Plan) -> Say | None:
    """退单, where the story has it; and of what the channel will not accept at all."""
    own = handoff.department
    if handoff.binding or own in handoff.returned_by:
        return None
    order = plan.order(handoff.round)
    for turned in order.returns if order is not None else ():
        if turned.by == own:
            return _say_return(turned.ground, turned.proper)
    if plan.request.path.kind is PathKind.NOT_ACCEPTED and handoff.round == 0:
        other = next(code for code in _ANYBODY_ELSE if code != own)
        return _say_return("经核实不属于本单位职责范围，请值班席统筹答复。", other)
    return None


def _say_return(ground: str, proper: str) -> Say:
    return Say(
        "return", "return", {"ground": ground, "proper_department": proper, "person": _PERSON}
    )


def _sign() -> Say:
    return Say("sign", "sign", {"person": _PERSON})


def _contacted(now: datetime) -> Say:
    said = {"by": "telephone", "contacted_at": now.isoformat(), "reached": True}
    return Say("contacted", "contacted", {**said, "person": _PERSON})


def _extension(handoff: FeedHandoff, reason: str, hours: int, now: datetime) -> Say:
    due_at = max(now, handoff.result_due_at or now) + timedelta(hours=hours)
    said = {"ground": reason, "result_due_at": due_at.isoformat()}
    return Say("extension", "extension", {**said, "person": _PERSON})


def _result(result: StoryResult) -> Say:
    said = result.model_dump(mode="json")
    return Say("result", "result", {**said, "person": _PERSON})


def _answered(plan: Plan, handoff: FeedHandoff, now: datetime) -> StoryResult:
    """What the desk would have answered, told by the department that got the case instead."""
    answer = plan.answer(handoff.round)
    if answer is None:
        return _generic(now)
    return StoryResult(text=answer, acts="电话答复市民", acted_at=now, contact="值班电话12345")


def _generic(now: datetime) -> StoryResult:
    return StoryResult(
        text="已派人到场核实并办理完毕，当面告知了本人。",
        acts="派人到场核实并办理",
        acted_at=now,
        contact="值班电话12345",
    )
