"""The rules of the hand-off: signing, returning, extending, ending, and the department's clock."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from contracts import handling as h
from contracts.envelope import Event
from contracts.feeds import REPLY, AnyReply, HandoffState
from contracts.lifecycle import HandoffDocument
from contracts.profile import load_profile
from contracts.triage import HandoffOrdered
from services.chassis.due import moments
from services.chassis.kept import Kept
from services.notify.domain import handoffs, replies
from services.notify.domain.because import Because
from services.notify.domain.feed import feed_document, is_seen_by_department
from tests.notify_story import EXTERNAL_ID, NAME, PHONE, START, CaseStory

PROFILE = load_profile("zhoukou")
Handoff = Kept[HandoffDocument]


def minutes(count: float) -> datetime:
    return START + timedelta(minutes=count)


def taken(*, by_feed: bool = True, department: str = "health", **order: Any) -> Handoff:
    ordered = CaseStory().ordered(department, **order)
    assert isinstance(ordered.data, HandoffOrdered)
    kept: Handoff = Kept(HandoffDocument(ordered.data.handoff_id, ordered.data.case_no), [], 0)
    take = handoffs.take_to_feed if by_feed else handoffs.take_to_queue
    take(Because.of(ordered, START), kept, ordered.data)
    return kept


def say(kept: Handoff, act: str, at: datetime = START, **fields: Any) -> list[Event]:
    """A department replies at a time; returns what was recorded."""
    body = {
        "act": act,
        "reply_id": f"r{kept.document.seq}",
        "handoff_id": kept.document.document_id,
    }
    reply: AnyReply = REPLY.validate_python({**body, **fields})
    before = kept.document.seq
    cause = replies.cause_of(kept.document.department, reply)
    replies.take(Because(cause, at), kept, reply, PROFILE)
    return kept.events[before:]


def types(events: list[Event]) -> list[str]:
    return [event.type for event in events]


RETURN = {"ground": "不归我们", "proper_department": "transport"}


def test_the_clock_starts_with_the_dispatch_and_a_signature_ends_two_of_the_three() -> None:
    kept = taken()
    clocks = kept.document.deadlines
    assert set(clocks) == {"signed", "return_window", "result"}
    assert clocks["result"].near_at == START + timedelta(minutes=480 * 0.75)
    say(kept, "sign", minutes(5))
    assert set(kept.document.deadlines) == {"result"}
    assert kept.document.state is HandoffState.SIGNED


def test_a_binding_order_has_no_window_and_cannot_be_returned() -> None:
    kept = taken(binding=True)
    assert "return_window" not in kept.document.deadlines
    [refused] = say(kept, "return", minutes(1), **RETURN)
    assert isinstance(refused.data, h.ReplyRefused)
    assert refused.data.why == replies.Refusal.BINDING


def test_signing_once_more_changes_nothing() -> None:
    kept = taken()
    assert types(say(kept, "sign", minutes(1))) == ["handoff.signed"]
    assert say(kept, "sign", minutes(2)) == []


@pytest.mark.parametrize(
    ("act", "fields", "recorded"),
    [
        ("progress", {"text": "在备药"}, "handoff.progressed"),
        ("question", {"text": "几楼"}, "handoff.questioned"),
        ("pass_on", {"unit": "任集乡"}, "handoff.passed_on"),
        (
            "contacted",
            {"by": "telephone", "contacted_at": START, "reached": True},
            "handoff.contacted",
        ),
        (
            "extension",
            {"ground": "药在路上", "result_due_at": minutes(900)},
            "handoff.extension_requested",
        ),
        ("result", {"text": "已送到"}, "handoff.resolved"),
    ],
)
def test_every_act_signs_by_itself_and_ends_the_right_to_return(
    act: str, fields: dict[str, Any], recorded: str
) -> None:
    kept = taken()
    signed, done = say(kept, act, minutes(3), **fields)
    assert isinstance(signed.data, h.HandoffSigned)
    assert signed.data.implied
    assert done.type == recorded
    assert not {"signed", "return_window"} & set(kept.document.deadlines)
    [refused] = say(kept, "return", minutes(4), **RETURN)
    assert refused.type == "handoff.reply_refused"


def test_a_return_within_the_window_ends_the_handoff_and_all_its_clocks() -> None:
    kept = taken()
    [returned] = say(
        kept, "return", minutes(59), ground="不归我们", proper_department="市交通运输局"
    )
    assert isinstance(returned.data, h.HandoffReturned)
    assert returned.data.proper_department == "transport"
    assert kept.document.state is HandoffState.RETURNED
    assert kept.document.deadlines == {}


def test_a_return_past_the_window_counts_as_signed_however_early_it_claims_to_be() -> None:
    kept = taken()
    [refused] = say(kept, "return", minutes(61), occurred_at=minutes(1), **RETURN)
    assert isinstance(refused.data, h.ReplyRefused)
    assert refused.data.why == replies.Refusal.WINDOW_OVER


def test_a_return_that_waited_on_the_bus_is_measured_by_its_own_time() -> None:
    kept = taken()
    body = {"act": "return", "reply_id": "r", "handoff_id": kept.document.document_id, **RETURN}
    reply = REPLY.validate_python({**body, "occurred_at": minutes(30)})
    because = Because(replies.cause_of("health", reply), minutes(90))
    replies.take(because, kept, reply, PROFILE, came_late=True)
    assert kept.document.state is HandoffState.RETURNED
    assert kept.document.returned_at == minutes(30)
    assert kept.events[-1].data.recorded_at == minutes(90)


def test_the_same_department_cannot_return_a_case_twice_nor_name_itself() -> None:
    [second] = say(taken(returned_by=("health",)), "return", START, **RETURN)
    [itself] = say(taken(), "return", ground="不归我们", proper_department="市卫生健康委")
    assert isinstance(second.data, h.ReplyRefused)
    assert isinstance(itself.data, h.ReplyRefused)
    assert second.data.why == replies.Refusal.RETURNED_BEFORE
    assert itself.data.why == replies.Refusal.NAMES_ITSELF


def test_what_comes_after_the_end_is_refused_and_a_late_result_kept() -> None:
    kept = taken()
    say(kept, "return", minutes(1), **RETURN)
    [refused] = say(kept, "result", minutes(2), text="其实办好了")
    assert isinstance(refused.data, h.ReplyRefused)
    assert refused.data.why == "returned"
    assert kept.document.late_result is not None
    assert kept.document.state is HandoffState.RETURNED
    assert set(replies.WORDS) == set(replies.Refusal)


def test_an_extension_must_be_later_and_a_granted_one_moves_the_clock() -> None:
    kept = taken()
    [*_, earlier] = say(kept, "extension", result_due_at=minutes(100), ground="慢")
    assert isinstance(earlier.data, h.ReplyRefused)
    handoffs.extend(Because("event:e", minutes(400)), kept, True, minutes(900))
    clock = kept.document.deadlines["result"]
    assert (clock.version, clock.due_at) == (2, minutes(900))
    assert clock.near_at == minutes(400 + 500 * 0.75)
    assert feed_document(kept).result_due_at == minutes(900)
    handoffs.extend(Because("event:f", minutes(401)), kept, False, None)
    assert kept.document.deadlines["result"] == clock


def test_the_end_of_the_window_signs_but_is_no_timely_signature() -> None:
    kept = taken(sign_due_at=minutes(90))
    now = minutes(120)
    while (due := moments(list(kept.document.deadlines.values()))) and due[0].at <= now:
        handoffs.fire(kept, due[0], now)
    happened = [
        (event.type, getattr(event.data, "name", ""), getattr(event.data, "firing", ""))
        for event in kept.events[1:]
    ]
    assert happened == [
        ("handoff.signed", "", ""),
        ("handoff.deadline_fired", "signed", "near"),
        ("handoff.deadline_fired", "signed", "missed"),
    ]
    assert kept.document.state is HandoffState.SIGNED
    assert types(say(kept, "sign", minutes(130))) == ["handoff.signed"]
    assert not kept.document.sign_implied


def test_recall_end_and_late_news_by_state() -> None:
    kept = taken()
    handoffs.recall(Because("event:a", minutes(1)), kept, "withdrawal")
    assert kept.document.state is HandoffState.RECALLED
    handoffs.recall(Because("event:b", minutes(2)), kept, "withdrawal")
    handoffs.urge(Because("event:c", minutes(2)), kept)
    handoffs.supplement(Because("event:d", minutes(2)), kept, "x")
    handoffs.end(Because("event:e", minutes(2)), kept)
    assert kept.document.seq == 2

    resolved = taken()
    say(resolved, "result", minutes(1), text="好了")
    handoffs.recall(Because("event:a", minutes(2)), resolved, "withdrawal")
    assert resolved.events[-1].type == "handoff.recall_too_late"
    assert resolved.document.state is HandoffState.RESOLVED


def test_a_reply_before_the_receipt_is_the_receipt() -> None:
    kept = taken(by_feed=False)
    assert types(say(kept, "sign", minutes(2))) == ["handoff.sent", "handoff.signed"]
    assert handoffs.sent(Because("attempt:d/1", minutes(3)), kept, "http") is None
    assert "result" in kept.document.deadlines


def test_the_feed_shows_what_the_department_may_see() -> None:
    open_one = feed_document(taken())
    assert open_one.contact is not None
    assert open_one.contact.phone == PHONE
    assert open_one.version == 1
    words = feed_document(taken(confidential=True)).model_dump_json()
    assert not any(secret in words for secret in (NAME, PHONE, EXTERNAL_ID, '"age"'))
    assert "callback" not in open_one.model_dump_json()


def test_what_tells_the_department_nothing_is_not_published_to_its_feed() -> None:
    kept = taken(by_feed=False)
    handoffs.undeliverable(Because("attempt:d/1", minutes(1)), kept, "refused")
    assert [is_seen_by_department(event) for event in kept.events] == [False, False]
    handoffs.sent(Because("command:c", minutes(2)), kept, "telephone", "desk-1")
    assert is_seen_by_department(kept.events[-1])
    assert kept.document.state is HandoffState.SENT


def test_a_reply_id_that_is_used_for_something_else_is_found_out() -> None:
    kept = taken()
    [signed] = say(kept, "sign", minutes(1))
    cause = signed.data.caused_by
    assert replies.outcome_of(kept, cause, "sign") is replies.Outcome.TAKEN
    assert replies.outcome_of(kept, cause, "result") is replies.Outcome.OTHER
    assert replies.outcome_of(kept, "reply:health/h/none", "sign") is None
