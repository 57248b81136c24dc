"""Danger: it is seen in the many ways people write it, and not where it is only spoken of."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.danger import DangerMatcher, find_danger
from contracts.profile import Profile, load_profile
from contracts.text import normalise

ZHOUKOU = load_profile("zhoukou")


@pytest.fixture(scope="module")
def matcher() -> DangerMatcher:
    return DangerMatcher(ZHOUKOU)


@pytest.mark.parametrize(
    ("text", "cause", "number"),
    [
        ("我母亲78岁，尿毒症，小区封了去不了医院透析，已经三天没透了", "medical", "120"),
        ("孕妇羊水破了，车出不去", "medical", "120"),
        ("五个月的宝宝只喝特殊配方奶粉，家里快吃完了买不到", "infant", "120"),
        ("爷爷呼吸困难，嘴唇发紫", "medical", "120"),
        ("没人送药，奶奶呼吸困难", "medical", "120"),
        ("没有床位，爸爸高烧确诊", "medical", "120"),
        ("我爸心梗了，怎么办", "medical", "120"),
        ("煤气中毒了两个人", "gas", "120"),
        ("村里进水了，老人被困在房顶", "trapped", "119"),
        ("水已经漫过脖子了", "trapped", "119"),
        ("楼下着火了", "fire", "119"),
        ("有人持刀砍人", "violence", "110"),
        ("孩子走丢了，五岁，穿红衣服", "missing", "110"),
        ("我不想活了", "suicide", "110"),
        ("刚才发生车祸，有人受伤", "traffic", "122"),
    ],
)
def test_danger_is_seen_with_its_cause_and_whom_to_ring(
    matcher: DangerMatcher, text: str, cause: str, number: str
) -> None:
    danger = matcher.find(text)
    assert danger is not None
    assert danger.cause == cause
    assert number in danger.ring
    assert number in danger.say


@pytest.mark.parametrize(
    "text",
    [
        "透析医保报销政策",
        "透析病人能报销多少",
        "孕妇可以打疫苗吗",
        "没有呼吸困难，就是有点咳嗽",
        "没有发热、咳嗽、呼吸困难等症状",
        "不是急症，想问下怎么买药",
        "宝宝奶粉质量问题找谁投诉",
        "房贷压得喘不过气",
        "防溺水教育通知什么时候发",
        "预产期6月，在哪里产检",
        "我被困在外地回不来，怎么办健康码",
        "火神山医院收费标准",
        "小区存在火灾隐患，容易着火了",
        "快递走丢了，客服联系不上",
        "请问从郑州返乡需要隔离吗",
    ],
)
def test_what_is_denied_asked_or_only_mentioned_is_no_danger(
    matcher: DangerMatcher, text: str
) -> None:
    assert matcher.find(text) is None


@pytest.mark.parametrize("text", ["透析去不了医院", "临产了，出不了村", "宝宝奶粉断了"])
def test_what_health_and_supplies_must_do_is_never_the_police(
    matcher: DangerMatcher, text: str
) -> None:
    danger = matcher.find(text)
    assert danger is not None
    assert "120" in danger.ring
    assert "110" not in danger.ring


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("請救救我媽媽，她昏迷不醒", "昏迷"),
        ("奶奶呼\u200b吸困难", "呼吸困难"),
        ("<b>奶奶</b>呼吸<i></i>困难了", "呼吸困难"),
        ("８０歲老人呼吸困難", "呼吸困难"),
    ],
)
def test_traditional_full_width_and_hidden_characters_are_understood(
    matcher: DangerMatcher, written: str, plain: str
) -> None:
    danger = matcher.find(written)
    assert danger is not None
    spans = [normalise(written[sign.start : sign.end]).text for sign in danger.signs]
    assert plain in spans


def test_somebody_vulnerable_is_noticed(matcher: DangerMatcher) -> None:
    with_child = matcher.find("孩子昏迷了")
    without = matcher.find("有人昏迷了")
    assert with_child is not None
    assert with_child.vulnerable
    assert without is not None
    assert not without.vulnerable


def test_find_danger_is_the_matcher_of_the_profile(matcher: DangerMatcher) -> None:
    text = "爷爷呼吸困难，快不行了"
    assert find_danger(text, ZHOUKOU) == matcher.find(text)


def test_the_lexicon_is_the_profiles(matcher: DangerMatcher) -> None:
    sign = ZHOUKOU.danger.signs[0].model_copy(update={"words": ("天塌了",), "with_words": ()})
    danger = ZHOUKOU.danger.model_copy(update={"signs": (sign,), "version": "other"})
    other: Profile = ZHOUKOU.model_copy(update={"danger": danger})
    found = DangerMatcher(other).find("天塌了")
    assert found is not None
    assert found.version == "other"
    assert matcher.find("天塌了") is None
    assert DangerMatcher(other).find("奶奶昏迷了") is None


MATCHER = DangerMatcher(ZHOUKOU)


@given(st.text(max_size=300))
def test_any_text_is_taken_and_spans_lie_inside_it(text: str) -> None:
    danger = MATCHER.find(text + "昏迷")
    if danger is not None:
        assert all(0 <= sign.start < sign.end <= len(text) + 2 for sign in danger.signs)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=200))
def test_normalising_keeps_the_place_of_every_character(text: str) -> None:
    normalised = normalise(text)
    if normalised.offsets is not None:
        assert len(normalised.offsets) == len(normalised.text)
        assert list(normalised.offsets) == sorted(set(normalised.offsets))
    else:
        assert len(normalised.text) == len(text)


def test_a_text_of_100_characters_takes_far_less_than_a_millisecond(matcher: DangerMatcher) -> None:
    text = ("我们在外地打工，腊月二十四坐高铁回太康县老家，需要向村里报备吗，谢谢。" * 3)[:100]
    matcher.find(text)
    start = time.process_time()
    for _ in range(500):
        matcher.find(text)
    assert (time.process_time() - start) / 500 < 0.0005
