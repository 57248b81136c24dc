"""What the duty desk and the supervisors do in a history."""

from collections.abc import Sequence
from typing import Any

from contracts import triage as t
from contracts.lifecycle import Phase
from contracts.vocabulary import Answer, DeadlineKind, DecidedBy, Rating, Role, TaskKind
from tests.contract.acts import Act, Do, Options, result, when
from tests.contract.histories import DEPARTMENTS, DESK, Choose, History
from tests.contract.triage_rules import decision, finish, order, reopen, withdraw_orders

_O, _R, _S, _F, _C = Phase.OPEN, Phase.ORDERED, Phase.SETTLED, Phase.FINISHED, Phase.CLOSED


def _desk(of: type[t.CaseEvent], **fields: Any) -> Do:
    def do(history: History, _: None, choose: Choose) -> None:
        history.by_triage(of, history.command(), **fields)

    return do


def _reclassify(history: History, _: None, choose: Choose) -> None:
    decided = decision(choose, DecidedBy.PERSON)
    history.by_triage(t.CaseReclassified, history.command(), decision=decided)


def _judge(history: History, _: None, choose: Choose) -> None:
    decided = decision(choose, DecidedBy.PERSON)
    history.by_triage(
        t.CaseJudged,
        history.command(),
        person=choose(DESK),
        decision=decided,
        opinion=history.words("opinion"),
        clears=("judged",),
    )


def answer(history: History, _: None, choose: Choose) -> None:
    """The desk answers online."""
    history.by_triage(
        t.CaseAnswered,
        history.command(),
        answer=Answer(text=history.words("answer"), sources=("policy-1",)),
        person=choose(DESK),
        settles=history.case.tasks_of(),
    )


def _not_accept(history: History, _: None, choose: Choose) -> None:
    history.by_triage(
        t.CaseNotAccepted,
        history.command(),
        reason=history.words("reason"),
        instead=history.words("instead"),
        person=choose(DESK),
    )


def resolve_by_hand(history: History, _: None, choose: Choose) -> None:
    """The desk enters a result that came by telephone."""
    history.by_triage(
        t.CaseResolved, history.command(), result=result(history), person=choose(DESK)
    )


def _inquire(history: History, _: None, choose: Choose) -> None:
    history.by_triage(
        t.InquiryOpened,
        history.command(),
        inquiry_id=f"inquiry-{history.commands}",
        asked="renji township",
        by="telephone",
        person=choose(DESK),
        question=history.words("question"),
    )


def _answer_inquiry(history: History, inquiry_id: str, choose: Choose) -> None:
    history.by_triage(
        t.InquiryAnswered,
        history.command(),
        inquiry_id=inquiry_id,
        confirmed_by=history.words("confirmed by"),
        confirmed_at=history.now,
        text=history.words("confirmed"),
    )


def order_lead(history: History, _: None, choose: Choose) -> None:
    """The desk hands over, to one that has not returned the case."""
    left = [name for name in DEPARTMENTS if name not in history.case.returned_by]
    order(history, choose(left or DEPARTMENTS), Role.LEAD, history.command(), choose(DESK))


def _order_assist(history: History, department: str, choose: Choose) -> None:
    order(history, department, Role.ASSIST, history.command(), choose(DESK))


def _free(history: History) -> Sequence[str]:
    if not when(_O, _R)(history):
        return ()
    busy = {one.department for one in history.case.open_orders()}
    return tuple(name for name in DEPARTMENTS if name not in busy)


def _open_orders(history: History) -> Sequence[str]:
    return tuple(one.handoff_id for one in history.case.open_orders())


def _reroute(history: History, handoff_id: str, choose: Choose) -> None:
    history.by_triage(t.RecallOrdered, history.command(), handoff_id=handoff_id, ground="rerouted")


def _urge(history: History, handoff_id: str, choose: Choose) -> None:
    history.by_triage(
        t.CaseUrged, history.command(), handoff_id=handoff_id, text=history.words("urging")
    )


def _tasks(*kinds: TaskKind) -> Options:
    return lambda history: history.case.tasks_of(*kinds)


def _extension_tasks(history: History) -> Sequence[str]:
    return history.case.tasks_of(TaskKind.EXTENSION) if when(_O, _R)(history) else ()


def _decide_extension(history: History, task_id: str, choose: Choose) -> None:
    granted = choose((True, False))
    clock = history.clock(DeadlineKind.RESULT, history.case.versions, 8)
    history.by_triage(
        t.ExtensionDecided,
        history.command(),
        handoff_id=history.case.tasks[task_id].handoff_id,
        granted=granted,
        result_due_at=clock.due_at if granted else None,
        person=choose(DESK),
        settles=(task_id,),
        sets=(clock,) if granted else (),
    )


def _decide_withdrawal(history: History, task_id: str, choose: Choose) -> None:
    wish = history.case.tasks[task_id].wish or ""
    if history.case.phase in (_O, _R) and not history.case.withdrawing and choose((True, False)):
        withdraw_orders(history, history.command(), wish)
    else:
        history.by_triage(
            t.WithdrawalEnded,
            history.command(),
            wish=wish,
            ground="declined",
            person=choose(DESK),
            settles=(task_id,),
        )


def _settle(history: History, task_id: str, choose: Choose) -> None:
    history.by_triage(
        t.DeskSettled,
        history.command(),
        person=choose(DESK),
        note=history.words("note"),
        settles=(task_id,),
    )


def _supervise(history: History, _: None, choose: Choose) -> None:
    history.by_triage(
        t.SupervisionOrdered,
        history.command(),
        supervision_no=f"D{history.commands}",
        person="zhou",
        due_at=history.now,
        text=history.words("supervision"),
    )


def _unreplied(history: History) -> Sequence[str]:
    return tuple(no for no, replied in history.case.supervisions.items() if not replied)


def _reply_supervision(history: History, number: str, choose: Choose) -> None:
    history.by_triage(
        t.SupervisionReplied,
        history.command(),
        supervision_no=number,
        text=history.words("supervision reply"),
    )


def tell_by_telephone(history: History, _: None, choose: Choose) -> None:
    """A person of the desk tells the citizen what the channel did not take."""
    contacted = history.by_triage(
        t.CaseContacted,
        history.command(),
        person=choose(DESK),
        by="telephone",
        contacted_at=history.now,
        reached=True,
    )
    if history.case.phase == _S:
        finish(history, contacted)


def visit(history: History, _: None, choose: Choose) -> None:
    """A return visit: not reached, solved or not solved."""
    outcome = choose(("not reached", "solved", "not solved"))
    rating = Rating(level=4, solved=outcome == "solved", comment=history.words("visit"))
    cause = history.command()
    history.by_triage(
        t.CaseVisited,
        cause,
        person="visitor",
        by="telephone",
        visit=history.case.visits + 1,
        reached=outcome != "not reached",
        rating=None if outcome == "not reached" else rating,
    )
    if outcome == "solved":
        history.by_triage(t.CaseClosed, cause, ground="visited")
    elif outcome == "not solved" and history.case.round < 2:
        reopen(history, cause, "not_solved")


def _visitable(history: History) -> Sequence[None]:
    return when(_F)(history) if history.case.visits < 3 else ()


def _reopenable(history: History) -> Sequence[None]:
    return when(_F, _C)(history) if history.case.round < 2 else ()


def _working_orders(history: History) -> Sequence[str]:
    return _open_orders(history) if when(_O, _R)(history) else ()


not_reached = _desk(t.CaseClosed, ground="not_reached")
"""Closes the case after the last attempt at a visit."""

HANDS_OVER = (
    Act("order lead", when(_O), order_lead),
    Act("order assist", _free, _order_assist),
    Act("reroute", _working_orders, _reroute),
    Act("urge", _working_orders, _urge),
    Act("judge", when(_O, _R), _judge),
    Act("reclassify", when(_O, _R), _reclassify),
)
DECIDES = (
    Act("decide extension", _extension_tasks, _decide_extension),
    Act("decide withdrawal", _tasks(TaskKind.WITHDRAWAL), _decide_withdrawal),
    Act(
        "settle task",
        _tasks(TaskKind.CONFLICT, TaskKind.UNDELIVERABLE, TaskKind.QUESTION, TaskKind.SUPPLEMENT),
        _settle,
    ),
    Act("answer inquiry", lambda history: tuple(history.case.inquiries), _answer_inquiry),
    Act("reply to supervision", _unreplied, _reply_supervision),
    Act("visit", _visitable, visit),
)
ENDS_ROUND = (
    Act("answer", when(_O), answer),
    Act("not accept", when(_O), _not_accept),
    Act("resolve by hand", when(_O, _R), resolve_by_hand),
    Act("tell by telephone", when(_S, _F), tell_by_telephone),
    Act(
        "reopen",
        _reopenable,
        lambda history, _, choose: reopen(history, history.command(), "desk"),
    ),
    Act("close", when(_F), _desk(t.CaseClosed, ground="no_answer")),
)
LOOKS_ON = (
    Act("see", when(*Phase), _desk(t.CaseSeen, person="li")),
    Act("escalate", when(*Phase), _desk(t.CaseEscalated, level=1, ground="overdue")),
    Act("inquire", when(_O, _R), _inquire),
    Act("supervise", when(_O, _R, _S, _F), _supervise),
)
