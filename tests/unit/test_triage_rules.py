"""The rules of the duty desk, each by its name (mission: "Rules that hold everywhere")."""

from datetime import timedelta

import pytest

from contracts import handling as h
from contracts.lifecycle import Phase
from contracts.triage import (
    CaseReopened,
    CaseResolved,
    CaseSupplemented,
    CaseWithdrawing,
    HandoffOrdered,
)
from contracts.vocabulary import DeadlineKind, Firing, OutcomeKind, Rating, Result, Tier, TierCause
from services.chassis.due import Due, moments
from services.triage.domain import desk
from services.triage.domain.answers import is_hollow
from services.triage.domain.deadlines import fire_for
from services.triage.domain.occasion import NotPossible
from tests.unit.triage_room import GOOD, PROFILE, START, Room, decision

ORANGE = decision(Tier.ORANGE)
RED = decision(Tier.RED)
COMPLEX = decision(Tier.RED, cause=TierCause.COMPLEX)
UNSURE = decision(Tier.ORANGE, category_confidence=0.2)


def ordered(room: Room, *, lead: str = "health", assists: tuple[str, ...] = ()) -> Room:
    room.open(decision(Tier.ORANGE, lead=lead, assists=assists))
    return room


def finished(room: Room) -> Room:
    room.open()
    room.do(desk.answer, "clerk-1", "可以返乡")
    room.told()
    return room


# Tiers and who acts


def test_blue_waits_for_the_desk_to_answer() -> None:
    room = Room()
    room.open()
    assert room.tasks == ["answer"]
    assert room.case.deadlines["seen"].due_at == START + timedelta(minutes=20)


def test_orange_that_is_sure_is_handed_over_at_once() -> None:
    room = Room()
    room.open(ORANGE)
    assert room.types() == ["case.opened", "handoff.ordered"]
    assert room.phase() == Phase.ORDERED
    assert room.tasks == []


def test_orange_that_is_not_sure_waits_for_a_person() -> None:
    room = Room()
    room.open(UNSURE)
    assert room.tasks == ["classify"]
    assert room.phase() == Phase.OPEN


def test_without_a_department_a_person_routes() -> None:
    room = Room()
    room.open(decision(Tier.ORANGE, lead=None))
    assert room.tasks == ["route"]


def test_danger_is_dispatched_at_once_and_judged_in_parallel() -> None:
    room = Room()
    room.open(RED)
    assert "handoff.ordered" in room.types()
    assert room.tasks == ["judge"]
    room.do(desk.judge, "clerk-1", "属实，立即办理")
    assert room.tasks == []
    assert room.case.judged_at == room.now


def test_complex_is_judged_first() -> None:
    room = Room()
    room.open(COMPLEX)
    assert "handoff.ordered" not in room.types()
    room.do(desk.judge, "clerk-1", "多部门", lead="community", assists=("health",))
    assert [o.department for o in room.case.open_orders()] == ["community", "health"]
    assert room.tasks == []


def test_a_hotline_below_its_bound_is_rung_by_a_person() -> None:
    room = Room()
    room.open(decision(Tier.ORANGE, lead="hotline-110", hotline="110", unsure=("hotline",)))
    assert room.tasks == ["classify"]


def test_red_has_one_hour_to_be_handed_over_and_four_to_be_told() -> None:
    room = Room()
    room.open(COMPLEX)
    assert room.case.deadlines["handed_over"].due_at == START + timedelta(hours=1)
    assert room.case.deadlines["told"].due_at == START + timedelta(hours=4)


def test_the_departments_clock_runs_from_dispatch_not_from_acceptance() -> None:
    room = Room()
    room.open(COMPLEX)
    room.later(minutes=30)
    room.do(desk.judge, "clerk-1", "办", lead="health")
    order = next(e.data for e in room.kept.events if isinstance(e.data, HandoffOrdered)).order
    assert order.sign_due_at == START + timedelta(minutes=30 + 15)


def test_who_reported_a_breach_never_reaches_a_department() -> None:
    room = Room()
    room.open(decision(Tier.ORANGE, category="report", lead="police"), external_id="x-1")
    order = next(e.data for e in room.kept.events if isinstance(e.data, HandoffOrdered)).order
    assert order.confidential
    assert order.request.contact is None
    assert order.request.external_id is None
    assert "13800000001" not in room.kept.events[-1].encoded.decode()


# Returns


def returned(room: Room, proper: str = "transport") -> None:
    room.report(h.HandoffReturned, ground="不属于我部门", proper_department=proper)


def test_a_return_comes_back_to_a_person_with_ground_and_proper_department() -> None:
    room = ordered(Room())
    returned(room)
    assert room.tasks == ["returned"]
    assert room.phase() == Phase.OPEN
    assert room.case.returns == 1


def test_the_same_department_cannot_get_a_returned_case_back_unless_it_binds() -> None:
    room = ordered(Room())
    returned(room)
    with pytest.raises(NotPossible):
        room.do(desk.give, "clerk-1", "health")


def test_a_second_return_makes_it_complex_and_the_next_order_binds() -> None:
    room = ordered(Room())
    returned(room)
    room.do(desk.give, "clerk-1", "transport")
    returned(room, "health")
    assert room.case.tier == Tier.RED
    assert room.case.decision
    assert room.case.decision.cause == TierCause.COMPLEX
    assert room.tasks == ["judge", "returned"]
    room.do(desk.judge, "clerk-1", "指派卫健", lead=None)
    room.do(desk.give, "clerk-1", "health")
    lead = room.case.lead_order()
    assert lead is not None
    assert lead.binding


def test_a_leads_return_leaves_the_assists() -> None:
    room = ordered(Room(), assists=("transport",))
    returned(room, "community")
    assert [o.role for o in room.case.open_orders()] == ["assist"]


def test_a_late_return_of_an_order_that_was_rerouted_changes_nothing() -> None:
    room = ordered(Room())
    first = room.case.lead
    room.do(desk.give, "clerk-1", "transport")
    before = len(room.kept.events)
    room.report(h.HandoffReturned, first, ground="x", proper_department="y")
    assert len(room.kept.events) == before


# Several departments


def test_an_assists_result_never_resolves_a_case() -> None:
    room = ordered(Room(), assists=("transport",))
    assert room.report(h.HandoffResolved, room.assist(), result=GOOD) == []
    assert room.phase() == Phase.ORDERED


def test_the_leads_result_ends_the_open_assists() -> None:
    room = ordered(Room(), assists=("transport",))
    assist = room.assist()
    room.report(h.HandoffResolved, result=GOOD)
    resolved = room.kept.events[-1].data
    assert isinstance(resolved, CaseResolved)
    assert resolved.ends == (assist,)
    assert room.case.open_orders() == []


# Hollow results


@pytest.mark.parametrize("text", ["已转", "正在处理。", "已转办了", "此事已转办，请耐心等待"])
def test_a_result_without_act_date_or_contact_is_hollow(text: str) -> None:
    assert is_hollow(PROFILE, Result(text=text))


def test_a_result_with_substance_is_not_hollow() -> None:
    assert not is_hollow(PROFILE, GOOD)
    assert not is_hollow(PROFILE, Result(text="已把药送到小区门口"))


def test_a_hollow_result_waits_for_the_desks_word() -> None:
    room = ordered(Room())
    room.report(h.HandoffResolved, result=Result(text="正在处理"))
    assert room.tasks == ["hollow"]
    assert room.phase() == Phase.ORDERED
    room.do(desk.accept_hollow, "clerk-1", GOOD)
    assert room.phase() == Phase.SETTLED


# Finished, rated, closed


def test_finished_is_when_the_citizen_was_told() -> None:
    room = Room()
    room.open()
    room.do(desk.answer, "clerk-1", "可以返乡")
    assert room.case.finishes == []
    room.later(minutes=1)
    room.told()
    assert room.case.finishes[0].at == room.now
    assert room.phase() == Phase.FINISHED


def test_told_of_an_earlier_step_does_not_finish() -> None:
    room = ordered(Room())
    room.report(h.HandoffResolved, result=GOOD)
    assert room.case.outcome is not None
    told = h.CitizenTold(
        case_no=room.case_no,
        document_id="d",
        seq=1,
        lc=1,
        caused_by="command:x",
        occurred_at=room.now,
        recorded_at=room.now,
        delivery_id="d",
        tells="another event",
        step="signed",
        by="callback",
        told_at=room.now,
        attempts=1,
    )
    assert room._react(told) == []


def test_a_content_rating_closes_blue_and_orange() -> None:
    room = finished(Room())
    room.rate(5)
    assert room.phase() == Phase.CLOSED
    assert room.case.closed_ground == "rated"
    assert room.case.deadlines == {}


def test_a_rating_that_comes_before_the_telling_counts_when_it_is_told() -> None:
    room = Room()
    room.open()
    room.do(desk.answer, "clerk-1", "可以返乡")
    room.rate(4)
    assert room.phase() == Phase.SETTLED
    room.told()
    assert room.phase() == Phase.CLOSED
    assert len(room.case.marks) == 1


def test_solved_but_dissatisfied_is_looked_at_by_the_desk() -> None:
    room = finished(Room())
    room.rate(1)
    assert room.tasks == ["dissatisfied"]
    [task_id] = room.case.tasks
    room.do(desk.settle, "clerk-2", task_id, "已道歉")
    assert room.phase() == Phase.CLOSED


def test_not_solved_reopens_one_tier_up_with_working_deadlines_from_now() -> None:
    room = finished(Room())
    room.later(hours=5)
    room.rate(2, solved=False)
    assert room.case.round == 1
    assert room.case.tier == Tier.ORANGE
    assert room.tasks == ["reopened"]
    clocks = PROFILE.tier("orange").clocks
    assert room.case.deadlines["told"].due_at == room.now + timedelta(minutes=clocks.told)
    assert room.case.first_deadlines["told"].due_at < room.case.deadlines["told"].due_at


def test_red_stays_red_when_it_is_reopened() -> None:
    room = Room()
    room.open(RED)
    room.report(h.HandoffResolved, result=GOOD)
    room.told()
    room.rate(1, solved=False)
    assert room.case.tier == Tier.RED


def test_a_second_reopening_goes_a_level_higher() -> None:
    room = finished(Room())
    room.rate(2, solved=False)
    room.do(desk.answer, "clerk-1", "再答一次")
    room.told()
    room.rate(1, solved=False)
    assert room.case.round == 2
    assert room.case.level == 1
    assert room.types()[-1] == "case.escalated"


def test_red_is_never_closed_without_a_visit_by_a_person() -> None:
    room = Room()
    room.open(RED)
    room.report(h.HandoffResolved, result=GOOD)
    room.told()
    assert room.tasks == ["visit"]
    room.rate(5)
    assert room.phase() == Phase.FINISHED
    room.do(desk.visit, "visitor", "telephone", Rating(level=5, solved=True))
    assert room.phase() == Phase.CLOSED


def test_who_handled_a_case_does_not_visit_it() -> None:
    room = finished(Room())
    with pytest.raises(NotPossible):
        room.do(desk.visit, "clerk-1", "telephone", None)


def test_three_attempts_before_not_reached() -> None:
    room = finished(Room())
    for _ in range(2):
        room.do(desk.visit, "visitor", "telephone", None)
        assert room.phase() == Phase.FINISHED
    room.do(desk.visit, "visitor", "telephone", None)
    assert room.case.closed_ground == "not_reached"


def test_no_answer_within_the_profiles_time_closes_with_that_mark() -> None:
    room = finished(Room())
    fire = fire_for(PROFILE)
    for due in moments(list(room.case.deadlines.values())):
        fire(room.kept, due, due.at)
    assert room.case.closed_ground == "no_answer"


def test_a_rating_after_no_answer_still_reopens() -> None:
    room = finished(Room())
    for due in moments(list(room.case.deadlines.values())):
        fire_for(PROFILE)(room.kept, due, due.at)
    room.rate(1, solved=False)
    assert any(isinstance(e.data, CaseReopened) for e in room.kept.events)


def test_a_second_rating_of_a_closed_round_is_declined() -> None:
    room = finished(Room())
    room.rate(5)
    room.rate(1, solved=False)
    assert room.types()[-1] == "wish.declined"
    assert room.phase() == Phase.CLOSED


def test_not_accepted_is_told_and_closed_without_a_visit() -> None:
    room = Room()
    room.open()
    room.do(desk.not_accept, "clerk-1", "不属于本通道", "请拨打12345")
    room.told()
    assert room.case.closed_ground == "not_accepted"
    assert room.case.outcome
    assert room.case.outcome.kind == OutcomeKind.NOT_ACCEPTED


# Withdrawal


def test_a_withdrawal_before_the_handoff_holds_at_once() -> None:
    room = Room()
    room.open()
    room.withdraw()
    assert room.types()[-1] == "case.withdrawn"
    room.told()
    assert room.case.closed_ground == "withdrawn"


def test_a_withdrawal_after_ordering_waits_for_every_recall() -> None:
    room = ordered(Room(), assists=("transport",))
    lead, assist = room.case.lead, room.assist()
    assert lead is not None
    room.withdraw()
    assert isinstance(room.kept.events[-1].data, CaseWithdrawing)
    room.report(h.HandoffRecalled, assist, ground="withdrawal")
    assert room.case.withdrawing == (lead,)
    room.report(h.HandoffRecalled, lead, ground="withdrawal")
    assert room.types()[-1] == "case.withdrawn"


def test_a_recall_that_is_too_late_ends_the_withdrawal_and_the_result_stands() -> None:
    room = ordered(Room())
    lead = room.case.lead
    room.withdraw()
    room.report(h.HandoffResolved, lead, result=GOOD)
    room.report(h.RecallTooLate, lead)
    assert room.types()[-1] == "withdrawal.ended"
    assert room.phase() == Phase.SETTLED
    assert room.case.withdrawing == ()


def test_a_return_during_a_withdrawal_counts_as_recalled() -> None:
    room = ordered(Room())
    room.withdraw()
    returned(room)
    assert room.types()[-1] == "case.withdrawn"


def test_a_red_case_is_withdrawn_by_a_person_only() -> None:
    room = Room()
    room.open(RED)
    room.withdraw()
    assert room.tasks == ["judge", "withdrawal"]
    room.do(desk.decide_withdrawal, "clerk-1", False)
    assert room.types()[-1] == "withdrawal.ended"
    room.withdraw()
    room.do(desk.decide_withdrawal, "clerk-1", True)
    room.report(h.HandoffRecalled, ground="withdrawal")
    assert room.case.outcome
    assert room.case.outcome.kind == OutcomeKind.WITHDRAWN


def test_a_withdrawal_of_a_finished_case_is_declined() -> None:
    room = finished(Room())
    room.withdraw()
    assert room.types()[-1] == "wish.declined"


# Supplements, inquiries, extensions, clocks


def test_a_supplement_reaches_every_open_order() -> None:
    room = ordered(Room(), assists=("transport",))
    room.supplement()
    event = room.kept.events[-1].data
    assert isinstance(event, CaseSupplemented)
    assert set(event.reaches) == set(room.case.orders)


def test_a_supplement_that_shows_danger_calls_a_person() -> None:
    room = ordered(Room())
    room.supplement("老人突然昏迷叫不醒了")
    assert room.tasks == ["judge"]


def test_a_supplement_after_the_result_is_seen_by_the_desk() -> None:
    room = finished(Room())
    room.supplement()
    assert room.tasks == ["supplement"]


def test_an_answer_quotes_an_inquiry_only_once_it_was_confirmed() -> None:
    room = Room()
    room.open()
    room.do(desk.inquire, "clerk-1", "鹿邑县任集乡", "telephone", "是否需要隔离")
    [inquiry_id] = room.case.inquiries
    with pytest.raises(NotPossible):
        room.do(desk.answer, "clerk-1", "要", inquiry_id=inquiry_id)
    room.do(desk.inquiry_answered, inquiry_id, "值班室", room.now, "不需要")
    room.do(desk.answer, "clerk-1", "不需要", inquiry_id=inquiry_id)
    assert room.phase() == Phase.SETTLED


def test_an_inquiry_without_answer_comes_back_to_the_desk() -> None:
    room = Room()
    room.open()
    room.do(desk.inquire, "clerk-1", "卫健", "message", "是否")
    [deadline] = [d for d in room.case.deadlines.values() if d.kind == DeadlineKind.INQUIRY]
    fire_for(PROFILE)(room.kept, Due(deadline, Firing.MISSED, deadline.due_at), deadline.due_at)
    assert "inquiry" in room.tasks


def test_an_extension_is_the_desks_to_grant() -> None:
    room = ordered(Room())
    room.report(h.ExtensionRequested, ground="路封了", result_due_at=room.now)
    assert room.tasks == ["extension"]
    room.do(desk.decide_extension, "clerk-1", room.case.lead, room.now + timedelta(hours=2))
    assert room.tasks == []
    assert room.types()[-1] == "extension.decided"


def test_a_departments_near_result_is_urged_and_its_missed_one_shown() -> None:
    room = ordered(Room())
    room.report(h.HandoffDeadlineFired, name="result", due_at=room.now, firing=Firing.NEAR)
    assert room.types()[-1] == "case.urged"
    room.report(h.HandoffDeadlineFired, name="result", due_at=room.now, firing=Firing.MISSED)
    assert room.tasks == ["overdue"]


def test_a_missed_clock_of_the_citizen_waits_for_a_person_once() -> None:
    room = Room()
    room.open()
    fire = fire_for(PROFILE)
    for due in moments(list(room.case.deadlines.values())):
        if due.deadline.name in room.case.deadlines:
            fire(room.kept, due, due.at)
    assert room.tasks == ["answer", "overdue"]


def test_an_outcome_that_the_channel_did_not_take_is_told_by_a_person() -> None:
    room = Room()
    room.open()
    room.do(desk.answer, "clerk-1", "可以")
    assert room.case.outcome is not None
    room._react(
        h.DeliveryExhausted(
            case_no=room.case_no,
            document_id="d",
            seq=2,
            lc=9,
            caused_by="attempt:d/9",
            occurred_at=room.now,
            recorded_at=room.now,
            delivery_id="d",
            tells=room.case.outcome.event_id,
            step="answered",
            attempts=9,
            why="gone",
        )
    )
    assert room.tasks == ["undeliverable"]
    room.do(desk.contact, "clerk-2", "telephone", True)
    assert room.phase() == Phase.FINISHED


def test_no_open_case_is_left_without_anybody() -> None:
    room = Room()
    room.open(decision(Tier.ORANGE, lead=None))
    [task_id] = room.case.tasks
    with pytest.raises(NotPossible):
        room.do(desk.settle, "clerk-1", task_id, "算了")
