"""What citizens ask in a chaos run: several kinds that take different ways through the platform."""

import random
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request; `share` is its part of the mix."""

    name: str
    share: float
    text: str
    category: str


KINDS = (
    Kind("lamp", 0.40, "小区楼道灯坏了，晚上老人下楼看不见，麻烦安排人来修一下", "other"),
    Kind("bus stop", 0.12, "小区门口的公交站牌倒了，挡住了路，请安排人来扶起来", "transport"),
    Kind("lessons", 0.12, "孩子学校的网课登录不上，请帮忙给账号重置一下密码", "education"),
    Kind("loan", 0.08, "银行贷款这个月还不上了，请帮我联系银行办理延期", "finance"),
    Kind("care", 0.08, "老人独居没有人照顾，麻烦社区派人上门看看", "other"),
    Kind("question", 0.14, "请问从郑州返乡回周口，需要居家隔离几天？", "policy"),
    Kind("dialysis", 0.03, "我父亲是尿毒症病人，明天要透析，封控去不了医院", "medical"),
    Kind("danger", 0.03, "邻居持刀打人，快来人", "other"),
)
_REGIONS = ("411602", "411603")


def body(number: int, chance: random.Random) -> dict[str, Any]:
    """The body of a request; no two are the same."""
    kind = chance.choices(KINDS, [one.share for one in KINDS])[0]
    return {
        "text": f"{kind.text}（{number}号楼）",
        "category": kind.category,
        "region": chance.choice(_REGIONS),
        "contact": {"name": "测试", "phone": "13800000000"},
        "external_id": f"chaos-{number}",
    }
