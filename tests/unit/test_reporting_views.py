"""What people are shown: the citizen's view, figures and rates, queues, audit pages, freshness."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contracts import handling as h
from contracts import ids
from contracts import triage as t
from contracts.ids import ALPHABET
from contracts.lifecycle import Status
from contracts.profile import STEP_FIELDS
from contracts.requests import WithdrawalRequested
from contracts.topics import CASE_PARTITIONS, HANDLING, REQUESTS, TRIAGE
from contracts.vocabulary import TaskKind, Tier
from services.chassis.http import Malformed, NotFound, TooManyRequests
from services.reporting.domain.audit import PAGE, page_end
from services.reporting.domain.buckets import Page, turned
from services.reporting.domain.facts import facts_of
from services.reporting.domain.figures import Question, figures_document
from services.reporting.domain.limits import Tries
from services.reporting.domain.progress import Progress, Reached, as_of, is_behind
from services.reporting.domain.public_view import public_view
from services.reporting.domain.queues import queues_document
from services.reporting.domain.rates import RATES, rates_of
from services.reporting.domain.words import DECLINED, QUEUE_NAMES, STATUS_NAMES, STEP_NAMES
from services.reporting.lookup import CodeGuard
from services.reporting.recount import figures_of
from tests.contract.histories import DESK, MARKER
from tests.unit.reporting_tale import ACCEPTED, PROFILE, Tale

NOW = datetime(2022, 1, 20, tzinfo=UTC)


def view(tale: Tale, *, is_blocked: bool = False) -> dict[str, Any]:
    return public_view(tale.state, PROFILE, is_blocked=is_blocked)


def steps(tale: Tale) -> list[str]:
    return [step["step"] for step in view(tale)["timeline"]]


def test_the_timeline_tells_what_was_told_in_order_and_local_time() -> None:
    tale = Tale().opened()
    handoff_id = tale.ordered("health")
    tale.reply(handoff_id, h.HandoffSigned, person="刘某")
    tale.resolved(handoff_id).finished()
    seen = view(tale)
    assert steps(tale) == [
        *("received", "accepted", "handed_over", "signed", "resolved", "finished_ask_rating"),
    ]
    assert (seen["status"], seen["status_name"]) == ("finished", "已办结")
    assert seen["rating_awaited"] is True
    assert seen["timeline"][0]["at"].endswith("+08:00")
    assert seen["timeline"][0]["at_words"] == "1月11日 16:03"
    assert seen["handling_unit"] == PROFILE.departments_by_code["health"].name


def test_no_name_or_number_of_anybody_is_shown() -> None:
    tale = Tale().opened(ring=("120",))
    handoff_id = tale.ordered("health")
    for of in (h.HandoffSigned, h.HandoffProgressed):
        tale.reply(handoff_id, of, person="CLERKNAME")
    tale.does(t.CaseContacted, person="li", by="telephone", contacted_at=NOW, reached=True)
    tale.does(t.DeskSettled, person="wang", note="DESKNOTE", settles=("first",))
    shown = json.dumps(view(tale), ensure_ascii=False)
    for hidden in (MARKER, "CLERKNAME", "DESKNOTE", "PERSONAL", *(f'"{name}"' for name in DESK)):
        assert hidden not in shown


def test_whom_to_ring_is_shown_while_the_case_is_open() -> None:
    tale = Tale().opened(Tier.RED, ring=("120",))
    (ring,) = view(tale)["ring"]
    assert (ring["number"], ring["name"]) == ("120", PROFILE.hotlines_by_code["120"].name)
    assert view(tale.answered().finished())["ring"] == []


def test_of_a_report_of_a_breach_no_unit_is_shown() -> None:
    tale = Tale().opened(category="report")
    tale.ordered("health")
    assert view(tale)["handling_unit"] is None


def test_an_erased_case_says_so_and_nothing_else() -> None:
    tale = Tale().opened().does(t.CaseErased, by="citizen")
    seen = view(tale)
    assert seen["erased"] is True
    assert seen["timeline"] == []
    assert "category" not in seen


def test_incomplete_and_blocked_cases_are_marked() -> None:
    tale = Tale().opened()
    assert view(tale)["is_complete"] is True
    assert view(tale, is_blocked=True)["is_complete"] is False
    tale.ordered(delivered=False)
    assert view(tale)["is_complete"] is False


def test_wishes_are_pending_until_they_are_answered_and_declined_in_words() -> None:
    tale = Tale().opened()
    wish = tale.history.by_intake(WithdrawalRequested)
    assert [pending["wish"] for pending in view(tale)["pending"]] == ["撤回申请"]
    tale.history.by_triage(t.WishDeclined, wish, wish=wish.id, ground="finished")
    seen = view(tale)
    assert seen["pending"] == []
    assert seen["timeline"][-1]["text"] == DECLINED["finished"]


def test_a_rating_is_awaited_until_it_is_given() -> None:
    tale = Tale().opened(Tier.BLUE).answered().finished()
    assert view(tale)["rating_awaited"] is True
    assert view(tale.rated(5, solved=True))["rating_awaited"] is False
    refused = Tale("refused").opened(Tier.BLUE).not_accepted().finished()
    assert view(refused)["rating_awaited"] is False
    assert "finished_ask_rating" not in steps(refused)


def test_a_group_is_told_to_its_member() -> None:
    tale = Tale().opened().joined("g", ids.case_number(b"x", "app", "anchor"))
    assert "合并办理" in view(tale)["group"]
    assert steps(tale)[-1] == "grouped"


def test_every_state_step_and_queue_has_a_name() -> None:
    assert set(STATUS_NAMES) == set(Status)
    assert set(STEP_NAMES) >= set(STEP_FIELDS)
    assert set(QUEUE_NAMES) >= set(TaskKind)


def test_rates_are_quotients_of_the_counters_they_name() -> None:
    rates = rates_of(Counter(accepted=8, handled_24h=6, finished=4, finished_in_time=3, signed=1))
    assert rates["handled_24h"].value == 0.75
    assert rates["finished"].value == 0.5
    assert rates["finished_in_time"].value == 0.75
    assert rates["signed_in_time"].value == 0
    assert rates["returned"].value is None
    late = rates_of(Counter(finished=4, finished_in_time=4, open_overdue=4))
    assert late["finished_in_time"].value == 0.5


def test_rates_for_the_public_are_some_of_them() -> None:
    public = rates_of(Counter(), public_only=True)
    assert 0 < len(public) < len(RATES)
    assert "returned" not in public
    assert {"handled_24h", "finished", "finished_in_time"} <= public.keys()


def _document(**asked: Any) -> dict[str, Any]:
    night = Tale("night").opened(Tier.BLUE).answered().finished()
    led = Tale("led").opened(Tier.RED, category="transport", region="411602")
    led.ordered("transport")
    figures = figures_of([night.state, led.state])
    return figures_document(PROFILE, Question(**asked), figures)


def test_figures_are_filtered_and_a_region_holds_its_townships() -> None:
    assert _document()["totals"]["accepted"] == 2
    assert _document(region="411603")["totals"]["accepted"] == 1
    assert _document(region="411600")["totals"]["accepted"] == 2
    assert _document(tier="red", category="transport")["totals"]["accepted"] == 1
    assert _document(tier="red", category="medical")["totals"]["accepted"] == 0


def test_figures_are_grouped_with_names_and_townships_count_with_their_county() -> None:
    names = {group["key"]: group["name"] for group in _document(by="region")["groups"]}
    assert names == {"411602": "川汇区", "411603": "淮阳区"}
    days = {group["key"]: group["totals"]["accepted"] for group in _document(by="day")["groups"]}
    assert days == {"2022-01-11": 2}
    hours = [group["key"] for group in _document(by="hour")["groups"]]
    assert hours == ["2022-01-11T16:00"]
    assert {group["name"] for group in _document(by="tier")["groups"]} == {"蓝", "红"}


def test_a_span_is_widened_to_whole_hours() -> None:
    inside = ACCEPTED + timedelta(minutes=10)
    assert _document(since=inside)["totals"]["accepted"] == 2
    assert _document(until=inside)["totals"]["accepted"] == 2
    assert _document(until=ACCEPTED.replace(minute=0))["totals"]["accepted"] == 0
    assert _document(since=ACCEPTED + timedelta(hours=1))["totals"]["accepted"] == 0


def test_queues_show_the_oldest_first_with_their_age() -> None:
    cases = []
    for number, hours in enumerate((5, 9, 1)):
        tale = Tale(f"q{number}").opened()
        since = NOW - timedelta(hours=hours)
        facts = facts_of(tale.state)
        cases.append({**facts, "_id": tale.case_no, "tasks": [{"kind": "answer", "since": since}]})
    submitted = Tale("new").submitted()
    cases.append({**facts_of(submitted.state), "_id": submitted.case_no})
    queues = {queue["queue"]: queue for queue in queues_document(cases, {}, NOW)}
    assert queues.keys() == {"untriaged", "answer"}
    answer = queues["answer"]
    assert (answer["count"], answer["oldest_age_seconds"]) == (3, 9 * 3600)
    assert [case["age_seconds"] for case in answer["cases"]] == [9 * 3600, 5 * 3600, 3600]


@pytest.mark.parametrize("cases", [0, PAGE, PAGE + 1, PAGE * 32 + 1, PAGE * 32 * 32 + 1])
def test_pages_of_the_audit_cover_every_number_once(cases: int) -> None:
    ends: list[str] = []
    start: str | None = ""
    while start is not None:
        end = page_end(start, cases)
        assert end is None or end > start
        if end is not None:
            ends.append(end)
        start = end
    length = 0 if cases <= PAGE else 1 if cases <= PAGE * 32 else 2 if cases <= PAGE * 1024 else 3
    assert len(ends) == 32**length - 1


def test_a_page_ends_rightly_when_the_number_of_cases_grew_meanwhile() -> None:
    assert page_end("5", PAGE * 32 + 1) == "51"
    assert page_end("5Z", PAGE * 32 + 1) == "6"
    assert page_end("Z", PAGE + 1) is None
    assert ALPHABET[-1] == "Z"


def _progress(**reached: Reached) -> dict[int, Progress]:
    topics = {"requests": REQUESTS, "triage": TRIAGE, "handling": HANDLING}
    own = {topics[name]: place for name, place in reached.items()}
    return {n: Progress(n, 1, own if n == 0 else {}) for n in range(CASE_PARTITIONS)}


def test_as_of_is_now_when_nothing_is_unread() -> None:
    progress = _progress(requests=Reached(4, NOW - timedelta(days=3)))
    current = as_of(progress, {(REQUESTS, 0): 4}, NOW)
    assert (current["at"], current["is_current"]) == (NOW, True)


def test_as_of_is_the_oldest_of_the_partitions_with_unread_records() -> None:
    old, older = NOW - timedelta(minutes=2), NOW - timedelta(minutes=9)
    progress = _progress(
        requests=Reached(4, old),
        triage=Reached(7, NOW - timedelta(days=2)),
        handling=Reached(1, older),
    )
    ends = {(REQUESTS, 0): 5, (TRIAGE, 0): 7, (HANDLING, 0): 9}
    current = as_of(progress, ends, NOW)
    assert (current["at"], current["is_current"]) == (older, False)
    unseen = as_of(progress, {**ends, (TRIAGE, 5): 1}, NOW)
    assert unseen["at"] is None
    unknown = as_of(progress, None, NOW)
    assert (unknown["at"], unknown["is_current"]) == (NOW - timedelta(days=2), None)


def test_a_log_that_ends_before_what_was_applied_is_another_one() -> None:
    progress = _progress(requests=Reached(4, NOW))
    assert not is_behind(progress, {(REQUESTS, 0): 4})
    assert is_behind(progress, {(REQUESTS, 0): 3})
    assert is_behind(progress, {})


def test_neither_offset_nor_time_of_a_place_goes_back() -> None:
    reached = Reached(9, NOW).moved(5, NOW - timedelta(days=1)).moved(10, None)
    assert reached == Reached(10, NOW)


def test_a_page_of_figures_keeps_no_zeros() -> None:
    (bucket,) = figures_of([Tale().submitted().state])
    page = turned(Page(1, bucket.hour, {}), {bucket: Counter(accepted=1, open=1)})
    page = turned(page, {bucket: Counter({"open": -1})})
    assert page.cells == {bucket: Counter(accepted=1)}
    assert turned(page, {bucket: Counter({"accepted": -1})}).cells == {}


SECRET = b"s" * 32


def test_codes_are_checked_and_guessing_is_stopped() -> None:
    clock = [0.0]
    guard = CodeGuard(SECRET, lambda: clock[0])
    case_no = ids.case_number(b"x", "app", "1")
    code = ids.retrieval_code(SECRET, case_no)
    assert guard.number(ids.spoken(case_no).lower(), code, "a") == case_no
    assert guard.admit(case_no, 0, code, "a") == case_no
    with pytest.raises(Malformed):
        guard.number(case_no, None, "a")
    for _ in range(10):
        with pytest.raises(NotFound):
            guard.admit(case_no, 0, "0000000000", "a")
    with pytest.raises(TooManyRequests) as stopped:
        guard.number(case_no, code, "another")
    assert int(stopped.value.headers["Retry-After"]) == 900
    clock[0] = 901
    assert guard.number(case_no, code, "a") == case_no


def test_a_number_that_is_none_is_refused_as_a_wrong_code_is() -> None:
    guard = CodeGuard(SECRET, lambda: 0.0)
    problems = []
    for number in (None, ids.case_number(b"x", "app", "1")):
        with pytest.raises(NotFound) as refused:
            guard.admit(number, 0, "0000000000", "a")
        problems.append(refused.value.document())
    assert problems[0] == problems[1]


def test_an_address_that_fails_everywhere_has_to_wait() -> None:
    tries = Tries(2, 60)
    for subject in ("a", "a", "b"):
        tries.note(subject, 0)
    assert tries.wait_seconds("a", 10) == 50
    assert tries.wait_seconds("b", 10) == 0
    assert tries.wait_seconds("a", 61) == 0
