"""When a case is erased, and what the desk and the rules still do with it."""

import json

import pytest

from contracts import handling as h
from contracts.envelope import EventData
from contracts.lifecycle import Phase
from contracts.requests import ErasureRequested
from contracts.triage import CaseErased, WishDeclined
from contracts.vocabulary import Tier
from services.triage.domain import desk
from services.triage.domain.occasion import NotPossible
from services.triage.domain.opening import conflict
from services.triage.domain.views import shown
from tests.unit.triage_room import GOOD, Room, decision

OPERATOR, CHANNEL = "operator:ops", "channel:app"


def opened() -> Room:
    room = Room()
    room.open()
    return room


def closed() -> Room:
    room = opened()
    room.do(desk.answer, "clerk-1", "可以返乡，某先生")
    room.told()
    room.rate()
    assert room.phase() is Phase.CLOSED
    return room


def declined(room: Room, data: EventData) -> str:
    assert isinstance(data, WishDeclined)
    return data.ground


def test_the_operator_and_a_case_that_is_over_are_erased_at_once() -> None:
    for room, by in ((opened(), OPERATOR), (closed(), OPERATOR), (closed(), CHANNEL)):
        [event] = room.wish(ErasureRequested, by=by)
        assert isinstance(event.data, CaseErased)
        assert (event.data.by, event.data.rev) == (by, 1)
        assert room.case.erased


def test_an_open_case_is_erased_only_after_a_person_has_looked() -> None:
    room = opened()
    room.wish(ErasureRequested, by=CHANNEL)
    assert room.tasks == ["answer", "erasure"]
    assert "case.erased" not in room.types()
    room.do(desk.decide_erasure, "clerk-1", True)
    assert room.case.erased
    assert room.tasks == ["answer"]
    with pytest.raises(NotPossible):
        room.do(desk.decide_erasure, "clerk-1", True)


def test_the_desk_may_keep_an_open_case_and_says_so() -> None:
    room = opened()
    room.wish(ErasureRequested, by=CHANNEL)
    [event] = room.do(desk.decide_erasure, "clerk-1", False)
    assert declined(room, event.data) == "handled"
    assert not room.case.erased
    assert room.tasks == ["answer"]


def test_what_nobody_decided_is_erased_when_the_case_is_closed() -> None:
    room = opened()
    room.wish(ErasureRequested, by=CHANNEL)
    room.do(desk.answer, "clerk-1", "可以返乡")
    assert room.tasks == ["erasure"]
    room.told()
    events = room.rate()
    assert [event.type for event in events] == ["case.rated", "case.closed", "case.erased"]
    assert room.tasks == []


def test_nothing_personal_is_recorded_or_shown_after_the_erasure() -> None:
    room = opened()
    room.do(desk.inquire, "clerk-1", "health", "message", "问某先生的事")
    room.wish(ErasureRequested, by=OPERATOR)
    assert declined(room, room.supplement("我是某先生")[0].data) == "erased"
    [answered] = room.do(desk.answer, "clerk-1", "某先生可以返乡")
    assert "某" not in answered.encoded.decode()
    view = json.dumps(shown(room.case), ensure_ascii=False, default=str)
    assert "某" not in view
    assert "已清除个人信息" in view
    with pytest.raises(NotPossible):
        room.do(desk.give, "clerk-1", "health")


def test_a_second_wish_and_another_submission_get_an_answer_too() -> None:
    room = closed()
    room.wish(ErasureRequested, by=CHANNEL)
    assert declined(room, room.wish(ErasureRequested, by=OPERATOR)[0].data) == "erased"
    submitted = Room(name="b")
    said = submitted.submission()
    [event] = conflict(room.occasion("event:other", said), room.kept, "other", said)
    assert declined(room, event.data) == "erased"
    assert room.tasks == []


def test_a_rating_still_counts_and_its_comment_goes() -> None:
    room = opened()
    room.do(desk.answer, "clerk-1", "可以返乡")
    room.told()
    room.wish(ErasureRequested, by=OPERATOR)
    rated = room.rate(level=4)[0]
    assert room.case.marks[-1].rating.level == 4
    assert "comment" not in rated.encoded.decode()


def test_an_erased_case_that_is_ordered_still_reaches_its_end() -> None:
    room = Room()
    room.open(decision(Tier.ORANGE, lead="health"))
    room.wish(ErasureRequested, by=OPERATOR)
    assert room.phase() is Phase.ORDERED
    room.report(h.HandoffResolved, result=GOOD)
    room.told()
    room.rate()
    assert room.phase() is Phase.CLOSED
