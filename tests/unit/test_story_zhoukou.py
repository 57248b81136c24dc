"""The Zhoukou story is the source's mix, obeys the channel's rules and names nobody real."""

import re
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from contracts.profile import Profile, load_profile
from contracts.vocabulary import TierCause
from deploy.simulators.stories import Story, StoryRequest
from deploy.simulators.stories.story import Order, Path, PathKind
from deploy.simulators.stories.zhoukou import load_story

BEIJING = timezone(timedelta(hours=8))
PHONE = re.compile(r"1\d{10}")
RESERVED_PHONE = re.compile(r"1380000\d{4}")


@pytest.fixture(scope="module")
def story() -> Story:
    return load_story()


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("zhoukou")


def day_of(request: StoryRequest) -> date:
    return request.submitted_at.astimezone(BEIJING).date()


def test_categories_are_the_sources_exactly(story: Story) -> None:
    counts = Counter(request.true_category for request in story.requests)
    figures = story.source_figures

    assert len(story.requests) == figures.requests == 473
    assert dict(counts) == {**figures.by_category, **figures.our_split_of_remaining}
    assert dict(figures.by_category) == {
        "policy": 262,
        "transport": 89,
        "health_code": 47,
        "medical": 13,
    }
    assert sum(figures.our_split_of_remaining.values()) == figures.remaining == 62


def test_requests_come_in_order_within_the_sources_days(story: Story) -> None:
    times = [request.submitted_at for request in story.requests]
    assert times == sorted(times)
    assert [request.ordinal for request in story.requests] == list(range(1, 474))
    figures = story.source_figures
    assert day_of(story.requests[0]) == figures.first_day == date(2022, 1, 11)
    assert day_of(story.requests[-1]) == figures.last_day == date(2022, 2, 16)
    assert len({request.external_id for request in story.requests}) == 473


def test_common_questions_fall_away_once_policies_stand_on_the_home_page(story: Story) -> None:
    turn = story.source_figures.home_page_policies_from
    first_week = [request for request in story.requests if day_of(request) < turn]
    later = [request for request in story.requests if day_of(request) >= turn]

    assert min(Counter(day_of(request) for request in first_week).values()) >= 20
    assert sum(request.from_common_question for request in first_week) / len(first_week) > 0.6
    assert sum(request.from_common_question for request in later) / len(later) < 0.3
    assert {entry.on_home_page_from for entry in story.policies if entry.policy.regions} == {turn}


def test_texts_are_many_and_fit_the_api(story: Story) -> None:
    texts = [request.text for request in story.requests]
    by_hand = {request.text for request in story.requests if not request.from_common_question}

    assert all(1 <= len(text) <= 4000 for text in texts)
    assert len(by_hand) >= 250
    assert len(set(texts)) >= 400
    assert not any("{" in text or "}" in text for text in texts), "an unfilled slot"
    assert min(map(len, texts)) <= 15
    assert max(map(len, texts)) >= 180


def test_regions_categories_and_departments_are_the_profiles(
    story: Story, profile: Profile
) -> None:
    counties = {region.code for region in profile.regions if region.level == "county"}
    categories = {category.code for category in profile.categories} | {None}
    departments = {department.code for department in profile.departments}
    channels = {channel.code for channel in profile.channels}

    assert {request.region for request in story.requests} == counties
    assert {request.category for request in story.requests} <= categories
    assert {request.channel for request in story.requests} <= channels
    for request in story.requests:
        used = {
            department
            for order in request.path.orders
            for department in (*order.tried, *(assist.department for assist in order.assists))
        }
        inquiries = [played.inquiry for played in request.path.rounds if played.inquiry]
        used |= {inquiry.department for inquiry in inquiries}
        if request.path.withdrawal and request.path.withdrawal.department:
            used.add(request.path.withdrawal.department)
        assert used <= departments, request.ordinal


AT_LEAST: dict[str, tuple[int, Callable[[Path], object]]] = {
    "inquired": (12, lambda path: path.kind is PathKind.INQUIRED),
    "handed off": (60, lambda path: path.kind is PathKind.HANDED_OFF),
    "to 12345": (4, lambda path: path.orders and path.orders[0].department == "hotline-12345"),
    "to 110": (1, lambda path: path.orders and path.orders[0].department == "hotline-110"),
    "not accepted": (3, lambda path: path.not_accepted),
    "urged": (6, lambda path: path.urgings),
    "returned": (6, lambda path: any(order.returns for order in path.orders)),
    "returned twice, then assigned": (1, lambda path: any(o.binding for o in path.orders)),
    "reopened": (6, lambda path: path.reopened),
    "reopened after an online answer": (1, lambda path: path.reopened and path.rounds[0].answer),
    "withdrawn before the hand-off": (
        1,
        lambda path: path.withdrawal and path.withdrawal.moment == "before_handoff",
    ),
    "withdrawn after the hand-off": (
        1,
        lambda path: path.withdrawal and path.withdrawal.moment == "after_handoff",
    ),
    "withdrawn": (3, lambda path: path.withdrawal),
    "supplemented": (8, lambda path: path.supplements),
    "danger": (6, lambda path: path.judgement and path.judgement.cause is TierCause.DANGER),
    "complex": (2, lambda path: path.judgement and path.judgement.cause is TierCause.COMPLEX),
    "extended": (2, lambda path: any(order.extension for order in path.orders)),
    "assisted": (4, lambda path: any(order.assists for order in path.orders)),
    "visited by a person": (
        3,
        lambda path: path.rounds and path.rounds[-1].feedback.by == "visit",
    ),
    "left for lookup": (20, lambda path: path.told_by == "lookup"),
}


@pytest.mark.parametrize("twist", AT_LEAST)
def test_every_twist_is_played(story: Story, twist: str) -> None:
    wanted, shows = AT_LEAST[twist]
    assert sum(bool(shows(request.path)) for request in story.requests) >= wanted


def test_renji_township_confirms_one_case_by_telephone(story: Story) -> None:
    inquiries = [
        played.inquiry
        for request in story.requests
        for played in request.path.rounds
        if played.inquiry and "任集乡" in played.inquiry.asked
    ]
    assert [inquiry.by for inquiry in inquiries] == ["telephone"]


def test_groups_have_three_members_and_one_splits_off(story: Story) -> None:
    assert len(story.groups) >= 2
    for group in story.groups:
        members = story.members(group.code)
        assert len(members) >= 3
        assert len({member.region for member in members}) == 1
        assert members[0].path.orders
    followers = [request for request in story.requests if request.path.kind is PathKind.GROUPED]
    assert [request for request in followers if request.path.reopened]


def test_dangers_ring_the_line_of_their_cause(story: Story) -> None:
    for request in story.requests:
        judgement = request.path.judgement
        if judgement is None or judgement.cause is not TierCause.DANGER:
            continue
        assert request.path.orders
        police = request.path.orders[0].department == "hotline-110"
        assert judgement.ring == (("110",) if police else ("120",))
    said = " ".join(
        request.text for request in story.requests if request.path.judgement is not None
    )
    assert all(word in said for word in ("透析", "预产期", "奶粉"))


def test_results_name_an_act_a_day_and_a_contact(story: Story, profile: Profile) -> None:
    for request in story.requests:
        for order in request.path.orders:
            for result in (order.result, *(assist.result for assist in order.assists)):
                assert result.acted_at >= request.submitted_at
                assert RESERVED_PHONE.search(result.contact)
                assert result.contact in result.text
                assert result.text.startswith(result.acts)
                assert not [word for word in profile.rules.hollow_words if word in result.text]


def test_answers_quote_policies_that_hold_on_that_day(story: Story) -> None:
    assert len(story.policies) >= 20
    quotes = 0
    for request in story.requests:
        for played in request.path.rounds:
            for quote in played.quotes:
                policy = story.policies_by_id[quote].policy
                quotes += 1
                assert policy.valid_from <= request.submitted_at, (request.ordinal, quote)
                until = policy.valid_until or datetime.max.replace(tzinfo=UTC)
                assert request.submitted_at < until, (request.ordinal, quote)
                assert policy.regions in {(), (request.region,)}, (request.ordinal, quote)
    assert quotes > 200


def test_every_number_is_from_the_reserved_block(story: Story) -> None:
    numbers = PHONE.findall(story.model_dump_json())
    assert len(numbers) > 400
    assert all(RESERVED_PHONE.fullmatch(number) for number in numbers)
    phones = [request.contact.phone for request in story.requests if request.contact]
    assert len(set(phones)) == len(phones)


def test_a_body_holds_what_the_citizen_sends_and_nothing_of_the_plan(story: Story) -> None:
    dialysis = next(request for request in story.requests if "尿毒症" in request.text)
    body = dialysis.body()
    assert body["location"] == {"address": dialysis.address}
    assert body["on_behalf_of"]["age"] == 72
    assert datetime.fromisoformat(body["occurred_at"]) == dialysis.submitted_at
    allowed = {"text", "category", "region", "location", "contact", "on_behalf_of"}
    allowed |= {"occurred_at", "external_id"}
    bodies = [request.body() for request in story.requests]
    assert {name for each in bodies for name in each} == allowed
    assert [each for each in bodies if "category" not in each]


def order_with(**changes: Any) -> Order:
    result = {"text": "t", "acts": "t", "acted_at": datetime(2022, 1, 12, tzinfo=UTC)}
    return Order.model_validate(
        {"department": "health", "result": {**result, "contact": "c"}, **changes}
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"returns": [{"by": "police", "ground": "g", "proper": "transport"}]}, "sent to health"),
        ({"binding": True}, "指派"),
        (
            {
                "returns": [
                    {"by": "police", "ground": "g", "proper": "police"},
                    {"by": "police", "ground": "g", "proper": "health"},
                ],
                "binding": True,
            },
            "twice",
        ),
    ],
)
def test_an_order_against_the_rules_is_refused(changes: dict[str, Any], why: str) -> None:
    assert order_with(returns=[{"by": "police", "ground": "g", "proper": "health"}])
    with pytest.raises(ValidationError, match=why):
        order_with(**changes)


def test_a_path_that_ends_unsolved_is_refused() -> None:
    feedback = {"by": "citizen", "level": 2, "solved": False}
    with pytest.raises(ValidationError, match="last round must solve"):
        Path.model_validate({"kind": "answered", "rounds": [{"answer": "a", "feedback": feedback}]})
