"""What a clerk does next with a case: a pure function of what the desk shows and of the story.

Whatever the story did not foresee gets a sensible act of its own kind; nothing in the queue is left
lying, and every way leads to the end of the case.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from deploy.simulators.case_view import CaseShown, TaskShown
from deploy.simulators.plans import Plan
from deploy.simulators.room import PATIENCE_SECONDS, Grouped
from deploy.simulators.stories.story import Feedback

_BY_WORD = ("conflict", "supplement", "overdue", "question", "inquiry")
_WITH_VIEW = frozenset({"answer", "not-accept", "reclassify", "judge", "handoff", "accept-result"})


@dataclass(frozen=True, slots=True)
class Act:
    """A command of the desk: the last part of its address, and the form."""

    name: str
    form: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs_view(self) -> bool:
        """Whether it is refused if the case is another than the clerk saw."""
        return self.name in _WITH_VIEW


@dataclass(frozen=True, slots=True)
class Visit:
    """回访: the citizen is rung, with what the story lets them say."""

    feedback: Feedback


@dataclass(frozen=True, slots=True)
class Ring:
    """The department is rung about a hand-off that no machine could bring to it."""

    handoff_id: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing now; the clerk looks again later."""

    why: str


Step = Act | Visit | Ring | Wait | None
"""What to do next; None: nothing is to be done by the desk."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the clerk knows beside the case. `waited_seconds` since the desk first saw it."""

    now: datetime
    waited_seconds: float = 0.0
    is_signed: bool = False
    is_rated: bool = False
    is_silent: bool = False
    group: Grouped | None = None
    """None while the group of the case, if the story has one, is not formed yet."""
    fallback_department: str = ""

    @property
    def is_patient(self) -> bool:
        """Whether the clerk still waits for others."""
        return self.waited_seconds < PATIENCE_SECONDS


def next_step(case: CaseShown, plan: Plan | None, facts: Facts) -> Step:
    """Return what a clerk does next."""
    if case.task("withdrawal"):
        return Act("withdrawal", {"accepted": True})
    match case.phase:
        case "open":
            return _open(case, plan, facts)
        case "ordered":
            return _ordered(case, plan, facts)
        case "settled":
            return _settled(case)
        case "finished":
            return _finished(case, plan, facts)
        case _:
            return _by_word(case)


def _by_word(case: CaseShown, *more: str) -> Act | None:
    if case.task("erasure") is not None:
        return Act("erasure", {"accepted": True})
    task = case.task(*_BY_WORD, *more)
    if task is None:
        return None
    return Act("settle", {"task_id": task.task_id, "note": "已核实并告知相关人员。"})


def _open(case: CaseShown, plan: Plan | None, facts: Facts) -> Step:
    if case.task("judge"):
        return _judge(case, plan)
    if plan is None:
        return _generic(case, facts)
    correction = _correction(case, plan)
    if correction is not None:
        return correction
    waiting = _waits(case, plan, facts)
    if waiting is not None:
        return waiting
    if _is_follower(case, facts):
        return _by_word(case)
    refused = plan.request.path.not_accepted
    if refused is not None and case.round == 0:
        return Act("not-accept", {"reason": refused.reason, "instead": refused.instead})
    department = plan.target(case.round, case.returned_by)
    if department is not None:
        order = plan.order(case.round)
        assists = [one.department for one in order.assists] if order else []
        return Act("handoff", {"department": department, "assists": assists})
    return _answer(case, plan, facts)


def _waits(case: CaseShown, plan: Plan, facts: Facts) -> Wait | None:
    """What the story lets happen before the desk acts in the first round."""
    path = plan.request.path
    if case.round > 0 or not facts.is_patient:
        return None
    if path.withdrawal is not None and path.withdrawal.moment == "before_handoff":
        return Wait("the citizen is about to withdraw it")
    if len(case.supplements) < len(path.supplements):
        return Wait("the citizen is about to add something")
    if path.group is not None:
        if facts.group is None:
            return Wait("the group is not formed yet")
        if case.case_no in facts.group.members and case.group_id is None:
            return Wait("the case has not joined its group yet")
    return None


def _is_follower(case: CaseShown, facts: Facts) -> bool:
    return case.group_id is not None and (facts.group is None or facts.group.anchor != case.case_no)


def _judge(case: CaseShown, plan: Plan | None) -> Act:
    """研判. A danger that the rules saw and the story does not is put right here."""
    form: dict[str, Any] = {"opinion": "经研判，维持当前等级，按主办单位职责尽快办理。"}
    if plan is None:
        return Act("judge", form)
    judgement = plan.request.path.judgement
    category = plan.request.true_category
    if case.decision is not None and case.decision.category != category:
        form["category"] = category
    if judgement is not None:
        if case.round == 0:
            form |= {"opinion": judgement.opinion, "tier": "red", "cause": judgement.cause.value}
    elif case.round == 0 and not case.returned_by:
        is_handed_over = plan.target(0, ()) is not None
        form["opinion"] = "经研判，未见危急情形，调整等级后按常规办理。"
        form["tier"] = "orange" if is_handed_over else "blue"
    return Act("judge", form)


def _correction(case: CaseShown, plan: Plan) -> Act | None:
    """改类: the classifier's category, or a red case that it did not see."""
    decision, judgement = case.decision, plan.request.path.judgement
    if decision is None:
        return None
    changes: dict[str, Any] = {}
    if decision.category != plan.request.true_category:
        changes["category"] = plan.request.true_category
    if decision.region is None:
        changes["region"] = plan.request.region
    if judgement is not None and case.round == 0 and decision.tier != "red":
        changes |= {"tier": "red", "cause": judgement.cause.value}
    if not changes:
        return None
    return Act("reclassify", {**changes, "why": "值班人员看过原文后更正。"})


def _answer(case: CaseShown, plan: Plan, facts: Facts) -> Act:
    """答复, after an inquiry (征询) where the story has one."""
    played = plan.round(case.round)
    if played is None or played.answer is None:
        return _generic(case, facts)
    form: dict[str, Any] = {"text": played.answer, "sources": list(played.quotes)}
    inquiry = played.inquiry
    if inquiry is None:
        return Act("answer", form)
    if len(case.inquiries) < plan.inquiries_until(case.round):
        return Act(
            "inquire", {"asked": inquiry.asked, "by": inquiry.by, "question": inquiry.question}
        )
    asked = case.inquiries[-1]
    if asked.confirmed_at is None:
        return Act(
            "inquiry-answer",
            {
                "inquiry_id": asked.inquiry_id,
                "confirmed_by": inquiry.asked,
                "confirmed_at": facts.now.isoformat(),
                "text": inquiry.reply,
            },
        )
    return Act("answer", {**form, "inquiry_id": asked.inquiry_id})


def _generic(case: CaseShown, facts: Facts) -> Act:
    """A case without a story: consultations are answered, all else goes to a department."""
    decision = case.decision
    is_question = decision is not None and decision.kind == "consult" and decision.tier != "red"
    if is_question and not case.task("returned", "reopened"):
        text = "您反映的问题已经查清，请按现行规定办理；有不清楚的地方，随时告诉我们。"
        return Act("answer", {"text": text})
    lead = decision.lead if decision is not None else None
    if lead is None or lead in case.returned_by:
        lead = facts.fallback_department
    return Act("handoff", {"department": lead})


def _ordered(case: CaseShown, plan: Plan | None, facts: Facts) -> Step:
    if case.task("judge"):
        return _judge(case, plan)
    if plan is not None and not case.withdrawing:
        step = _correction(case, plan) or _reroute(case, plan)
        if step is not None:
            return step
    task = case.task("extension", "hollow", "undeliverable")
    if task is not None:
        return _about_department(case, plan, facts, task)
    settled = _by_word(case)
    if settled is not None:
        return settled
    urgings = plan.request.path.urgings if plan is not None else ()
    if facts.is_signed and not case.withdrawing and case.urgings < len(urgings):
        return Act("urge", {"text": urgings[case.urgings]})
    return None


def _reroute(case: CaseShown, plan: Plan) -> Act | None:
    """A hand-off that the rules gave to another department than the story: give it anew."""
    order, lead = plan.order(case.round), case.lead
    if order is None or lead is None:
        return None
    target = plan.target(case.round, case.returned_by)
    if target is None or target == lead.department or target in case.returned_by:
        return None
    assists = [one.department for one in order.assists if one.department != target]
    return Act("handoff", {"department": target, "assists": assists})


def _about_department(
    case: CaseShown, plan: Plan | None, facts: Facts, task: TaskShown
) -> Act | Ring | None:
    if task.kind == "extension":
        order = plan.order(case.round) if plan is not None else None
        hours = order.extension.hours if order is not None and order.extension is not None else 12
        until = max(facts.now, case.told_due_at or facts.now) + timedelta(hours=hours)
        return Act("extension", {"handoff_id": task.handoff_id, "until": until.isoformat()})
    if task.kind == "hollow":
        text = task.note or "已由承办单位办理。"
        acts = "值班人员已向承办单位核实"
        return Act(
            "accept-result",
            {"text": text, "acts": acts, "acted_at": facts.now.isoformat(), "contact": "值班席"},
        )
    return Ring(task.handoff_id) if task.handoff_id is not None else None


def _settled(case: CaseShown) -> Step:
    if case.task("undeliverable"):
        return Act("contact", {"by": "telephone", "reached": True})
    return _by_word(case)


def _finished(case: CaseShown, plan: Plan | None, facts: Facts) -> Step:
    settled = _by_word(case)
    if settled is not None:
        return settled
    feedback = plan.feedback(case.round) if plan is not None else _CONTENT
    if case.task("visit") or facts.is_silent:
        is_spoken_for = facts.is_rated or facts.is_silent or plan is None
        if not is_spoken_for and facts.is_patient:
            return Wait("the citizen's own rating comes first")
        if feedback.solved is False and facts.is_rated:
            return Wait("the case is about to be opened again")
        return Visit(feedback)
    return _by_word(case, "dissatisfied")


_CONTENT = Feedback(by="visit", attempts=1, level=5, solved=True)
