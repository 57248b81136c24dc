"""What a text shows to the linear model: hashed character n-grams, signs of danger, its form.

Everything is computed with numpy over the whole text at once; a text of 150 characters takes
some 60 µs. The same code runs in training and in service, so the two can't drift apart.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from contracts.danger import Danger
from contracts.text import Normalised, normalise

LONGEST = 3  # characters of the longest n-gram
READ = 700  # characters looked at: the first 500 and the last 200 of a longer text
VERSION = "features-1"

BITS = 17
BUCKETS = 1 << BITS
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_CAUSES = (
    "medical",
    "fire",
    "trapped",
    "violence",
    "traffic",
    "suicide",
    "infant",
    "missing",
    "gas",
)
_FORM = (
    re.compile(r"[?？]|吗|呢|如何|怎么|怎样|哪些|哪里|什么|多少|几"),
    re.compile(r"#"),
    re.compile(r"尊敬的|局长|书记|厅长|市长|县长|主任|领导"),
    re.compile(r"0{7,}|电话|联系人|手机"),
    re.compile(r"岁|年龄"),
    re.compile(r"[!！]{2,}|急|速|救"),
    re.compile(r"恳请|请求|希望|盼|望"),
    re.compile(r"谢谢|感谢|致敬|加油|平安"),
    re.compile(r"我们?可以|免费|捐|提供|志愿者"),
    re.compile(r"举报|投诉|反映|查处|严查"),
    # What kind of time it is: the same wish is the channel's in an epidemic, 12345's without one.
    re.compile(
        r"疫|隔离|核酸|封控|封城|封村|解封|感染|确诊|肺炎|新冠|病毒|口罩|防控|返乡|健康码|发热|发烧"
    ),
    re.compile(r"暴雨|洪|涝|淹|决堤|灾|防汛|救援|被困|泄洪|物资"),
)
_LENGTHS = (8, 16, 30, 60, 120, 240, 480)
DENSE = len(_CAUSES) + 2 + len(_FORM) + len(_LENGTHS) + 1
COLUMNS = BUCKETS + DENSE

# Masked or varying names say nothing about the matter: they become one sign each.
_URL = re.compile(r"https?://\S+|网页链接")
_USER = re.compile(r"@[^\s:：,，@]{1,20}")
_TOPIC = re.compile(r"#[^#\n]{1,30}#")
_DIGITS = re.compile(r"\d")
_MASKED_PLACE = re.compile(r"[a-z]\d{0,2}(?=[省市县区])")
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[\u3400-\u9fff]|[a-z0-9]{2,}")

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Features:
    """The sparse row of one text: columns without repetition, and their values."""

    columns: Indices
    values: Floats


def prepare(normalised: Normalised) -> str:
    """The text as the model reads it: links, names of users, digits and masked places unified."""
    text = normalised.text
    if len(text) > READ:
        text = text[: READ - 200] + text[-200:]
    text = _URL.sub("〔链接〕", text)
    text = _USER.sub("@", text)
    # A topic names the event that everybody writes under, not what this person wants.
    text = _TOPIC.sub("#", text)
    text = _MASKED_PLACE.sub("某", text)
    text = _DIGITS.sub("0", text)
    return _SPACE.sub(" ", text).strip()


def says_something(prepared: str) -> bool:
    """Whether anything is left that could be read: two different characters of a language."""
    first = _WORD.search(prepared)
    if first is None:
        return False
    return any(match.group() != first.group() for match in _WORD.finditer(prepared, first.end()))


def grams(prepared: str, longest: int = LONGEST, bits: int = BITS) -> list[Indices]:
    """The bucket (of 2 to the `bits`) of each n-gram by length: `[n - 1][i]` is `t[i:i + n]`'s."""
    shift = np.uint64(64 - bits)
    codes = np.frombuffer(f" {prepared} ".encode("utf-32-le"), dtype=np.uint32).astype(np.uint64)
    buckets: list[Indices] = []
    rolling = codes
    for length in range(1, longest + 1):
        if length > 1:
            if len(codes) < length:
                break
            rolling = rolling[:-1] * _MULTIPLIER + codes[length - 1 :]
        mixed = (rolling + np.uint64(length)) * _MULTIPLIER
        mixed ^= mixed >> np.uint64(29)
        buckets.append(((mixed * _MULTIPLIER) >> shift).astype(np.int64))
    return buckets


def dense(prepared: str, danger: Danger | None) -> Floats:
    """The features that are no n-grams, in the order of the columns after the buckets."""
    values = np.zeros(DENSE, dtype=np.float32)
    if danger is not None:
        for sign in danger.signs:
            values[_CAUSES.index(sign.cause)] = 1
        values[len(_CAUSES)] = danger.sure
        values[len(_CAUSES) + 1] = danger.vulnerable
    at = len(_CAUSES) + 2
    for offset, pattern in enumerate(_FORM):
        values[at + offset] = pattern.search(prepared) is not None
    at += len(_FORM)
    values[at + sum(len(prepared) > bound for bound in _LENGTHS)] = 1
    return values


def weighed(buckets: Indices, rarity: Floats) -> tuple[Indices, Floats]:
    """The different buckets, each with 1 + log of how often it stands there, times its rarity; as
    long as 1 together."""
    columns, counts = np.unique(buckets, return_counts=True)
    values = (1 + np.log(counts)).astype(np.float32) * rarity[columns]
    norm = float(np.sqrt(np.dot(values, values)))
    if norm > 0:
        values /= np.float32(norm)
    return columns, values


def features(prepared: str, danger: Danger | None, rarity: Floats) -> Features:
    """The row of a text. `rarity` is the weight of each bucket (inverse document frequency)."""
    columns, values = weighed(np.concatenate(grams(prepared)), rarity)
    extra = dense(prepared, danger)
    present = np.flatnonzero(extra)
    return Features(
        np.concatenate([columns, BUCKETS + present]),
        np.concatenate([values, extra[present] * np.float32(0.2)]),
    )


def features_of(text: str, danger: Danger | None, rarity: Floats) -> Features:
    """`features` of a raw text."""
    return features(prepare(normalise(text)), danger, rarity)
