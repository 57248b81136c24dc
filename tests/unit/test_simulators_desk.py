"""What the simulated clerks do, for the story's cases and for what the story does not foresee."""

from typing import Any

import pytest

from deploy.simulators.desk_rules import Act, Facts, Ring, Visit, Wait, next_step
from deploy.simulators.plans import Plan
from deploy.simulators.room import PATIENCE_SECONDS, Grouped
from deploy.simulators.stories.story import PathKind
from tests.simulated_case import CASE_NO, NOW, STORY, case, order, plan_of

FACTS = Facts(now=NOW, fallback_department="community")
LATE = Facts(now=NOW, waited_seconds=PATIENCE_SECONDS + 1, fallback_department="community")


def first(kind: PathKind, **wanted: Any) -> Plan:
    """The first request of a kind whose path has what is wanted (None: must not have it)."""
    return next(
        plan_of(request)
        for request in STORY.of_kind(kind)
        if all(bool(getattr(request.path, name)) == yes for name, yes in wanted.items())
    )


def act(step: object) -> Act:
    assert isinstance(step, Act), step
    return step


def test_a_consultation_is_answered_with_its_quotes() -> None:
    plan = first(PathKind.ANSWERED, supplements=False)
    done = act(next_step(case(plan, "answer"), plan, FACTS))
    played = plan.round(0)
    assert played is not None
    assert (done.name, done.form["text"]) == ("answer", played.answer)
    assert done.form["sources"] == list(played.quotes)
    assert done.needs_view


def test_an_inquiry_is_made_recorded_and_then_quoted() -> None:
    plan = first(PathKind.INQUIRED)
    inquiry = {"inquiry_id": "i", "confirmed_at": None}
    confirmed = {**inquiry, "confirmed_at": NOW}
    acts = [
        act(next_step(case(plan, "answer", inquiries=inquiries), plan, FACTS))
        for inquiries in ((), (inquiry,), (confirmed,))
    ]
    assert [one.name for one in acts] == ["inquire", "inquiry-answer", "answer"]
    assert acts[-1].form["inquiry_id"] == "i"


def test_a_wrong_category_is_put_right_before_anything_else() -> None:
    plan = first(PathKind.ANSWERED, supplements=False)
    wrong = case(plan, "classify", decision={"category": "info"})
    done = act(next_step(wrong, plan, FACTS))
    assert (done.name, done.form["category"]) == ("reclassify", plan.request.true_category)


def test_a_wrong_category_is_put_right_while_a_department_acts_too() -> None:
    plan = first(PathKind.ANSWERED, supplements=False)
    wrong = case(plan, phase="ordered", orders=[order("health")], decision={"category": "report"})
    assert act(next_step(wrong, plan, FACTS)).form["category"] == plan.request.true_category


def test_a_danger_that_the_rules_did_not_see_becomes_red() -> None:
    plan = first(PathKind.HANDED_OFF, judgement=True, supplements=False)
    judgement = plan.request.path.judgement
    assert judgement is not None
    done = act(next_step(case(plan, "route"), plan, FACTS))
    assert (done.name, done.form["tier"]) == ("reclassify", "red")
    red = case(plan, "judge", tier="red")
    judged = act(next_step(red, plan, FACTS))
    assert (judged.name, judged.form["opinion"]) == ("judge", judgement.opinion)


def test_a_danger_that_is_none_is_lowered() -> None:
    plan = first(PathKind.ANSWERED, supplements=False)
    done = act(next_step(case(plan, "judge", tier="red"), plan, FACTS))
    assert (done.name, done.form["tier"]) == ("judge", "blue")


def test_a_reopened_red_case_stays_red() -> None:
    plan = first(PathKind.ANSWERED, supplements=False)
    again = case(plan, "judge", "reopened", tier="red", round=1)
    assert "tier" not in act(next_step(again, plan, FACTS)).form


def test_departments_are_tried_in_the_storys_order_and_the_last_binds() -> None:
    plan = next(
        plan_of(request)
        for request in STORY.requests
        if any(one.binding for one in request.path.orders)
    )
    tried = plan.request.path.orders[0].tried
    for number, department in enumerate(tried):
        seen = case(plan, "returned", tier="red", returned_by=tried[:number])
        done = act(next_step(seen, plan, FACTS))
        assert (done.name, done.form["department"]) == ("handoff", department)


def test_a_handoff_to_another_department_than_the_storys_is_given_anew() -> None:
    plan = first(PathKind.HANDED_OFF, judgement=False, group=False, supplements=False)
    target = plan.target(0, ())
    wrong = case(
        plan, phase="ordered", orders=[order("finance" if target != "finance" else "police")]
    )
    done = act(next_step(wrong, plan, FACTS))
    assert (done.name, done.form["department"]) == ("handoff", target)
    assert target is not None
    assert next_step(case(plan, phase="ordered", orders=[order(target)]), plan, FACTS) is None


def test_a_department_that_got_a_consultation_may_act() -> None:
    plan = first(PathKind.ANSWERED, supplements=False)
    assert next_step(case(plan, phase="ordered", orders=[order("health")]), plan, FACTS) is None


def test_what_cannot_be_accepted_is_refused_with_where_to_go() -> None:
    plan = first(PathKind.NOT_ACCEPTED)
    done = act(next_step(case(plan, "classify"), plan, FACTS))
    assert done.name == "not-accept"
    assert done.form["instead"]


def test_the_desk_waits_for_a_withdrawal_but_not_for_ever() -> None:
    plan = next(
        plan_of(request)
        for request in STORY.of_kind(PathKind.WITHDRAWN)
        if request.path.withdrawal and request.path.withdrawal.moment == "before_handoff"
    )
    assert isinstance(next_step(case(plan, "route"), plan, FACTS), Wait)
    assert isinstance(next_step(case(plan, "route"), plan, LATE), Act)


def test_the_desk_waits_for_a_supplement() -> None:
    plan = first(PathKind.HANDED_OFF, supplements=True, judgement=False)
    assert isinstance(next_step(case(plan, "route", supplements=()), plan, FACTS), Wait)
    assert act(next_step(case(plan, "route"), plan, FACTS)).name == "handoff"


def test_members_wait_for_their_group_and_the_anchor_is_handed_over() -> None:
    plan = first(PathKind.GROUPED)
    formed = Facts(now=NOW, group=Grouped("g", CASE_NO, frozenset({CASE_NO})))
    assert isinstance(next_step(case(plan, "route"), plan, FACTS), Wait)
    assert isinstance(next_step(case(plan, "route"), plan, formed), Wait)
    anchor = case(plan, "route", group_id="g")
    assert act(next_step(anchor, plan, formed)).name == "handoff"
    follower = Facts(now=NOW, group=Grouped("g", "another", frozenset({CASE_NO})))
    assert next_step(case(plan, group_id="g"), plan, follower) is None


def test_a_member_without_a_group_goes_the_leading_ones_way() -> None:
    plan = first(PathKind.GROUPED)
    alone = Facts(now=NOW, group=Grouped(None))
    done = act(next_step(case(plan, "route"), plan, alone))
    assert done.form["department"] == plan.leader.path.orders[0].tried[0]


def test_urging_waits_for_the_signature_and_ends_with_the_storys_number() -> None:
    plan = first(PathKind.HANDED_OFF, urgings=True, judgement=False, supplements=False)
    target = plan.target(0, ())
    assert target is not None
    signed = Facts(now=NOW, is_signed=True)
    seen = case(plan, phase="ordered", orders=[order(target)])
    assert next_step(seen, plan, FACTS) is None
    assert act(next_step(seen, plan, signed)).form["text"] == plan.request.path.urgings[0]
    urged = seen.model_copy(update={"urgings": len(plan.request.path.urgings)})
    assert next_step(urged, plan, signed) is None


def test_red_is_visited_after_the_citizens_own_word() -> None:
    plan = first(PathKind.HANDED_OFF, judgement=True)
    finished = case(plan, "visit", phase="finished", tier="red")
    assert isinstance(next_step(finished, plan, FACTS), Wait)
    assert isinstance(next_step(finished, plan, Facts(now=NOW, is_rated=True)), Visit)
    assert isinstance(next_step(finished, plan, LATE), Visit)


def test_a_citizen_who_says_nothing_is_rung() -> None:
    plan = first(PathKind.ANSWERED)
    finished = case(plan, phase="finished")
    assert next_step(finished, plan, FACTS) is None
    assert isinstance(next_step(finished, plan, Facts(now=NOW, is_silent=True)), Visit)


@pytest.mark.parametrize(
    ("phase", "task", "expected"),
    [
        ("open", "answer", "answer"),
        ("open", "classify", "answer"),
        ("open", "route", "answer"),
        ("open", "judge", "judge"),
        ("open", "returned", "handoff"),
        ("open", "reopened", "handoff"),
        ("open", "withdrawal", "withdrawal"),
        ("ordered", "judge", "judge"),
        ("ordered", "withdrawal", "withdrawal"),
        ("ordered", "extension", "extension"),
        ("ordered", "hollow", "accept-result"),
        ("ordered", "question", "settle"),
        ("ordered", "overdue", "settle"),
        ("ordered", "conflict", "settle"),
        ("settled", "undeliverable", "contact"),
        ("settled", "supplement", "settle"),
        ("finished", "dissatisfied", "settle"),
        ("finished", "supplement", "settle"),
        ("closed", "conflict", "settle"),
    ],
)
def test_whatever_the_story_does_not_foresee_gets_an_act(
    phase: str, task: str, expected: str
) -> None:
    orders = [order("health")] if phase == "ordered" else []
    seen = case(None, task, phase=phase, orders=orders)
    assert act(next_step(seen, None, FACTS)).name == expected


def test_a_department_that_no_machine_reached_is_rung() -> None:
    seen = case(None, "undeliverable", phase="ordered", orders=[order("hotline-110")])
    assert next_step(seen, None, FACTS) == Ring("h")


def test_without_a_story_an_action_goes_to_the_planned_department_once() -> None:
    needs = case(None, "route", kind="action", planned="health")
    assert act(next_step(needs, None, FACTS)).form["department"] == "health"
    returned = case(None, "returned", kind="action", planned="health", returned_by=["health"])
    assert act(next_step(returned, None, FACTS)).form["department"] == "community"
