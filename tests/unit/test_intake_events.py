"""The events that intake writes, and what is answered from them."""

from __future__ import annotations

from datetime import UTC, datetime

from contracts import ids
from contracts.danger import DangerMatcher
from contracts.envelope import Event, parse
from contracts.profile import load_profile
from contracts.requests import RequestSubmitted
from services.intake.domain.answers import cause_of_danger, submission_answer, wish_answer
from services.intake.domain.bodies import (
    CheckedAgainst,
    RatingBody,
    SubmissionBody,
    SupplementBody,
    WithdrawalBody,
)
from services.intake.domain.submission import Submission, submitted
from services.intake.domain.wishes import WishBody, record_id, wish

PROFILE = load_profile("zhoukou")
MATCHER = DangerMatcher(PROFILE)
NOW = datetime(2022, 1, 18, 8, tzinfo=UTC)
SECRET = b"s" * 32
TRACE = "00-" + "1" * 32 + "-" + "2" * 16 + "-01"
CASE = ids.case_number(SECRET, "app", "key")


def event_of(text: str, *, digest: str = "d1", situation: str | None = None) -> Event:
    content = {"text": text, "on_behalf_of": {"situation": situation}}
    body = SubmissionBody.model_validate(content, context=CheckedAgainst(PROFILE, False, NOW))
    return submitted(
        Submission(CASE, "app", "key", body, digest),
        profile=PROFILE,
        matcher=MATCHER,
        code_version=1,
        accepted_at=NOW,
        traceparent=TRACE,
    )


def wish_of(body: WishBody, key: str = "k") -> Event:
    return wish(CASE, body, by="citizen", key=key, now=NOW, traceparent=TRACE)


def test_a_submission_reads_back_from_its_record() -> None:
    event = event_of("从郑州返乡要隔离吗")
    assert parse(event.headers(), event.encoded) == event
    assert (event.data.document_id, event.data.seq, event.data.lc) == (CASE, None, 1)
    assert event.id == ids.event_id(CASE, CASE, "request.submitted", event.data.caused_by)


def test_another_body_under_one_key_is_another_event_of_the_same_case() -> None:
    one, other = event_of("甲"), event_of("甲", digest="d2")
    assert one.data.case_no == other.data.case_no
    assert one.id != other.id
    assert event_of("甲").encoded == one.encoded


def test_the_key_itself_never_reaches_the_log() -> None:
    secret = "key-13800001234"
    event = wish_of(WithdrawalBody(), key=secret)
    assert secret not in event.encoded.decode() + str(event.headers()) + record_id(event)


def test_danger_is_answered_with_whom_to_ring_and_recorded_without_words() -> None:
    text = "我母亲突然昏迷，叫不醒了"
    event = event_of(text)
    answer = submission_answer(event, PROFILE, SECRET, "https://jieyou.example.cn/")
    assert answer["danger"]["ring"][0] == {
        "number": "120",
        "name": "急救",
        "says": PROFILE.hotlines_by_code["120"].says,
    }
    assert answer["status_url"] == f"https://jieyou.example.cn/v1/cases/{CASE}"
    assert ids.is_retrieval_code(SECRET, CASE, 0, answer["retrieval_code"])
    assert isinstance(event.data, RequestSubmitted)
    sign = event.data.danger[0]
    assert text[sign.start : sign.end] in text
    assert cause_of_danger(event, MATCHER) == "medical"


def test_danger_that_stands_in_the_situation_of_the_other_person_counts() -> None:
    assert cause_of_danger(event_of("请帮帮我父亲", situation="昏迷不醒"), MATCHER) == "medical"
    assert cause_of_danger(event_of("请帮帮我父亲", situation="行动不便"), MATCHER) is None


def test_no_danger_is_said_so() -> None:
    assert submission_answer(event_of("返乡政策"), PROFILE, SECRET, "http://x")["danger"] is None


def test_later_words_have_one_event_for_each_kind_and_key() -> None:
    bodies: list[WishBody] = [
        SupplementBody(text="还在等"),
        WithdrawalBody(),
        RatingBody(level=5, solved=True),
    ]
    events = [wish_of(body, key) for body in bodies for key in ("a", "b")]
    assert len({event.id for event in events}) == 6
    assert len({record_id(event) for event in events}) == 6
    assert wish_of(bodies[0], "a").id == events[0].id
    assert all(parse(event.headers(), event.encoded) == event for event in events)


def test_a_supplement_that_shows_danger_is_answered_with_whom_to_ring() -> None:
    calm = wish_answer(wish_of(SupplementBody(text="地址补充：七一路")), PROFILE, MATCHER)
    assert calm["danger"] is None
    grave = wish_answer(wish_of(SupplementBody(text="他现在昏迷叫不醒")), PROFILE, MATCHER)
    assert grave["danger"]["ring"][0]["number"] == "120"
    assert "danger" not in wish_answer(wish_of(WithdrawalBody()), PROFILE, MATCHER)
