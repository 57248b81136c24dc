"""The named rates: numerator, denominator, and in words what each is."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RateDefinition:
    """A rate over counters; the denominator is their sum."""

    code: str
    name: str
    numerator: str
    denominator: tuple[str, ...]
    definition: str
    is_public: bool = False


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate of something; `value` is None where there is nothing to divide by."""

    name: str
    numerator: int
    denominator: int
    value: float | None
    definition: str


RATES = (
    RateDefinition(
        "handled_24h",
        "24小时处理率",
        "handled_24h",
        ("accepted",),
        "受理后24小时内已答复并告知、或已交办并告知的件数 ÷ 受理件数（受理未满24小时的也在分母中）",
        is_public=True,
    ),
    RateDefinition(
        "finished",
        "办结率",
        "finished",
        ("accepted",),
        "已办结件数 ÷ 受理件数；办结指答复或办理结果已告知市民，重新办理中的不算办结",
        is_public=True,
    ),
    RateDefinition(
        "finished_in_time",
        "按时办结率",
        "finished_in_time",
        ("finished", "open_overdue"),
        "按时办结件数 ÷（已办结件数 + 逾期未办结件数）；以首次告知时限为准，延期和重办不改变它",
        is_public=True,
    ),
    RateDefinition(
        "signed_in_time",
        "及时签收率",
        "signed_in_time",
        ("signed", "sign_overdue"),
        "按时签收的交办数 ÷（已签收 + 逾期未签收）；退单期满视为收到的，计入逾期未签收",
    ),
    RateDefinition(
        "answered_directly",
        "直接答复率",
        "finished_without_handoff",
        ("direct_base",),
        "未经交办即办结的件数 ÷ 受理件数；均不含无效件和不予受理件",
        is_public=True,
    ),
    RateDefinition(
        "returned", "退单率", "returned", ("dispatched",), "被退回的交办数 ÷ 交办数（主办与协办）"
    ),
    RateDefinition(
        "returned_justified",
        "合理退单率",
        "returned_justified",
        ("dispatched",),
        "退回且认定理由成立的交办数 ÷ 交办数",
    ),
    RateDefinition(
        "reopened",
        "重办率",
        "reopened",
        ("finished_ever",),
        "办结后重新办理的件数 ÷ 曾办结的件数",
        is_public=True,
    ),
    RateDefinition(
        "contacted",
        "响应率",
        "contacted_in_time",
        ("dispatched_lead",),
        "主办单位在交办后24小时内且在办理时限前联系到市民的交办数 ÷ 主办交办数",
    ),
    RateDefinition(
        "online_solved",
        "解决率（在线答复）",
        "online_visits_solved",
        ("online_visits_valid",),
        "在线答复件中市民表示已解决的 ÷ 有效回访（含评价）；一件一次，以最后一次办结为准",
        is_public=True,
    ),
    RateDefinition(
        "handoff_solved",
        "解决率（部门办理）",
        "handoff_visits_solved",
        ("handoff_visits_valid",),
        "部门办理件中市民表示已解决的 ÷ 有效回访（含评价）；计入主办单位，一件一次",
        is_public=True,
    ),
    RateDefinition(
        "online_satisfied",
        "满意率（在线答复）",
        "online_ratings_top3",
        ("online_ratings_n",),
        "在线答复件中评价为前三档的 ÷ 有效评价；一件一次，以最后一次办结为准",
        is_public=True,
    ),
    RateDefinition(
        "handoff_satisfied",
        "满意率（部门办理）",
        "handoff_ratings_top3",
        ("handoff_ratings_n",),
        "部门办理件中评价为前三档的 ÷ 有效评价；计入主办单位，一件一次",
        is_public=True,
    ),
)


def rates_of(counters: Mapping[str, int], *, public_only: bool = False) -> dict[str, Rate]:
    """Return all rates of these counters."""
    return {
        definition.code: _rate(definition, counters)
        for definition in RATES
        if definition.is_public or not public_only
    }


def _rate(definition: RateDefinition, counters: Mapping[str, int]) -> Rate:
    numerator = counters.get(definition.numerator, 0)
    denominator = sum(counters.get(name, 0) for name in definition.denominator)
    value = round(numerator / denominator, 4) if denominator else None
    return Rate(definition.name, numerator, denominator, value, definition.definition)
