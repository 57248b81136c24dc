"""What each case adds to the figures."""

import random
from collections import Counter

import pytest

from contracts import handling as h
from contracts import triage as t
from contracts.lifecycle import CaseState, state_of
from contracts.vocabulary import GroupKind, Kind, Role, Tier
from services.reporting.domain.buckets import CASE, HANDOFF, Bucket, Figures
from services.reporting.domain.contribution import contribution_of
from services.reporting.recount import differences, figures_of, totals_of
from tests.unit.reporting_room import history, state
from tests.unit.reporting_tale import ACCEPTED, Tale


def totals(of: Tale | CaseState) -> Counter[str]:
    """All counters of a case."""
    case = of.state if isinstance(of, Tale) else of
    return totals_of(contribution_of(case))


def only(figures: Figures, kind: str) -> dict[Bucket, Counter[str]]:
    return {bucket: counters for bucket, counters in figures.items() if bucket.kind == kind}


def test_a_case_is_counted_where_and_when_it_was_accepted() -> None:
    tale = Tale().opened(Tier.ORANGE)
    tale.ordered("health")
    (bucket,) = only(contribution_of(tale.state), CASE)
    assert bucket.hour == ACCEPTED.strftime("%Y-%m-%dT%H")
    assert bucket[2:] == ("411603101", "medical", "orange", "health", "app", "")


def test_a_submission_counts_as_accepted_before_triage_has_seen_it() -> None:
    counted = totals(Tale().submitted())
    assert (counted["accepted"], counted["open"], counted["open_submitted"]) == (1, 1, 1)


def test_nothing_is_counted_of_a_case_whose_acceptance_is_not_seen() -> None:
    tale = Tale().opened()
    tale.answered().finished()
    unseen = ("request.submitted", "case.opened")
    late = [event for event in tale.history.events if event.type not in unseen]
    assert late
    assert contribution_of(state_of(tale.case_no, late)) == {}


def test_an_answer_online_that_was_told_in_time() -> None:
    counted = totals(Tale().opened(Tier.BLUE, kind=Kind.CONSULT).answered().finished().closed())
    for name in (
        *("answered_online", "finished", "finished_ever", "finished_in_time", "closed"),
        *("handled_24h", "finished_without_handoff", "direct_base", "matters"),
    ):
        assert counted[name] == 1, name
    for name in ("handed_over", "open", "open_overdue", "reopened", "noise", "not_accepted"):
        assert counted[name] == 0, name


def test_an_answer_that_is_not_told_finishes_nothing() -> None:
    counted = totals(Tale().opened(Tier.BLUE).answered())
    assert (counted["answered_online"], counted["finished"], counted["handled_24h"]) == (1, 0, 0)
    assert counted["open_answered"] == 1


@pytest.mark.parametrize(("hours", "in_time"), [(2.0, 1), (3.5, 0)])
def test_in_time_goes_by_the_first_deadline(hours: float, in_time: int) -> None:
    tale = Tale().opened(told_within_hours=3)
    reclassified = tale.state.case
    assert reclassified is not None
    later = reclassified.deadlines["told"].model_copy(
        update={"version": 2, "due_at": ACCEPTED.replace(year=2023)}
    )
    tale.does(t.DeskAsked, sets=(later,))
    counted = totals(tale.wait(hours=hours).answered().finished())
    assert counted["finished_in_time"] == in_time
    assert counted["finished"] == 1


def test_an_open_case_is_overdue_once_its_own_events_show_it() -> None:
    tale = Tale().opened(told_within_hours=3)
    assert totals(tale)["open_overdue"] == 0
    tale.wait(hours=3).does(t.DeskAsked)
    assert totals(tale)["open_overdue"] == 1
    tale.answered().finished()
    counted = totals(tale)
    assert (counted["open_overdue"], counted["finished"], counted["finished_in_time"]) == (0, 1, 0)


def test_handled_means_told_of_the_handing_over_within_a_day() -> None:
    lookup = Tale("a").opened()
    lookup.ordered()
    assert totals(lookup)["handled_24h"] == 1, "without a message the lookup tells it"

    late = Tale("b").opened()
    late.wait(hours=25).ordered()
    assert totals(late)["handled_24h"] == 0

    message = Tale("c").opened()
    message.ordered()
    order = message.last
    message.wait(hours=23.5).told(order)
    assert totals(message)["handled_24h"] == 1

    late_message = Tale("d").opened()
    late_message.ordered()
    order = late_message.last
    late_message.wait(hours=25).told(order)
    assert totals(late_message)["handled_24h"] == 0


def test_noise_and_refused_cases_are_left_out_of_direct_answers() -> None:
    noise = totals(Tale("a").opened(Tier.BLUE, kind=Kind.NOISE).answered().finished())
    assert (noise["noise"], noise["direct_base"], noise["finished_without_handoff"]) == (1, 0, 0)
    refused = totals(Tale("b").opened(Tier.BLUE).not_accepted().finished())
    assert (refused["not_accepted"], refused["direct_base"]) == (1, 0)
    assert (refused["finished"], refused["finished_without_handoff"]) == (1, 0)


def test_a_reopened_case_is_open_again_and_counts_as_reopened() -> None:
    tale = Tale().opened().answered().finished().rated(1, solved=False).reopened()
    counted = totals(tale)
    assert (counted["finished"], counted["finished_ever"], counted["reopened"]) == (0, 1, 1)
    assert counted["open"] == 1
    assert counted["online_visits_valid"] == 1, "the last finished round's word stands until then"
    handoff_id = tale.ordered("transport")
    tale.resolved(handoff_id).finished().rated(4, solved=True, credited="transport").closed()
    counted = totals(tale)
    assert (counted["finished"], counted["reopened"], counted["online_visits_valid"]) == (1, 1, 0)
    assert (counted["handoff_visits_valid"], counted["handoff_visits_solved"]) == (1, 1)
    assert (counted["handoff_ratings_n"], counted["handoff_ratings_top3"]) == (1, 1)


def test_the_citizens_word_is_credited_to_the_unit_that_led_the_round() -> None:
    tale = Tale().opened()
    handoff_id = tale.ordered("health")
    tale.resolved(handoff_id).finished().rated(2, solved=False, credited="health").reopened()
    tale.ordered("transport")
    cells = only(contribution_of(tale.state), CASE)
    by_department = {bucket.department: counters for bucket, counters in cells.items()}
    assert by_department["health"]["handoff_ratings_n"] == 1
    assert by_department["health"]["handoff_ratings_top3"] == 0
    assert by_department["health"]["accepted"] == 0
    assert by_department["transport"]["accepted"] == 1


def test_hand_offs_are_counted_each_for_its_department_and_role() -> None:
    tale = Tale().opened()
    lead = tale.ordered("health")
    tale.ordered("transport", Role.ASSIST)
    tale.reply(lead, h.HandoffSigned)
    tale.reply(
        lead,
        h.CitizenContacted,
        by="telephone",
        contacted_at=tale.history.now,
        reached=True,
    )
    cells = {
        (b.department, b.role): n for b, n in only(contribution_of(tale.state), HANDOFF).items()
    }
    assert cells["health", "lead"] == Counter(
        dispatched=1, dispatched_lead=1, signed=1, signed_in_time=1, contacted_in_time=1
    )
    assert cells["transport", "assist"] == Counter(dispatched=1)


def test_signing_late_or_not_at_all() -> None:
    late = Tale("a").opened()
    handoff_id = late.ordered()
    late.wait(hours=2).sign_missed(handoff_id)
    assert totals(late)["sign_overdue"] == 1
    late.reply(handoff_id, h.HandoffSigned)
    counted = totals(late)
    assert (counted["signed"], counted["signed_in_time"], counted["sign_overdue"]) == (1, 0, 0)

    window = Tale("b").opened()
    handoff_id = window.ordered()
    window.reply(handoff_id, h.HandoffSigned, implied=True, cause="deadline:return_window/1/missed")
    counted = totals(window)
    assert (counted["signed"], counted["sign_overdue"]) == (0, 1), "nobody signed it"

    act = Tale("c").opened()
    handoff_id = act.ordered()
    act.reply(handoff_id, h.HandoffSigned, implied=True)
    assert totals(act)["signed_in_time"] == 1, "implied by an act of the department"


def test_returns_and_those_that_were_justified() -> None:
    tale = Tale().opened()
    first = tale.ordered("health")
    tale.reply(first, h.HandoffReturned, ground="不归我们管")
    assert (totals(tale)["returned"], totals(tale)["returned_justified"]) == (1, 0)
    tale.does(t.CaseReturned, handoff_id=first, department="health", returns=1, justified=True)
    tale.ordered("transport")
    counted = totals(tale)
    assert (counted["dispatched"], counted["returned"], counted["returned_justified"]) == (2, 1, 1)


def test_a_contact_after_a_day_or_without_an_answer_is_no_response() -> None:
    tale = Tale().opened()
    handoff_id = tale.ordered()
    by = {"by": "telephone", "contacted_at": tale.history.now, "reached": False}
    tale.reply(handoff_id, h.CitizenContacted, **by)
    tale.wait(hours=21)
    late = {"by": "telephone", "contacted_at": tale.history.now, "reached": True}
    tale.reply(handoff_id, h.CitizenContacted, **late)
    assert totals(tale)["contacted_in_time"] == 0


def test_people_and_matters_are_counted_apart() -> None:
    anchor, member = Tale("anchor").opened(), Tale("member").opened()
    members = (anchor.case_no, member.case_no)
    anchor.history.by_group(
        t.GroupFormed, "g", "command:merge", kind=GroupKind.SAME_EVENT, members=members
    )
    anchor.joined("g", anchor.case_no)
    member.joined("g", anchor.case_no)
    assert (totals(anchor)["matters"], totals(member)["matters"]) == (1, 0)
    both = totals_of(figures_of([anchor.state, member.state]))
    assert (both["accepted"], both["matters"]) == (2, 1)

    member.does(t.CaseLeftGroup, group_id="g", group_version=1, ground="split_off")
    assert totals(member)["matters"] == 1


def test_tasks_and_states_of_open_cases_are_counted() -> None:
    counted = totals(Tale().opened())
    assert (counted["queue_answer"], counted["open_triaged"]) == (1, 1)
    closed = totals(Tale().opened().answered().finished().closed())
    assert not [name for name in closed if name.startswith(("queue_", "open_"))]


@pytest.mark.parametrize("seed", range(12))
def test_erasure_leaves_the_figures_as_they_were(seed: int) -> None:
    made = history(seed)
    before = figures_of([state(made)])
    made.redact()
    assert differences(before, figures_of([state(made)])) == []


@pytest.mark.parametrize("seed", range(12))
def test_order_and_repetition_of_events_do_not_matter(seed: int) -> None:
    made = history(seed)
    events = list(made.events) + made.events[::3]
    random.Random(seed).shuffle(events)
    assert figures_of([state_of(made.case_no, events)]) == figures_of([state(made)])


def test_differences_name_bucket_and_counter() -> None:
    figures = contribution_of(Tale().opened().state)
    (bucket,) = figures
    wrong: Figures = {bucket: Counter({**figures[bucket], "accepted": 2})}
    (found,) = differences(wrong, figures)
    assert (found.counter, found.counted, found.recounted) == ("accepted", 2, 1)
