"""Writes the training requests: our own seed sentences, combined and roughened by a seeded chance.

    python -m services.triage.training.generate

Seeds stand in `seeds/*.txt` (`README.md` has their notation). The same seeds and the same number
give the same file, byte for byte, so that the shipped model can be built anew by anybody.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import opencc

FOLDER = Path(__file__).resolve().parent
REQUESTS = FOLDER / "requests.jsonl"
SEED = 20220111  # the day the Zhoukou channel opened

_HEADER = re.compile(r"## (\w+) (\w+) (\w+) (\w+) (\w+) x(\d+)$")
_SLOT = re.compile(r"\{([^{}]+)\}")
_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_TYPOS = (
    ("的", "得"),
    ("在", "再"),
    ("请问", "请文"),
    ("需要", "需耍"),
    ("怎么", "咋"),
    ("没有", "没"),
    ("什么", "啥"),
    ("帮忙", "邦忙"),
    ("必须", "必需"),
    ("隔离", "隔里"),
    ("知道", "知到"),
    ("已经", "以经"),
)
_FILLERS = {
    "letter": (
        "我们都是老实本分的老百姓，不到万不得已不会来打扰您。",
        "事情是这样的。",
        "这件事从前年说起。",
        "大家凑在一起商量，还是决定写这封信。",
        "为此我多次请假跑单位，工作也受了影响。",
        "希望能有一个说法。",
        "同样的情况别的地方早就解决了，为什么我们这里不行？",
        "附近几十户人家都是这样。",
        "我说的句句属实，愿意配合调查。",
        "我在网上看到您一直关心群众，所以抱着一线希望留言。",
        "请不要再把信转回原单位。",
        "以上情况，请核实。",
        "家里上有老下有小，实在承受不起。",
        "去年底说年后解决，年后又说等通知。",
    ),
    "person": (
        "说来话长，",
        "我实在不知道找谁了，",
        "打了好几个电话都占线，",
        "在网上看到这个平台，",
        "不好意思打扰了，",
        "情况是这样的，",
        "本人长话短说，",
    ),
}
_PREFIXES = (
    "您好，",
    "你好，",
    "您好！",
    "领导好，",
    "在吗，",
    "各位老师好，",
    "编辑您好：",
    "",
    "",
    "",
    "",
)
_SUFFIXES = (
    "谢谢",
    "谢谢！",
    "麻烦了",
    "急",
    "请回复",
    "盼复！",
    "感谢！",
    "🙏",
    "。",
    "",
    "",
    "",
    "",
)
_TAILS = (
    "（网页链接）",
    "@用户",
    "🙏🙏🙏",
    "‼️‼️",
    "转发微博",
    "视频",
    "[合十][合十]",
    "",
    "",
    "",
    "",
)


@dataclass(frozen=True, slots=True)
class Request:
    """One labelled request; `seed` names the sentence it grew from: splits keep it whole."""

    text: str
    category: str
    tier: str
    kind: str
    hotline: str
    seed: str


@dataclass(frozen=True, slots=True)
class _Group:
    genre: str
    labels: tuple[str, str, str, str]
    count: int
    templates: list[str]
    name: str


class _Grammar:
    """The seeds of all files: slots, which may nest, and groups of templates with their labels."""

    def __init__(self, folder: Path) -> None:
        self.slots: dict[str, list[str]] = {}
        self.groups: list[_Group] = []
        for path in sorted(folder.glob("*.txt")):
            self._read(path)

    def _read(self, path: Path) -> None:
        group: _Group | None = None
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            header = _HEADER.match(line)
            if header:
                genre, category, tier, kind, hotline, count = header.groups()
                labels = (category, tier, kind, hotline)
                group = _Group(genre, labels, int(count), [], f"{path.stem}:{number}")
                self.groups.append(group)
            elif line.startswith("@"):
                name, _, values = line[1:].partition(":")
                # A bar inside [a|b] belongs to the choice, one with spaces parts the values.
                self.slots[name] = [value.strip() for value in re.split(r"\s\|(?:\s|$)", values)]
            elif line.strip() and group is not None:
                group.templates.append(line)

    def fill(self, template: str, chance: random.Random) -> str:
        """One sentence of a template: slots and choices drawn until none is left."""
        text = template
        for _ in range(12):
            filled = _SLOT.sub(lambda m: chance.choice(self.slots[m.group(1)]), text)
            filled = _CHOICE.sub(lambda m: chance.choice(m.group(1).split("|")), filled)
            if filled == text:
                return text
            text = filled
        raise ValueError(f"slots of {template!r} nest without end; look for one that names itself")


def _roughen(text: str, genre: str, chance: random.Random, traditional: opencc.OpenCC) -> str:
    """Make a clean sentence look like one of those that people send."""
    if genre == "person":
        text = _as_citizen(text, chance)
    elif genre == "weibo":
        pieces = [text, *chance.choices(_TAILS, k=2)]
        text = "".join(pieces) if chance.random() < 0.8 else pieces[1] + pieces[0]
    elif genre == "letter" and chance.random() < 0.6:
        cut = re.split(r"(?<=[。！？])", text)
        for filler in chance.sample(_FILLERS["letter"], chance.randint(1, 4)):
            cut.insert(chance.randint(0, len(cut)), filler)
        text = "".join(cut)
    if genre != "qa" and chance.random() < 0.15:
        right, wrong = chance.choice(_TYPOS)
        text = text.replace(right, wrong, 1)
    if genre in ("person", "form") and chance.random() < 0.12:
        text = re.sub(r"[，。！？、]", lambda _: chance.choice((" ", "")), text)
    if chance.random() < 0.04:
        text = traditional.convert(text)
    return text


def _as_citizen(text: str, chance: random.Random) -> str:
    if chance.random() < 0.25:
        text = chance.choice(_FILLERS["person"]) + text
    if chance.random() < 0.5:
        text = chance.choice(_PREFIXES) + text
    if chance.random() < 0.5:
        text = text + ("，" if text[-1] not in "？！。" else "") + chance.choice(_SUFFIXES)
    return text


def generate(seed: int = SEED) -> Iterator[Request]:
    """All requests, each text once, in a fixed order."""
    grammar = _Grammar(FOLDER / "seeds")
    traditional = opencc.OpenCC("s2t")
    seen: set[str] = set()
    for group in grammar.groups:
        chance = random.Random(f"{seed}:{group.name}")  # noqa: S311 - not for secrets
        made = attempts = 0
        while made < group.count and attempts < group.count * 20:
            template = group.templates[attempts % len(group.templates)]
            attempts += 1
            text = grammar.fill(template, chance)
            # Some people write everything at once: two sentences of the same kind in one request.
            if group.genre in ("letter", "form", "weibo") and chance.random() < 0.2:
                text += grammar.fill(chance.choice(group.templates), chance)
            text = _roughen(text, group.genre, chance, traditional).strip()
            if text and text not in seen:
                seen.add(text)
                made += 1
                at = group.templates.index(template)
                yield Request(text, *group.labels, seed=f"{group.name}.{at}")


def write(path: Path = REQUESTS) -> int:
    """Write all requests as JSON lines; returns how many."""
    lines = [json.dumps(asdict(request), ensure_ascii=False) for request in generate()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)


if __name__ == "__main__":
    print(f"{write()} requests written to {REQUESTS.name}")
