"""The state machine, told by single histories: one thing a test."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from contracts import handling as h
from contracts import requests as r
from contracts import triage as t
from contracts.envelope import Event, decode, event_types
from contracts.lifecycle import (
    ALLOWED,
    CaseDocument,
    CaseState,
    OutOfSequence,
    Phase,
    Status,
    deadline_name,
    next_lc,
    refusal,
    state_of,
)
from contracts.vocabulary import Answer, DeadlineKind, DecidedBy, Decision, Kind, Result, Role, Tier
from tests.contract.histories import History, case_number


def _decision(tier: Tier = Tier.ORANGE) -> Decision:
    return Decision(
        category="medical",
        category_confidence=1,
        tier=tier,
        kind=Kind.ACTION,
        decided_by=DecidedBy.RULES,
        profile="zhoukou@1",
    )


def _submitted() -> tuple[History, Event]:
    history = History(case_number(1))
    submission = history.by_intake(
        r.RequestSubmitted,
        request=history.content(),
        body_digest="0" * 64,
        accepted_at=history.now,
        code_version=1,
        profile="zhoukou@1",
    )
    return history, submission


def _opened() -> History:
    history, submission = _submitted()
    history.by_triage(
        t.CaseOpened,
        submission,
        submission_id=submission.id,
        accepted_at=history.now,
        request=history.content(),
        decision=_decision(),
        sets=(history.clock(DeadlineKind.TOLD, {}, 3),),
    )
    return history


def _order(history: History, department: str = "health", role: Role = Role.LEAD) -> t.HandoffOrder:
    order = t.HandoffOrder(
        handoff_id=f"{role}-{department}-{len(history.case.orders)}",
        department=department,
        role=role,
        attempt=history.case.next_attempt(role, department),
        category="medical",
        tier=Tier.ORANGE,
        request=history.content(),
    )
    history.by_triage(
        t.HandoffOrdered,
        history.command(),
        handoff_id=order.handoff_id,
        role=role,
        attempt=order.attempt,
        order=order,
    )
    return order


def _sent(history: History, order: t.HandoffOrder) -> Event:
    return history.by_handoff(h.HandoffSent, order, history.events[-1], by="feed", order=order)


def _answer(history: History) -> Event:
    return history.by_triage(
        t.CaseAnswered, history.command(), answer=Answer(text="words"), person="li"
    )


def _tell(history: History, told: Event) -> Event:
    return history.by_delivery(
        h.CitizenTold, f"d-{told.id}", told, tells=told.id, step="answered", by="lookup",
        told_at=history.now, attempts=0,
    )  # fmt: skip


def _finish(history: History, outcome: Event) -> None:
    told = _tell(history, outcome)
    history.by_triage(t.CaseFinished, told, told=told.id, finished_at=history.now)


def _state(history: History) -> CaseState:
    return state_of(history.case_no, history.events)


def test_a_submission_alone_is_submitted_and_waits() -> None:
    history, submission = _submitted()
    state = _state(history)
    assert state.status == Status.SUBMITTED
    assert state.submission == submission.data
    assert state.open_wishes == (submission.id,)
    assert state.is_complete


def test_nothing_at_all_is_a_state_too() -> None:
    assert state_of(case_number(1), []).status == Status.SUBMITTED


def test_answered_online() -> None:
    history = _opened()
    assert _state(history).status == Status.TRIAGED
    answer = _answer(history)
    assert _state(history).status == Status.ANSWERED
    _finish(history, answer)
    assert _state(history).status == Status.FINISHED
    history.by_triage(t.CaseClosed, history.command(), ground="visited")
    assert _state(history).status == Status.CLOSED
    assert _state(history).is_complete


def test_the_status_follows_the_leading_handoff() -> None:
    history = _opened()
    order = _order(history)
    assert _state(history).status == Status.ORDERED
    assert _state(history).incomplete == (f"hand-off {order.handoff_id} is not seen",)
    _sent(history, order)
    assert _state(history).status == Status.SENT
    history.by_handoff(h.HandoffSigned, order, "reply:health:x:1", reply_id="1")
    assert _state(history).status == Status.SIGNED
    history.by_handoff(h.HandoffProgressed, order, "reply:health:x:2", reply_id="2")
    assert _state(history).status == Status.IN_PROGRESS
    done = history.by_handoff(
        h.HandoffResolved, order, "reply:health:x:3", reply_id="3", result=Result(text="done")
    )
    history.by_triage(t.CaseResolved, done, handoff_id=order.handoff_id, result=Result(text="done"))
    assert _state(history).status == Status.RESOLVED


def test_a_leads_return_leaves_the_assists_which_can_still_return_and_be_recalled() -> None:
    history = _opened()
    lead, assist = _order(history), _order(history, "transport", Role.ASSIST)
    returned = _sent(history, lead)
    _sent(history, assist)
    history.by_triage(
        t.CaseReturned, returned, handoff_id=lead.handoff_id, department="health", returns=1
    )
    assert history.case.phase == Phase.OPEN
    assert [order.handoff_id for order in history.case.open_orders()] == [assist.handoff_id]
    for event_type in ("case.returned", "handoff.recall_ordered", "case.withdrawing"):
        assert refusal(history.case, event_type) is None


def test_an_answer_ends_what_still_assists() -> None:
    history = _opened()
    _order(history, "transport", Role.ASSIST)
    _answer(history)
    assert [order.ended for order in history.case.orders.values()] == ["not_needed"]


def test_attempts_count_the_orders_of_one_role_and_department_in_one_round() -> None:
    history = _opened()
    first = _order(history)
    history.by_triage(
        t.RecallOrdered, history.command(), handoff_id=first.handoff_id, ground="rerouted"
    )
    assert history.case.next_attempt(Role.LEAD, "health") == 2
    assert history.case.next_attempt(Role.LEAD, "transport") == 1
    assert history.case.next_attempt(Role.ASSIST, "health") == 1


def test_a_reopening_begins_a_round_and_keeps_the_first_deadlines() -> None:
    history = _opened()
    first = history.case.deadlines["told"]
    _finish(history, _answer(history))
    later = history.clock(DeadlineKind.TOLD, history.case.versions, 8)
    history.by_triage(
        t.CaseReopened, history.command(), round=1, tier=Tier.RED, ground="desk", sets=(later,)
    )
    case = history.case
    assert (case.phase, case.round, case.tier) == (Phase.OPEN, 1, Tier.RED)
    assert case.deadlines["told"] == later
    assert case.first_deadlines["told"] == first
    assert later.version == 2
    assert [finish.round for finish in case.finishes] == [0]
    assert _state(history).status == Status.TRIAGED


def test_a_withdrawal_stands_until_every_order_is_taken_back() -> None:
    history = _opened()
    order = _order(history)
    _sent(history, order)
    wish = history.by_intake(r.WithdrawalRequested)
    assert _state(history).open_wishes == (wish.id,)
    history.by_triage(t.CaseWithdrawing, wish, wish=wish.id, handoff_ids=(order.handoff_id,))
    assert _state(history).status == Status.WITHDRAWING
    recalled = history.by_handoff(h.HandoffRecalled, order, history.events[-1], ground="withdrawal")
    history.by_triage(t.CaseWithdrawn, recalled, wish=wish.id)
    state = _state(history)
    assert state.status == Status.WITHDRAWN
    assert state.open_wishes == ()
    assert history.case.open_orders() == []


def test_a_wish_is_answered_also_by_a_type_that_the_reader_does_not_know() -> None:
    history = _opened()
    wish = history.by_intake(r.SupplementGiven)
    known = history.by_triage(t.CaseSupplemented, wish)
    unknown = decode("case.invented_later", known.id, known.encoded)
    state = state_of(history.case_no, [*history.events[:-1], unknown])
    assert state.open_wishes == ()
    assert state.unknown_types == ("case.invented_later",)
    assert state.is_complete
    assert state.case is not None
    assert state.case.seq == 2


def test_a_deadline_that_fired_near_still_runs_and_one_that_was_missed_does_not() -> None:
    history = _opened()
    for firing, runs in (("near", True), ("missed", False)):
        deadline = history.case.deadlines["told"]
        history.by_triage(
            t.CaseDeadlineFired,
            f"deadline:{history.case_no}:told:1:{firing}",
            name="told",
            firing=firing,
            due_at=deadline.due_at,
        )
        assert ("told" in history.case.deadlines) is runs
    assert history.case.fired == [(0, "told", "near"), (0, "told", "missed")]


def test_two_contents_under_one_id_are_counted_and_one_is_chosen() -> None:
    history, submission = _submitted()
    other = decode(submission.type, submission.id, submission.encoded.replace(b"text", b"TEXT"))
    orders = ([submission, other], [other, submission], [submission, other, submission])
    states = [state_of(history.case_no, order) for order in orders]
    assert states[0] == states[1] == states[2]
    assert states[0].double == (f"event {submission.id} has two contents",)


def test_words_that_intake_took_twice_are_no_two_contents_and_the_first_time_counts() -> None:
    history, submission = _submitted()
    later = submission.data.recorded_at + timedelta(seconds=5)
    moments = {"recorded_at": later, "accepted_at": later}
    again = Event.of(submission.id, submission.data.model_copy(update=moments))
    assert again.encoded != submission.encoded
    for order in ([submission, again], [again, submission]):
        state = state_of(history.case_no, order)
        assert state.double == ()
        assert state.timeline == (submission,)


def test_two_contents_are_no_matter_any_more_once_both_are_redacted() -> None:
    history, submission = _submitted()
    other = decode(submission.type, submission.id, submission.encoded.replace(b"text", b"TEXT"))
    redacted = submission.redacted()
    for order in ([submission, other, redacted], [submission, redacted, other], [redacted]):
        state = state_of(history.case_no, order)
        assert state.double == ()
        assert state.timeline == (redacted,)


def test_two_events_of_one_seq_are_counted() -> None:
    history = _opened()
    seen = history.by_triage(t.CaseSeen, history.command(), person="li")
    twin = replace(seen, id="00000000-0000-0000-0000-000000000000")
    one, two = _state(history), state_of(history.case_no, [twin, *history.events])
    assert one.double == ()
    assert two.double == (f"document {history.case_no} has two events of seq 2",)


def test_events_of_triage_without_the_opening_are_incomplete() -> None:
    history = _opened()
    order = _order(history)
    sent = _sent(history, order)
    assert "the opening of the case is not seen" in state_of(history.case_no, [sent]).incomplete


def test_the_anchors_group_is_missed_but_not_another_cases() -> None:
    for anchor, is_missed in ((case_number(1), True), (case_number(2), False)):
        history = _opened()
        fields: dict[str, Any] = {"group_id": "g", "group_version": 1, "kind": "same_event"}
        history.by_triage(t.CaseJoinedGroup, "group:g:1", anchor=anchor, size=2, **fields)
        assert bool(_state(history).incomplete) is is_missed


def test_documents_take_only_the_next_event() -> None:
    history = _opened()
    document = CaseDocument(history.case_no, history.case_no)
    document.apply(history.events[1])
    assert document.has_cause(history.events[1].data.caused_by)
    with pytest.raises(OutOfSequence):
        document.apply(history.events[1])
    with pytest.raises(OutOfSequence):
        CaseDocument("another", history.case_no).apply(history.events[1])


def test_the_lamport_clock_is_after_document_and_cause() -> None:
    history = _opened()
    cause = history.events[0].data.model_copy(update={"lc": 40})
    assert next_lc(history.case, cause) == 41
    assert next_lc(history.case, None) == history.case.lc + 1


def test_every_case_event_says_in_which_phases_it_may_be_written() -> None:
    types = event_types().values()
    assert ALLOWED.keys() == {of.type for of in types if issubclass(of, t.CaseEvent)}
    assert all(ALLOWED.values())


Played = Callable[[History], object]


@pytest.mark.parametrize(
    ("play", "refused"),
    [
        (lambda history: None, ["case.opened", "case.finished", "case.closed", "case.reopened"]),
        (_order, ["case.answered", "case.not_accepted", "case.joined_group", "case.visited"]),
        (_answer, ["handoff.ordered", "case.answered", "case.withdrawn", "case.closed"]),
        (
            lambda history: _finish(history, _answer(history)),
            ["handoff.ordered", "case.answered", "case.finished", "case.withdrawn"],
        ),
    ],
)
def test_what_a_phase_does_not_allow_is_refused_with_the_reason(
    play: Played, refused: list[str]
) -> None:
    history = _opened()
    play(history)
    for event_type in refused:
        assert refusal(history.case, event_type)
    assert refusal(CaseDocument("c", "c"), "case.seen") == "the case is not open yet"


def test_clocks_of_which_there_are_several_are_named_apart() -> None:
    assert deadline_name(DeadlineKind.TOLD) == "told"
    assert deadline_name(DeadlineKind.INQUIRY, "i-1") == "inquiry:i-1"
