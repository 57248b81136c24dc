"""Says in plain Chinese why a classification is what it is.

Every sentence is made of rules, figures and the profile's own words, never of the citizen's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from contracts.danger import Danger, FoundSign
from contracts.profile import Plan, Profile
from contracts.vocabulary import Reason, Tier
from services.triage.domain.place import Place

RULES = "rules-1"
_TIERS = {"blue": "蓝", "orange": "橙", "red": "红"}
_KINDS = {"consult": "咨询", "action": "请求办理", "offer": "提供帮助", "noise": "没有诉求"}
_TASKS = {"category": "类别", "tier": "难易等级", "kind": "诉求性质", "hotline": "热线归属"}
_HOW = {
    "chosen": "市民选定",
    "address": "地址写明",
    "text": "文中提到",
    "coordinates": "按坐标推算",
}


class Reasons:
    """Collects the reasons of one decision, in the order in which they were found."""

    def __init__(self, profile: Profile, model_version: str) -> None:
        self._profile = profile
        self._model_version = model_version
        self._found: list[Reason] = []

    def all(self) -> tuple[Reason, ...]:
        return tuple(self._found)

    def _add(self, source: str, version: str, why: str, weight: float | None = None) -> None:
        shown = None if weight is None else round(weight, 3)
        self._found.append(Reason(source=source, version=version, why=why, weight=shown))

    def _category(self, code: str) -> str:
        return self._profile.categories_by_code[code].name

    def words(self, category: str, words: Sequence[str], gain: float) -> None:
        listed = "、".join(words[:4])
        why = f"出现“{self._category(category)}”类用语：{listed}"
        self._add(f"lexicon.{category}", self._profile.version, why, gain)

    def chosen(self, category: str, gain: float) -> None:
        why = f"市民自己选了“{self._category(category)}”"
        self._add("citizen.category", RULES, why, gain)

    def sign(self, sign: FoundSign, version: str) -> None:
        self._add(f"danger.{sign.code}", version, f"有“{sign.name}”的危急迹象")

    def sure_sign(self, danger: Danger) -> None:
        names = "、".join(dict.fromkeys(sign.name for sign in danger.signs if sign.sure))
        self._add("rule.sure-sign", RULES, f"“{names}”本身即为危急，定为红色", 1.0)

    def on_the_spot(self) -> None:
        self._add("rule.on-the-spot", RULES, "需要现场救援或警力，转110")

    def own_departments(self) -> None:
        self._add(
            "rule.health-not-police", RULES, "属于就医或物资保障，由卫健、商务部门办理，不转110"
        )

    def several(self, leads: Sequence[str]) -> None:
        names = "、".join(self._profile.departments_by_code[code].name for code in leads)
        self._add("rule.several-departments", RULES, f"涉及{names}，属疑难复杂，先研判")

    def foreign(self) -> None:
        self._add("rule.language", RULES, "正文几乎没有中文，自动判断不可靠", 0.4)

    def empty(self) -> None:
        self._add("rule.no-words", RULES, "正文没有可读的文字，请值班人员查看", 0.0)

    def model(
        self, category: str, tier: Tier, kind: str, hotline: str, confidences: Mapping[str, float]
    ) -> None:
        line = "由本渠道办理" if hotline == "none" else f"宜转{hotline}"
        said = {
            "category": f"用语最接近“{self._category(category)}”",
            "tier": f"难易程度接近“{_TIERS[tier.value]}”",
            "kind": f"意图是“{_KINDS[kind]}”",
            "hotline": line,
        }
        for task, why in said.items():
            share = confidences[task]
            self._add(f"model.{task}", self._model_version, f"{why}（把握{share:.0%}）", share)

    def place(self, place: Place | None) -> None:
        if place is None:
            self._add("place.unknown", RULES, "看不出属于哪个县市区")
            return
        path = reversed(self._profile.region_path(place.region))
        names = "".join(self._profile.regions_by_code[code].name for code in path)
        why = f"{_HOW[place.how]}：{names}"
        self._add(f"place.{place.how}", RULES, why, place.confidence)

    def plan(self, plan: Plan | None) -> None:
        if plan is None:
            self._add("route.none", self._profile.version, "没有对应的承办单位，请值班人员指派")
            return
        lead = self._profile.departments_by_code[plan.lead].name
        self._add(f"route.{plan.rule}", self._profile.version, f"按分派规则由{lead}主办")

    def doubts(self, confidences: Mapping[str, float]) -> tuple[str, ...]:
        """Names what lies below the profile's bounds, and says so."""
        bounds = {str(task): bound for task, bound in self._profile.rules.confidence_bounds.items()}
        unsure = tuple(task for task, share in confidences.items() if share < bounds[task])
        for task in unsure:
            share, bound = confidences[task], bounds[task]
            why = f"{_TASKS[task]}的把握只有{share:.0%}，低于{bound:.0%}，请人工确认"
            self._add(f"confidence.{task}", RULES, why, share)
        return unsure
