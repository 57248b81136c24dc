"""The profile: what ships is sound, and what is wrong is named in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from contracts.profile import SHIPPED as FOLDER
from contracts.profile import (
    STEP_FIELDS,
    Profile,
    ProfileError,
    Step,
    load_profile,
    shipped_profiles,
)


@pytest.fixture(scope="module")
def zhoukou() -> Profile:
    return load_profile("zhoukou")


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((FOLDER / "zhoukou.yaml").read_text(encoding="utf-8"))
    return loaded


@pytest.mark.parametrize("name", sorted(shipped_profiles()))
def test_every_shipped_profile_loads(name: str) -> None:
    assert load_profile(name).id == name


def test_a_profile_is_found_by_path_too() -> None:
    assert load_profile(FOLDER / "zhoukou.yaml").name == "周口市民疫情求助通道"


def test_zhoukou_has_its_ten_districts_and_counties_and_ten_categories(zhoukou: Profile) -> None:
    counties = {region.name for region in zhoukou.regions if region.level == "county"}
    assert "、".join(sorted(counties)) == (
        "商水县、太康县、川汇区、扶沟县、沈丘县、淮阳区、西华县、郸城县、项城市、鹿邑县"
    )
    assert "、".join(category.name for category in zhoukou.categories) == (
        "疫情政策、交通出行、寻医买药、学生教育、食品供应、金融服务、健康码问题、"
        "防疫线索举报、疫情信息咨询、其他"
    )


def test_a_township_stands_below_its_county_city_and_province(zhoukou: Profile) -> None:
    renji = next(region for region in zhoukou.regions if region.name == "任集乡")
    path = [zhoukou.regions_by_code[code].name for code in zhoukou.region_path(renji.code)]
    assert path == ["任集乡", "鹿邑县", "周口市", "河南省"]


@pytest.mark.parametrize(
    ("category", "needs", "hotline", "lead"),
    [
        ("medical", {"dialysis"}, None, "health"),
        ("medical", {"labour", "ride"}, None, "health"),
        ("food", {"infant_food"}, None, "supplies"),
        ("other", set(), "110", "hotline-110"),
        ("other", set(), "12345", "hotline-12345"),
        ("health_code", set(), None, "health-code"),
        ("policy", set(), None, "policy-desk"),
    ],
)
def test_the_plan_names_who_leads(
    zhoukou: Profile, category: str, needs: set[str], hotline: str | None, lead: str
) -> None:
    plan = zhoukou.plan_for(category, "411628205", hotline, needs, "action")
    assert plan is not None
    assert plan.lead == lead
    assert plan.lead not in plan.assist


def test_dialysis_is_health_even_where_the_police_were_thought_of(zhoukou: Profile) -> None:
    plan = zhoukou.plan_for("medical", "411627", "110", {"dialysis"}, "action")
    assert plan is not None
    assert plan.lead == "health"


def test_without_a_rule_there_is_no_plan_and_the_desk_decides(zhoukou: Profile) -> None:
    assert zhoukou.plan_for("other", "411627", None, (), "noise") is None


def _county_health(content: dict[str, Any]) -> None:
    content["departments"].append(
        {
            "code": "health-taikang",
            "name": "太康县卫健委",
            "kind": "department",
            "regions": ["411627"],
            "superior": "health",
            "transport": "feed",
            "phone": "12345",
        }
    )
    content["routing"].insert(
        0, {"id": "taikang-medical", "category": "medical", "lead": "health-taikang"}
    )


def test_a_department_of_a_place_leads_there_and_nowhere_else(
    content: dict[str, Any], tmp_path: Path
) -> None:
    profile = load_profile(_changed(content, _county_health, tmp_path))

    def lead(region: str | None) -> str:
        plan = profile.plan_for("medical", region)
        assert plan is not None
        return plan.lead

    assert lead("411627105") == "health-taikang"
    assert lead("411628") == "health"
    assert lead(None) == "health"


def test_every_step_is_told_in_words_that_name_the_case(zhoukou: Profile) -> None:
    for step in get_args(Step):
        fields = STEP_FIELDS[step]
        said = zhoukou.say(step, **{field: f"〔{field}〕" for field in fields})
        assert "{" not in said
        if step != "danger_ring":
            assert "〔case_no〕" in said


def _changed(
    content: dict[str, Any], change: Callable[[dict[str, Any]], None], folder: Path
) -> Path:
    copy: dict[str, Any] = yaml.safe_load(yaml.safe_dump(content, allow_unicode=True))
    change(copy)
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(copy, allow_unicode=True), encoding="utf-8")
    return path


def _set(*keys: str | int, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "key", "fix"),
    [
        (_set("routing", 0, "lead", to="helth"), "routing[0].lead", "unknown department helth"),
        (_set("routing", 0, "need", to="wings"), "routing[0].need", "unknown need wings"),
        (_set("routing", 1, "id", to="dialysis"), "routing[1]", "stands twice"),
        (_set("departments", 1, "code", to="policy-desk"), "departments[1]", "stands twice"),
        (_set("departments", 1, "superior", to="nobody"), "departments[1].superior", "nobody"),
        (_set("departments", 9, "transport", to="feed"), "departments[9].transport", "http"),
        (_set("regions", 5, "parent", to="999999"), "regions[5].parent", "unknown region 999999"),
        (_set("tiers", "red", "clocks", "judged", to=None), "tiers.red.clocks.judged", "研判"),
        (_set("tiers", "red", "clocks", "told", to=60), "tiers.red.clocks.result", "lower one"),
        (_set("tiers", "blue", "clocks", "seen", to=999), "tiers.blue.clocks.seen", "lower it"),
        (_set("tiers", "blue", "clocks", "sene", to=9), "tiers.blue.clocks.sene", "unknown key"),
        (_set("hotlines", 0, "department", to="health"), "hotlines[0].department", "hotline"),
        (_set("words", "signed", to="{who}已签收"), "words.signed", "unknown field {who}"),
        (_set("words", "closed", to="归档{"), "words.closed", "literal brace"),
        (_set("time_zone", to="Asia/Zhoukou"), "time_zone", "IANA"),
        (_set("categories", to=[]), "categories", "missing"),
        (_set("channels", 0, "code", to="新闻"), "channels[0].code", "pattern"),
        (_set("rules", "automatic_handoff", to={"blue": False}), "rules.automatic_handoff", "true"),
    ],
)
def test_a_mistake_is_one_line_with_file_key_and_fix(
    content: dict[str, Any],
    change: Callable[[dict[str, Any]], None],
    key: str,
    fix: str,
    tmp_path: Path,
) -> None:
    path = _changed(content, change, tmp_path)
    with pytest.raises(ProfileError) as error:
        load_profile(path)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    assert key in message
    assert fix in message


@pytest.mark.parametrize(
    ("text", "said"),
    [("id: [", "line 2"), ("- just\n- a list", "must be a mapping"), ("", "must be a mapping")],
)
def test_a_file_that_is_no_profile_says_so(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ProfileError, match=said):
        load_profile(path)


def test_an_unknown_name_lists_those_that_ship() -> None:
    with pytest.raises(ProfileError, match="zhoukou"):
        load_profile("atlantis")
