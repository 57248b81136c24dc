"""Commands of the duty desk. Each is decided against the case as it stands, or not possible."""

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from contracts.envelope import Event
from contracts.ids import derived_id
from contracts.lifecycle import CaseDocument, Phase, deadline_name
from contracts.triage import (
    CaseAnswered,
    CaseContacted,
    CaseJudged,
    CaseNotAccepted,
    CaseReclassified,
    CaseSeen,
    CaseUrged,
    CaseVisited,
    DeskSettled,
    ExtensionDecided,
    InquiryAnswered,
    InquiryOpened,
    SupervisionOrdered,
    SupervisionReplied,
    WishDeclined,
    WithdrawalEnded,
)
from contracts.vocabulary import (
    Answer,
    Deadline,
    DeadlineKind,
    DecidedBy,
    Decision,
    DeskTask,
    Rating,
    Reason,
    Result,
    TaskKind,
    Tier,
)
from services.chassis.kept import Kept
from services.triage.domain.answers import accept_result
from services.triage.domain.occasion import NotPossible, Occasion, citizens_clocks, clock, running
from services.triage.domain.opening import tasks_for
from services.triage.domain.orders import hand_off
from services.triage.domain.rounds import after_word, close, erase, finish
from services.triage.domain.wishes import withdraw

Act = Callable[[Occasion, Kept[CaseDocument]], list[Event]]
"""One command, bound to what the person said."""

Means = Literal["telephone", "channel", "in_person"]
INQUIRY_MINUTES = 60.0
"""An inquiry's own short clock."""
_FIRST_LOOK = (
    TaskKind.ANSWER,
    TaskKind.CLASSIFY,
    TaskKind.ROUTE,
    TaskKind.SUPPLEMENT,
    TaskKind.CONFLICT,
)


def see(occasion: Occasion, kept: Kept[CaseDocument], person: str) -> list[Event]:
    """A person looks at the case: the clock of seeing stops."""
    case = kept.document
    if case.seen_at is not None and not running(case, DeadlineKind.SEEN):
        return []
    cleared = running(case, DeadlineKind.SEEN)
    return [occasion.record(kept, CaseSeen, person=person, clears=cleared)]


def answer(
    occasion: Occasion,
    kept: Kept[CaseDocument],
    person: str,
    text: str,
    sources: tuple[str, ...] = (),
    inquiry_id: str | None = None,
) -> list[Event]:
    """Answer online. With an inquiry the answer quotes who confirmed it, and when."""
    case = kept.document
    if inquiry_id is not None:
        inquiry = case.inquiries.get(inquiry_id)
        if inquiry is None or inquiry.confirmed_at is None:
            raise NotPossible("这次征询还没有答复")
    return [
        occasion.record(
            kept,
            CaseAnswered,
            answer=Answer(text=text, sources=sources, inquiry_id=inquiry_id),
            person=person,
            settles=case.tasks_of(),
            ends=tuple(order.handoff_id for order in case.open_orders()),
            clears=_all_but_told(case),
        )
    ]


def not_accept(
    occasion: Occasion, kept: Kept[CaseDocument], person: str, reason: str, instead: str
) -> list[Event]:
    """不予受理: why, and where to go instead."""
    case = kept.document
    return [
        occasion.record(
            kept,
            CaseNotAccepted,
            reason=reason,
            instead=instead,
            person=person,
            settles=case.tasks_of(),
            ends=tuple(order.handoff_id for order in case.open_orders()),
            clears=_all_but_told(case),
        )
    ]


def inquire(
    occasion: Occasion,
    kept: Kept[CaseDocument],
    person: str,
    asked: str,
    by: Literal["telephone", "message"],
    question: str,
) -> list[Event]:
    """征询: ask a department or township, with a short clock of its own."""
    case = kept.document
    inquiry_id = derived_id("inquiry", case.case_no, occasion.cause)
    due = clock(
        case, DeadlineKind.INQUIRY, occasion.now, INQUIRY_MINUTES, near_share=0.75, of=inquiry_id
    )
    return [
        occasion.record(
            kept,
            InquiryOpened,
            inquiry_id=inquiry_id,
            asked=asked,
            by=by,
            person=person,
            question=question,
            sets=(due,),
            clears=running(case, DeadlineKind.SEEN),
        )
    ]


def inquiry_answered(
    occasion: Occasion,
    kept: Kept[CaseDocument],
    inquiry_id: str,
    confirmed_by: str,
    confirmed_at: datetime,
    text: str,
) -> list[Event]:
    """Record who confirmed what, and when."""
    case = kept.document
    if inquiry_id not in case.inquiries:
        raise NotPossible("没有这次征询")
    tasks = tuple(i for i, task in case.tasks.items() if task.inquiry_id == inquiry_id)
    return [
        occasion.record(
            kept,
            InquiryAnswered,
            inquiry_id=inquiry_id,
            confirmed_by=confirmed_by,
            confirmed_at=confirmed_at,
            text=text,
            settles=tasks,
            clears=(deadline_name(DeadlineKind.INQUIRY, inquiry_id),),
        )
    ]


def changed_decision(
    occasion: Occasion, case: CaseDocument, person: str, why: str, **changes: object
) -> Decision:
    """Return the case's decision as a person changes it, with the route that follows from it."""
    if case.decision is None:
        raise NotPossible("这件还没有分类可改")
    decision = case.decision.model_copy(
        update={
            **{name: value for name, value in changes.items() if value is not None},
            "decided_by": DecidedBy.PERSON,
            "person": person,
            "category_confidence": 1.0,
        }
    )
    if decision.tier != Tier.RED:
        decision = decision.model_copy(update={"cause": None})
    plan = occasion.profile.plan_for(
        decision.category,
        decision.region,
        decision.hotline if decision.hotline != "none" else None,
        decision.needs,
        decision.kind.value,
    )
    reason = Reason(source=f"person:{person}", version=decision.profile, why=why)
    return decision.model_copy(
        update={
            "lead": plan.lead if plan else None,
            "assists": plan.assist if plan else (),
            "reasons": (*decision.reasons, reason),
        }
    )


def reclassify(
    occasion: Occasion, kept: Kept[CaseDocument], person: str, why: str, **changes: object
) -> list[Event]:
    """Set category, tier, kind, hotline or region; the tasks and clocks that follow are opened."""
    case = kept.document
    decision = changed_decision(occasion, case, person, why, **changes)
    is_ordered = case.phase == Phase.ORDERED
    tasks = () if is_ordered else tasks_for(occasion, case.case_no, decision)
    if not is_ordered and not tasks:  # a person is here already: the hand-off is theirs to give
        tasks = (occasion.task(case.case_no, TaskKind.ROUTE),)
    clocks: tuple[Deadline, ...] = ()
    if decision.tier != case.tier and case.accepted_at is not None:
        clocks = citizens_clocks(
            case, occasion.profile, decision.tier, case.accepted_at, waits_for_desk=False
        )
        if is_ordered:
            clocks = tuple(c for c in clocks if c.kind == DeadlineKind.TOLD)
    return [
        occasion.record(
            kept,
            CaseReclassified,
            decision=decision,
            opens=tasks,
            settles=case.tasks_of(*_FIRST_LOOK),
            sets=clocks,
            clears=running(case, DeadlineKind.SEEN),
        )
    ]


def judge(
    occasion: Occasion,
    kept: Kept[CaseDocument],
    person: str,
    opinion: str,
    lead: str | None = None,
    assists: tuple[str, ...] = (),
    **changes: object,
) -> list[Event]:
    """研判 a red case: confirm it or not, and hand it over inside its hour."""
    case = kept.document
    if not case.tasks_of(TaskKind.JUDGE) and case.tier != Tier.RED:
        raise NotPossible("只有红色等级的办件需要研判")
    decision = changed_decision(occasion, case, person, opinion, **changes)
    is_ordered = case.phase == Phase.ORDERED
    opens: tuple[DeskTask, ...] = ()
    if not is_ordered and lead is None:
        follow = tasks_for(occasion, case.case_no, decision)
        opens = tuple(task for task in follow if task.kind != TaskKind.JUDGE)
        opens = opens or (occasion.task(case.case_no, TaskKind.ROUTE),)
    events = [
        occasion.record(
            kept,
            CaseJudged,
            person=person,
            decision=decision,
            opinion=opinion,
            settles=case.tasks_of(TaskKind.JUDGE, TaskKind.CLASSIFY),
            opens=opens,
            clears=running(case, DeadlineKind.JUDGED, DeadlineKind.SEEN),
        )
    ]
    if lead is not None:
        events += hand_off(occasion, kept, lead, assists, person=person, note=opinion)
    return events


def give(
    occasion: Occasion,
    kept: Kept[CaseDocument],
    person: str,
    department: str,
    assists: tuple[str, ...] = (),
    note: str | None = None,
) -> list[Event]:
    """交办. After the profile's number of returns the desk's order binds (指派)."""
    case = kept.document
    binding = case.returns >= occasion.profile.rules.returns_cap
    return hand_off(
        occasion,
        kept,
        department,
        assists,
        person=person,
        note=note,
        binding=binding,
        settles=case.tasks_of(*_FIRST_LOOK, TaskKind.HOLLOW, TaskKind.OVERDUE),
    )


def urge(
    occasion: Occasion, kept: Kept[CaseDocument], person: str, text: str | None
) -> list[Event]:
    """催办 the leading department."""
    order = kept.document.lead_order()
    if order is None:
        raise NotPossible("目前没有部门在办这件")
    return [occasion.record(kept, CaseUrged, handoff_id=order.handoff_id, person=person, text=text)]


def decide_extension(
    occasion: Occasion,
    kept: Kept[CaseDocument],
    person: str,
    handoff_id: str,
    until: datetime | None,
) -> list[Event]:
    """延期: grant until a time, or decline (None)."""
    case = kept.document
    tasks = tuple(
        i
        for i, task in case.tasks.items()
        if task.kind == TaskKind.EXTENSION and task.handoff_id == handoff_id
    )
    if not tasks:
        raise NotPossible("没有部门为这次交办申请延期")
    return [
        occasion.record(
            kept,
            ExtensionDecided,
            handoff_id=handoff_id,
            granted=until is not None,
            result_due_at=until,
            person=person,
            settles=tasks,
        )
    ]


def decide_withdrawal(
    occasion: Occasion, kept: Kept[CaseDocument], person: str, accepted: bool
) -> list[Event]:
    """A red case's withdrawal is decided by a person."""
    case = kept.document
    tasks = [task for task in case.tasks.values() if task.kind == TaskKind.WITHDRAWAL]
    if not tasks or tasks[0].wish is None:
        raise NotPossible("没有人申请撤回这件")
    if accepted:
        return withdraw(occasion, kept, tasks[0].wish, person)
    return [
        occasion.record(
            kept,
            WithdrawalEnded,
            wish=tasks[0].wish,
            ground="declined",
            person=person,
            settles=(tasks[0].task_id,),
        )
    ]


def decide_erasure(
    occasion: Occasion, kept: Kept[CaseDocument], person: str, accepted: bool
) -> list[Event]:
    """清除个人信息: whether what is personal goes now, from a case that is still handled."""
    case = kept.document
    asked = [task for task in case.tasks.values() if task.kind == TaskKind.ERASURE]
    if not asked:
        raise NotPossible("没有人申请清除这件的个人信息")
    if accepted:
        return [erase(occasion, kept, f"desk:{person}")]
    return [
        occasion.record(
            kept, WishDeclined, wish=task.wish or "", ground="handled", settles=(task.task_id,)
        )
        for task in asked
    ]


def accept_hollow(
    occasion: Occasion, kept: Kept[CaseDocument], person: str, result: Result
) -> list[Event]:
    """The desk agrees to a result that looked hollow, in the words that the citizen is told."""
    case = kept.document
    order = case.lead_order()
    if order is None or not case.tasks_of(TaskKind.HOLLOW):
        raise NotPossible("没有待认可的办理结果")
    return [accept_result(occasion, kept, order, result, person)]


def visit(
    occasion: Occasion,
    kept: Kept[CaseDocument],
    person: str,
    by: Means,
    rating: Rating | None,
) -> list[Event]:
    """回访, never by whoever handled the case; after the profile's attempts: not reached."""
    case = kept.document
    if case.phase != Phase.FINISHED:
        raise NotPossible("办结之后才能回访")
    if person in case.handled_by:
        raise NotPossible("经办人不能回访自己经办的件")
    attempt = case.visits + 1
    is_last = attempt >= occasion.profile.rules.visit_attempts
    done = rating is not None or is_last
    events = [
        occasion.record(
            kept,
            CaseVisited,
            person=person,
            by=by,
            visit=attempt,
            reached=rating is not None,
            rating=rating,
            settles=case.tasks_of(TaskKind.VISIT, TaskKind.DISSATISFIED) if done else (),
        )
    ]
    if rating is not None:
        events += after_word(occasion, kept, rating, by_person=True)
    elif is_last:
        events += close(occasion, kept, "not_reached")
    return events


def contact(
    occasion: Occasion, kept: Kept[CaseDocument], person: str, by: Means, reached: bool
) -> list[Event]:
    """Ring the citizen. Where the channel did not take the outcome, this tells it."""
    case = kept.document
    event = occasion.record(
        kept,
        CaseContacted,
        person=person,
        by=by,
        contacted_at=occasion.now,
        reached=reached,
        settles=case.tasks_of(TaskKind.UNDELIVERABLE) if reached else (),
    )
    events = [event]
    if reached and case.phase == Phase.SETTLED:
        events += finish(occasion, kept, event.id)
    return events


def supervise(
    occasion: Occasion, kept: Kept[CaseDocument], person: str, text: str, due_at: datetime
) -> list[Event]:
    """督办: an order with its own number and deadline."""
    case = kept.document
    number = f"DB-{case.case_no[:6]}-{len(case.supervisions) + 1}"
    order = case.lead_order()
    return [
        occasion.record(
            kept,
            SupervisionOrdered,
            supervision_no=number,
            person=person,
            handoff_id=order.handoff_id if order else None,
            due_at=due_at,
            text=text,
        )
    ]


def supervision_replied(
    occasion: Occasion, kept: Kept[CaseDocument], supervision_no: str, text: str
) -> list[Event]:
    """The reply to a supervision order."""
    if kept.document.supervisions.get(supervision_no) is not False:
        raise NotPossible("没有这个编号的未回复督办单")
    return [occasion.record(kept, SupervisionReplied, supervision_no=supervision_no, text=text)]


def settle(
    occasion: Occasion, kept: Kept[CaseDocument], person: str, task_id: str, note: str
) -> list[Event]:
    """Deal with a task that needs no other act; a dissatisfied citizen's case is closed by it."""
    case = kept.document
    task = case.tasks.get(task_id)
    if task is None:
        raise NotPossible("没有这项待办")
    if task.kind not in _SETTLED_BY_WORD:
        raise NotPossible(f"“{task.kind}”类待办要用相应的操作来处理")
    events = [occasion.record(kept, DeskSettled, person=person, note=note, settles=(task_id,))]
    was_the_last = not case.tasks_of(TaskKind.DISSATISFIED, TaskKind.VISIT)
    if task.kind == TaskKind.DISSATISFIED and case.phase == Phase.FINISHED and was_the_last:
        events += close(occasion, kept, "rated")
    if case.phase == Phase.OPEN and not case.tasks_of() and case.membership is None:
        raise NotPossible("这样这件就没有人管了，请答复或交办")
    return events


_SETTLED_BY_WORD = frozenset(
    {
        TaskKind.DISSATISFIED,
        TaskKind.CONFLICT,
        TaskKind.SUPPLEMENT,
        TaskKind.OVERDUE,
        TaskKind.QUESTION,
        TaskKind.INQUIRY,
        TaskKind.UNDELIVERABLE,
    }
)


def _all_but_told(case: CaseDocument) -> tuple[str, ...]:
    told = set(running(case, DeadlineKind.TOLD))
    return tuple(name for name in running(case) if name not in told)
