"""The classifier that ships: what it decides, that it says why, and that no text breaks it."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.profile import load_profile
from contracts.vocabulary import Kind, Location, OnBehalfOf, Tier, TierCause
from services.triage.domain.classify import MODEL_FOLDER, Asked, Classification, Classifier
from services.triage.domain.linear import CARD, LinearModel, ModelError
from services.triage.training.generate import REQUESTS, generate

ZHOUKOU = load_profile("zhoukou")
CLASSIFIER = Classifier.load(MODEL_FOLDER, ZHOUKOU)


@pytest.mark.parametrize(
    ("text", "category", "tier", "hotline"),
    [
        ("从深圳坐高铁回太康过年，要隔离吗？", "policy", "blue", "none"),
        ("周口到郑州的大巴什么时候恢复发车？", "transport", "blue", "none"),
        ("健康码突然变黄了，三次核酸都是阴性，什么时候能转绿？", "health_code", "blue", "none"),
        ("高三什么时候返校开学？", "education", "blue", "none"),
        ("疫情期间房贷能不能延期，会不会影响征信？", "finance", "blue", "none"),
        ("我母亲透析，封村三天去不了医院，人已经浮肿喘不上气", "medical", "red", "none"),
        ("五个月的宝宝只能吃氨基酸奶粉，家里断了，求救", "food", "red", "none"),
        ("水已经淹到二楼，老人孩子困在房顶，急需冲锋舟", "other", "red", "110"),
        ("小区物业乱收费，电梯坏了半年不修，多次反映没人管", "other", "orange", "12345"),
        ("举报隔壁小区有人开赌场聚众打麻将，请公安来查", "report", "orange", "110"),
    ],
)
def test_plain_cases_are_decided_as_a_duty_desk_would(
    text: str, category: str, tier: str, hotline: str
) -> None:
    decision = CLASSIFIER.decide(text)
    assert (decision.category, decision.tier, decision.hotline) == (category, tier, hotline)


def test_danger_is_red_with_its_cause_signs_and_numbers() -> None:
    text = "我爸突然昏迷叫不醒，我们在隔离"
    decision = CLASSIFIER.decide(text)
    assert decision.tier is Tier.RED
    assert decision.cause is TierCause.DANGER
    assert "120" in decision.ring
    assert decision.say is not None
    assert "120" in decision.say
    assert any(text[sign.start : sign.end] == "昏迷" for sign in decision.signs)


def test_health_and_supplies_are_never_sent_to_the_police() -> None:
    for text in ("透析去不了，求求你们派车", "老婆要生了，卡口不让过", "宝宝奶粉断了，封控买不到"):
        decision = CLASSIFIER.decide(text)
        assert decision.tier is Tier.RED
        assert decision.hotline == "none"
        assert decision.plan is not None
        assert decision.plan.lead in {"health", "supplies"}


def test_every_decision_has_reasons_with_source_and_version() -> None:
    decision = CLASSIFIER.decide("鹿邑县任集乡，我母亲透析去不了")
    sources = {reason.source for reason in decision.reasons}
    assert {"model.category", "model.tier", "model.kind", "model.hotline"} <= sources
    assert {"danger.dialysis", "rule.sure-sign", "place.text", "route.dialysis"} <= sources
    assert all(
        reason.version and re.search(r"[\u4e00-\u9fff]", reason.why or "")
        for reason in decision.reasons
    )


def test_reasons_never_hold_what_the_citizen_wrote_about_somebody() -> None:
    text = "我叫欧阳震华，电话13912345678，住幸福里九栋，健康码变黄了怎么办"
    said = " ".join(reason.why or "" for reason in CLASSIFIER.decide(text).reasons)
    for secret in ("欧阳", "13912345678", "幸福里", "九栋"):
        assert secret not in said


def test_low_confidence_is_said() -> None:
    decision = CLASSIFIER.decide("那个事情弄得怎么样了呢")
    assert decision.unsure
    assert any(reason.source.startswith("confidence.") for reason in decision.reasons)


def test_the_citizens_own_choice_moves_the_category_and_is_named() -> None:
    text = "村口不让出去，怎么办"
    without = CLASSIFIER.decide(text)
    chosen = CLASSIFIER.decide(text, chosen_category="food")
    assert any(reason.source == "citizen.category" for reason in chosen.reasons)
    assert not any(reason.source == "citizen.category" for reason in without.reasons)
    assert chosen.category == "food" or chosen.category_confidence < without.category_confidence


def test_what_is_told_of_the_person_in_need_counts() -> None:
    bare = CLASSIFIER.decide("请帮帮我母亲")
    behalf = OnBehalfOf(relation="母亲", age=78, situation="昏迷叫不醒，喘不上气")
    told = CLASSIFIER.decide("请帮帮我母亲", on_behalf_of=behalf)
    assert bare.tier is not Tier.RED
    assert told.tier is Tier.RED
    assert all(sign.end <= len("请帮帮我母亲") for sign in told.signs)


@pytest.mark.parametrize(
    ("text", "region", "location", "name", "how"),
    [
        ("鹿邑县任集乡卡口不让过", None, None, "任集乡", "text"),
        ("鹿邑任集这边买不到药", None, None, "任集乡", "text"),
        ("我在太康县，买不到药", None, None, "太康县", "text"),
        ("从郸城回太康要隔离吗", None, None, "太康县", "text"),
        ("买不到药", "411628", None, "鹿邑县", "chosen"),
        ("任集乡买不到药", "411628", None, "任集乡", "chosen"),
        ("买不到药", None, Location(address="周口市项城市南顿镇某村"), "南顿镇", "address"),
        ("买不到药", None, Location(lat=33.86, lon=115.48), "鹿邑县", "coordinates"),
        ("太康縣城關買不到藥", None, None, "城关回族镇", "text"),
    ],
)
def test_the_place_is_found(
    text: str, region: str | None, location: Location | None, name: str, how: str
) -> None:
    place = CLASSIFIER.decide(text, region_code=region, location=location).place
    assert place is not None
    assert ZHOUKOU.regions_by_code[place.region].name == name
    assert place.how == how


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("城关镇买不到药", None),  # no town of the profile bears the name alone
        ("城郊乡有人偷偷聚会", None),  # three counties have one
        ("买不到药", Location(lat=31.2, lon=121.5)),  # Shanghai
        ("买不到药", None),
    ],
)
def test_an_unknown_or_ambiguous_place_is_not_guessed(text: str, location: Location | None) -> None:
    decision = CLASSIFIER.decide(text, location=location)
    assert decision.region is None
    assert any(reason.source == "place.unknown" for reason in decision.reasons)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "😀😀😀",
        "\u200b\u200b",
        "<p></p>",
        "。。。！！！",
        "a" * 4000,
        "啊" * 4000,
        "7" * 30,
    ],
)
def test_a_text_without_words_goes_to_a_person(text: str) -> None:
    decision = CLASSIFIER.decide(text)
    assert decision.category_confidence == 0
    assert set(decision.unsure) == {"category", "tier", "kind", "hotline"}
    assert any(reason.source == "rule.no-words" for reason in decision.reasons)


@pytest.mark.parametrize(
    "text",
    [
        "I need insulin please help my father",
        "помогите пожалуйста нужна скорая",
        "助けてください、お願い",
    ],
)
def test_another_language_is_taken_with_little_confidence(text: str) -> None:
    decision = CLASSIFIER.decide(text)
    assert decision.category_confidence < 0.55
    assert "category" in decision.unsure


def test_traditional_and_simplified_are_the_same_request() -> None:
    simplified = CLASSIFIER.decide("请问从广州返乡需要隔离吗？健康码变黄了怎么办")
    traditional = CLASSIFIER.decide("請問從廣州返鄉需要隔離嗎？健康碼變黃了怎麼辦")
    assert traditional.category == simplified.category
    assert traditional.category_confidence == pytest.approx(simplified.category_confidence)


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400))
def test_no_text_whatever_raises(text: str) -> None:
    decision = CLASSIFIER.decide(text)
    assert 0 <= decision.category_confidence <= 1
    assert decision.reasons


def test_a_batch_gives_what_single_decisions_give() -> None:
    asked = [Asked("高铁什么时候恢复？"), Asked("买药", "medical", "411628"), Asked("")]
    single = [CLASSIFIER.decide(a.text, a.chosen_category, a.region_code) for a in asked]
    assert CLASSIFIER.decide_many(asked) == single


def _training_requests(step: int) -> Iterator[dict[str, str]]:
    for number, line in enumerate(REQUESTS.read_text(encoding="utf-8").splitlines()):
        if number % step == 0:
            yield json.loads(line)


def test_the_shipped_model_fits_the_shipped_requests() -> None:
    """A model that was built from others, or damaged, would not know them."""
    records = list(_training_requests(40))
    decisions = CLASSIFIER.decide_many([Asked(record["text"]) for record in records])
    right = sum(d.category == r["category"] for d, r in zip(decisions, records, strict=True))
    assert right / len(records) > 0.93
    reds = [d for d, r in zip(decisions, records, strict=True) if r["tier"] == "red"]
    assert sum(d.tier is Tier.RED for d in reds) / len(reds) > 0.95


def test_the_generator_gives_the_committed_requests() -> None:
    committed = REQUESTS.read_text(encoding="utf-8").splitlines()
    for line, request in zip(committed[:300], generate(), strict=False):
        assert json.loads(line)["text"] == request.text


def test_the_card_names_the_requests_it_was_trained_on() -> None:
    import hashlib

    card = json.loads((MODEL_FOLDER / CARD).read_text(encoding="utf-8"))
    assert card["requests_sha256"] == hashlib.sha256(REQUESTS.read_bytes()).hexdigest()
    assert sum(path.stat().st_size for path in MODEL_FOLDER.iterdir()) < 3_000_000


def test_a_missing_model_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"services\.triage\.training\.build"):
        LinearModel.load(tmp_path)


def test_the_model_needs_no_training_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys; from services.triage.domain.classify import Classifier;"
        "assert not {'sklearn', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_a_thousand_decisions_take_about_half_a_second() -> None:
    records = list(_training_requests(40))
    asked = [Asked(record["text"]) for record in records]
    start = time.process_time()
    decisions: list[Classification] = CLASSIFIER.decide_many(asked)
    seconds = time.process_time() - start
    assert len(decisions) / seconds > 500  # 2,000 on a quiet core; coverage and load slow it


def test_noise_has_no_plan_and_no_hotline() -> None:
    decision = CLASSIFIER.decide("辛苦了，致敬所有医护人员，加油！")
    assert decision.kind is Kind.NOISE
    assert decision.plan is None
    assert decision.hotline == "none"
