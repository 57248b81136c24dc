"""What a channel may send: each field's rule, each refusal naming its field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import HttpUrl, ValidationError

from contracts.profile import load_profile
from services.chassis.http.field_errors import field_errors
from services.intake.domain.bodies import (
    CheckedAgainst,
    RatingBody,
    SubmissionBody,
    SupplementBody,
)
from services.intake.domain.callbacks import callback_trouble
from services.intake.domain.phone import normalised
from services.intake.domain.writing import cleaned

NOW = datetime(2022, 1, 18, 8, tzinfo=UTC)
AGAINST = CheckedAgainst(load_profile("zhoukou"), allow_private_callbacks=False, now=NOW)


def wrong_fields(**content: Any) -> dict[str, str]:
    """The fields that a submission is refused for, with the reasons; empty if it is taken."""
    try:
        SubmissionBody.model_validate({"text": "求助", **content}, context=AGAINST)
    except ValidationError as error:
        return {one.field: one.why for one in field_errors(error.errors(include_url=False))}
    return {}


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("13800001234", "13800001234"),
        ("+86 138-0000-1234", "13800001234"),
        ("008613800001234", "13800001234"),
        ("１３８００００１２３４", "13800001234"),
        ("(0394) 8222333", "0394-8222333"),
        ("03948222333转12", "0394-8222333转12"),
        ("+86 394 8222333", "0394-8222333"),
        ("+86 10 82223333", "010-82223333"),
        ("021-62223333", "021-62223333"),
        ("8222333", "8222333"),
        ("400-123-4567", "4001234567"),
        ("+864001234567", "4001234567"),
        ("12345", "12345"),
        ("110", "110"),
        ("95588", "95588"),
        ("+852 2123 4567", "+85221234567"),
    ],
)
def test_a_number_that_can_be_rung_has_one_form(written: str, stored: str) -> None:
    assert normalised(written) == stored
    assert normalised(stored) == stored


@pytest.mark.parametrize(
    "written",
    [
        "",
        "1380000123",
        "138000012345",
        "12800001234",
        "二三四",
        "0394",
        "1234567",
        "+86",
        "+1",
        "13800001234转",
        "13800001234转5",
        "138@0001234",
        "999999999999999999",
        "٠١٢٣٤٥٦٧٨٩",
    ],
)
def test_a_broken_number_is_refused(written: str) -> None:
    assert normalised(written) is None


@given(st.text(max_size=40))
def test_no_text_makes_the_phone_rule_fail(written: str) -> None:
    stored = normalised(written)
    assert stored is None or normalised(stored) == stored


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        (" \u3000急！\r\n快\u0000来\t\n\u200b", "急！\n快来"),
        ("a\u202eb\u2066c", "abc"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("\ufeff\u3000 \n", ""),
    ],
)
def test_text_is_kept_without_what_nobody_sees(written: str, kept: str) -> None:
    assert cleaned(written) == kept


@given(st.text())
def test_cleaning_twice_changes_nothing_more(written: str) -> None:
    assert cleaned(cleaned(written)) == cleaned(written)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://127.1/x",
        "http://0x7f000001/x",
        "http://2130706433/x",
        "http://10.1.2.3/x",
        "http://169.254.169.254/latest",
        "http://[::1]/x",
        "http://[::ffff:10.0.0.1]/x",
        "http://[fd00::1]/x",
        "http://localhost:8080/x",
        "http://kafka:9092/x",
        "http://intake.local/x",
        "http://metadata.google.internal/x",
        "http://0.0.0.0/x",
        "http://224.0.0.1/x",
    ],
)
def test_a_callback_into_the_own_network_is_only_for_channels_that_may(url: str) -> None:
    assert callback_trouble(HttpUrl(url), allow_private=False) == "不能是内网或本机地址"
    assert callback_trouble(HttpUrl(url), allow_private=True) is None


def test_a_callback_outside_is_taken_but_not_with_a_password() -> None:
    assert callback_trouble(HttpUrl("https://news.example.cn/told?a=1"), False) is None
    assert callback_trouble(HttpUrl("https://8.8.8.8:8443/told"), False) is None
    assert callback_trouble(HttpUrl("https://u:p@news.example.cn/"), True) is not None


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"text": "\u3000 \n\u200b"}, "text"),
        ({"text": "x" * 4_001}, "text"),
        ({"text": None}, "text"),
        ({"category": "weather"}, "category"),
        ({"category": ""}, "category"),
        ({"region": "110101"}, "region"),
        ({"location": {"lat": 91.0, "lon": 1.0}}, "location.lat"),
        ({"location": {"lat": 33.0}}, "location"),
        ({"location": {"lat": float("nan"), "lon": 1.0}}, "location.lat"),
        ({"location": "七一路"}, "location"),
        ({"contact": {"phone": "12"}}, "contact.phone"),
        ({"contact": {"name": "x" * 101}}, "contact.name"),
        ({"on_behalf_of": {"age": 151}}, "on_behalf_of.age"),
        ({"on_behalf_of": {"age": "78"}}, "on_behalf_of.age"),
        ({"occurred_at": "2022-01-18T08:06:00Z"}, "occurred_at"),
        ({"occurred_at": "2022-01-18T08:00:00"}, "occurred_at"),
        ({"occurred_at": "9999-12-31T23:59:59-12:00"}, "occurred_at"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at"),
        ({"external_id": "x" * 301}, "external_id"),
        ({"callback_url": "ftp://news.example.cn/"}, "callback_url"),
        ({"callback_url": "没有"}, "callback_url"),
        ({"catagory": "policy"}, "catagory"),
    ],
)
def test_a_wrong_field_is_named_in_chinese(content: dict[str, Any], field: str) -> None:
    wrong = wrong_fields(**content)
    assert list(wrong) == [field]
    assert any("\u4e00" <= character <= "\u9fff" for character in wrong[field])


def test_bounds_are_taken() -> None:
    soon = (NOW + timedelta(minutes=5)).isoformat()
    assert wrong_fields(text="x" * 4_000, occurred_at=soon) == {}
    assert wrong_fields(location={"lat": -90, "lon": 180}, on_behalf_of={"age": 0.5}) == {}
    assert wrong_fields(contact={"name": " ", "phone": ""}, category=None, location=None) == {}
    nothing = {"address": None, "lat": None, "lon": None}
    assert wrong_fields(location=nothing, on_behalf_of={"age": None}, occurred_at=None) == {}


def test_blank_optional_words_count_as_not_given() -> None:
    content = {"text": "求助", "contact": {"name": " \u3000", "phone": ""}, "external_id": "\n"}
    body = SubmissionBody.model_validate(content, context=AGAINST)
    assert body.contact is not None
    assert (body.contact.name, body.contact.phone, body.external_id) == (None, None, None)


def test_later_words_are_strict_too() -> None:
    for wrong in ({}, {"level": 3}, {"level": "3", "solved": True}, {"level": 0, "solved": True}):
        with pytest.raises(ValidationError):
            RatingBody.model_validate(wrong)
    with pytest.raises(ValidationError):
        SupplementBody.model_validate({"text": "\u0000"})


def test_a_profiles_city_decides_what_categories_and_places_there_are() -> None:
    elsewhere = load_profile("zhoukou").model_copy(deep=True)
    places = {code: place for code, place in elsewhere.regions_by_code.items() if code != "411602"}
    elsewhere.__dict__["regions_by_code"] = places
    against = CheckedAgainst(elsewhere, allow_private_callbacks=False, now=NOW)
    assert wrong_fields(region="411602") == {}
    with pytest.raises(ValidationError):
        SubmissionBody.model_validate({"text": "求助", "region": "411602"}, context=against)
