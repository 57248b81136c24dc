"""What a question is after: an aspect of its topic, whatever words name it.

Common knowledge about how people ask, written down by hand: about illness and medicine, and about
what an administration is asked. An aspect that is missing here is compared by characters only.
"""

from __future__ import annotations

import re

_ASPECTS = {
    "cause": (
        r"原因|为什么|为何|怎么回事|咋回事|引起|引发|导致|造成|诱因|病因|因素|怎么会|怎么得|"
        r"怎样得|如何得"
    ),
    "treatment": (
        r"治疗|怎么办|咋办|怎么治|如何治|咋治|怎样治|处理|应对|解决|缓解|办法|方法|措施|方案|"
        r"怎么做|该做"
    ),
    "medicine": r"什么药|啥药|哪些药|哪种药|用药|药物|吃药|特效药|药品",
    "diet": (
        r"吃什么(?!药)|吃啥(?!药)|吃些什么(?!药)|饮食|食物|食疗|忌口|水果|蔬菜|营养|不能吃|"
        r"吃哪些(?!药)|喝什么|偏方|食谱|补品"
    ),
    "symptom": r"症状|表现|征兆|特征|体征|前兆|迹象|有哪些反应",
    "harm": r"副作用|副反应|不良反应|坏处|危害|伤害|影响|后果|后遗症|害处|有毒|损害|安全",
    "usage": (
        r"怎么吃|如何吃|怎样吃|用法|服法|服用方法|使用方法|怎么服|如何服|怎样服|怎么用|如何用|"
        r"怎样用|如何使用|怎么使用|饭前|饭后|餐前|餐后|餐中|空腹"
    ),
    "dose": r"用量|剂量|几粒|几片|几次|几袋|多少片|多少粒|吃多少|几针|一次吃|一天吃",
    "effect": r"效果|管用|有用|有效|见效|疗效|灵不灵|好用|好不好|怎么样|怎样\b|起作用|治得好",
    "purpose": r"作用|功效|功能|主治|治什么|用途|适应症|适用|功用|治哪些|针对",
    "price": r"多少钱|价格|费用|价钱|花费|售价|贵不贵|收费|便宜|几块",
    "contagion": r"传染|传播|会传",
    "cure": r"治好|治愈|根治|痊愈|康复|能好|会好|自愈|断根|可以治|能治|能否治|治得",
    "prevention": r"预防|避免|防止|防护|如何防|怎么防",
    "diagnosis": r"检查|诊断|确诊|怎么查|化验|鉴别|判断|区别|区分|分辨|检测|筛查|不同",
    "duration": r"多久|多长|几天|多少天|几个月|几周|时长|多少时间|时间",
    "when": r"什么时候|何时|几点|几月|几号|哪天|啥时候",
    "meaning": (
        r"是什么意思|什么是|是什么病|什么意思|是啥|定义|指的是|是什么$|是什么[?？]|含义|意味|"
        r"说明什么|属于什么"
    ),
    "severity": r"严重|危险|要紧|致命|死亡|生命|大碍|有事",
    "life": r"寿命|活多久|能活|存活|生存|还有多少",
    "surgery": r"手术|开刀",
    "care": r"护理|注意|照顾|照料|保养|事项",
    "where": r"哪里|哪儿|哪家|什么地方|哪个医院|什么医院|在哪|何处|哪些地方|产地",
    "department": r"什么科|哪个科|科室|挂号",
    "heredity": r"遗传",
    "relapse": r"复发|反复|再犯|又犯|会不会再",
    "type": r"哪几种|分类|类型|几种|种类|分为",
    "maker": r"厂家|哪个公司|生产|谁发明|谁研制",
    "storage": r"保存|存放|储存|保质期|过期|冷藏|有效期",
    "taboo": r"禁忌|禁用|不能用|不宜|忌",
    "together": r"一起|同时|混合|同服|搭配|合用|配合",
    "pregnancy": r"怀孕|孕妇|孕期|备孕|哺乳|胎儿|孕",
    "child": r"小孩|孩子|宝宝|儿童|小儿|婴儿|幼儿|新生儿|婴幼儿|岁",
    "old": r"老人|老年",
    "vaccine": r"疫苗|接种|打针|预防针",
    "allergy": r"过敏",
    "sport": r"运动|锻炼|跑步|游泳|健身",
    "bath": r"洗澡|洗头",
    "alcohol": r"喝酒|饮酒|酒后|啤酒",
    "smoke": r"抽烟|吸烟|戒烟",
    "imaging": r"ct|x光|胸片|片子|核磁|b超|彩超",
    "blood": r"血常规|抗体|验血|指标|培养",
    "insurance": r"医保|报销|保险",
    "necessity": r"必要|一定要|必须|需要|要不要|需不需要|用不用|非要|应该",
    "possibility": r"可以|能不能|可不可以|能否|是否能|是否可以|行吗|能吗|可否|能用|能吃|能喝",
    "who": r"什么人|哪些人|谁|人群|哪类人",
    "rule": r"规定|政策|要求|标准|条件|通知|文件",
    "apply": r"办理|申请|申报|报名|手续|流程|材料|证明|登记|预约",
    "subsidy": r"补贴|补助|减免|优惠|支持|扶持|奖励",
    "count": r"多少|几例|几个|数量|人数",
    "contact": r"电话|联系|热线|咨询",
}
ASPECTS = {name: re.compile(pattern) for name, pattern in _ASPECTS.items()}

# Words that only make a question of it.
_FILLER = re.compile(
    r"请问|你好|您好|谢谢|麻烦|想问|问下|一下|大家|医生|专家|到底|究竟|具体|一般|应该|需要|可以|"
    r"什么|怎么样?|怎样|如何|为何|哪些|哪个|多少|"
)


def aspects_of(text: str) -> frozenset[str]:
    """The aspects that a normalised text asks after."""
    return frozenset(name for name, pattern in ASPECTS.items() if pattern.search(text))


def topic_of(text: str) -> str:
    """What is left of a normalised text without aspects and questions' own words."""
    for pattern in ASPECTS.values():
        text = pattern.sub("", text)
    return _FILLER.sub("", text)
