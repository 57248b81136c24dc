"""What the citizen is told of which event, and in which words."""

from datetime import UTC, datetime
from typing import Any

import pytest

from contracts import handling as h
from contracts import triage as t
from contracts.envelope import Event, EventData, event_types
from contracts.lifecycle import HandoffDocument
from contracts.profile import STEP_FIELDS, load_profile
from contracts.telling import ERASED, local_time, told_step
from contracts.vocabulary import OutcomeKind, Result, Role
from services.chassis.kept import Kept
from tests.notify_story import START, CaseStory

PROFILE = load_profile("zhoukou")


def handling(data_type: type[EventData], role: Role = Role.LEAD, **fields: Any) -> Event:
    kept = Kept(HandoffDocument("h1", CaseStory().case_no), [], 0)
    return kept.record(
        data_type,
        cause="reply:health/h1/r1",
        now=START,
        handoff_id="h1",
        role=role,
        attempt=1,
        department="health",
        **fields,
    )


def test_acceptance_names_category_and_due_time_in_the_profiles_zone() -> None:
    told = told_step(CaseStory().opened(), PROFILE)
    assert told is not None
    assert told.step == "accepted"
    assert not told.is_outcome
    assert "寻医买药" in told.text
    assert "1月19日 15:00" in told.text


def test_only_the_leading_order_is_told() -> None:
    told = told_step(CaseStory().ordered("transport"), PROFILE)
    assert told is not None
    assert (told.step, told.department) == ("handed_over", "transport")
    assert "市交通运输局" in told.text
    assert "1月18日 23:00" in told.text
    assert told_step(CaseStory().ordered("transport", role=Role.ASSIST), PROFILE) is None


@pytest.mark.parametrize(
    ("event", "step"),
    [
        (handling(h.HandoffSigned, implied=False), "signed"),
        (handling(h.HandoffSigned, implied=True), None),
        (handling(h.HandoffSigned, Role.ASSIST), None),
        (handling(h.HandoffProgressed, text="在备药"), "progress"),
        (handling(h.HandoffProgressed, Role.ASSIST, text="在备药"), None),
        (handling(h.HandoffQuestioned, Role.ASSIST, text="几楼"), "question"),
        (handling(h.HandoffResolved, result=Result(text="已送到")), None),
        (handling(h.HandoffPassedOn, unit="任集乡"), None),
    ],
)
def test_what_a_department_does_is_told_where_it_concerns_the_citizen(
    event: Event, step: str | None
) -> None:
    told = told_step(event, PROFILE)
    assert (told.step if told else None) == step


def test_outcomes_are_marked_and_carry_the_words() -> None:
    story = CaseStory()
    answered = told_step(story.answered("可以出城就医"), PROFILE)
    resolved = told_step(CaseStory().resolved("h1", "health"), PROFILE)
    assert answered is not None
    assert resolved is not None
    assert (answered.step, answered.is_outcome) == ("answered", True)
    assert "可以出城就医" in answered.text
    assert (resolved.step, resolved.is_outcome) == ("resolved", True)
    assert "市卫生健康委" in resolved.text


def test_a_group_result_is_told_as_what_it_is() -> None:
    fields: dict[str, Any] = {"group_id": "g", "group_version": 2, "result": Result(text="有专车")}
    for outcome, step in (("answer", "answered"), ("result", "resolved")):
        event = CaseStory().write(t.CaseGroupResolved, outcome=outcome, **fields)
        told = told_step(event, PROFILE)
        assert told is not None
        assert (told.step, told.is_outcome) == (step, True)


def test_refusal_says_why_and_where_to_go() -> None:
    event = CaseStory().write(t.CaseNotAccepted, reason="不属疫情求助", person="desk-1")
    told = told_step(event, PROFILE)
    assert told is not None
    assert told.is_outcome
    assert "不属疫情求助" in told.text
    assert "12345" in told.text
    redacted = told_step(event.redacted(), PROFILE)
    assert redacted is not None
    assert "不属疫情求助" not in redacted.text
    assert ERASED in redacted.text


def test_a_withdrawal_that_comes_too_late_names_the_unit_if_it_is_known() -> None:
    late = CaseStory().write(t.WithdrawalEnded, wish="w", ground="too_late")
    named = told_step(late, PROFILE, department="health")
    unnamed = told_step(late, PROFILE)
    assert named is not None
    assert unnamed is not None
    assert "市卫生健康委" in named.text
    assert "承办单位" in unnamed.text
    declined = CaseStory().write(t.WithdrawalEnded, wish="w", ground="declined")
    assert told_step(declined, PROFILE) is None
    withdrawn = told_step(CaseStory().write(t.CaseWithdrawn, wish="w"), PROFILE)
    assert withdrawn is not None
    assert withdrawn.is_outcome


@pytest.mark.parametrize(
    ("outcome", "is_asked"),
    [
        (OutcomeKind.ANSWER, True),
        (OutcomeKind.RESULT, True),
        (OutcomeKind.WITHDRAWN, False),
        (OutcomeKind.NOT_ACCEPTED, False),
        (None, False),
    ],
)
def test_only_who_was_helped_is_asked_for_a_rating(
    outcome: OutcomeKind | None, is_asked: bool
) -> None:
    assert (told_step(CaseStory().finished(outcome), PROFILE) is not None) is is_asked
    older = CaseStory().finished(None)
    assert (told_step(older, PROFILE, outcome=outcome) is not None) is is_asked


def test_a_group_of_one_is_no_news() -> None:
    fields: dict[str, Any] = {"group_id": "g", "group_version": 1, "kind": "same_need"}
    story = CaseStory()
    alone = story.write(t.CaseJoinedGroup, anchor=story.case_no, size=1, **fields)
    many = story.write(t.CaseJoinedGroup, anchor=story.case_no, size=5, **fields)
    assert told_step(alone, PROFILE) is None
    told = told_step(many, PROFILE)
    assert told is not None
    assert "4位" in told.text


def test_every_step_told_has_words_whose_fields_are_given() -> None:
    """Nothing told may fail at the moment of telling for a field that the profile names."""
    told_types = {
        *("case.opened", "handoff.ordered", "handoff.signed", "handoff.progressed"),
        *("handoff.questioned", "case.answered", "case.resolved", "case.group_resolved"),
        *("case.not_accepted", "case.withdrawn", "withdrawal.ended", "case.finished"),
        *("case.reopened", "case.closed", "case.joined_group"),
    }
    assert told_types <= event_types().keys()
    assert STEP_FIELDS.keys() == PROFILE.words.keys()
    seen = CaseStory().write(t.CaseSeen, person="desk-1")
    assert told_step(seen, PROFILE) is None
    closed = told_step(CaseStory().write(t.CaseClosed, ground="rated"), PROFILE)
    reopened = CaseStory().write(t.CaseReopened, tier="orange", ground="not_solved")
    again = told_step(reopened, PROFILE)
    assert closed is not None
    assert again is not None
    assert "规定时限" in again.text


def test_times_are_said_as_people_say_them() -> None:
    assert local_time(datetime(2022, 1, 18, 7, 20, tzinfo=UTC), "Asia/Shanghai") == "1月18日 15:20"
