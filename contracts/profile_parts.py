"""The parts of a profile: what each key of the YAML may hold, with units.

`contracts/profile.py` puts them together; `contracts/profile_checks.py` says what they must say
about each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

CategoryCode = Literal[
    "policy",
    "transport",
    "medical",
    "education",
    "food",
    "finance",
    "health_code",
    "report",
    "info",
    "other",
]
TierCode = Literal["blue", "orange", "red"]
KindCode = Literal["consult", "action", "offer", "noise"]
HotlineCode = Literal["12345", "110", "119", "120", "122"]
DangerCause = Literal[
    "medical", "fire", "trapped", "violence", "traffic", "suicide", "infant", "missing", "gas"
]
Step = Literal[
    "received",
    "accepted",
    "handed_over",
    "signed",
    "progress",
    "question",
    "answered",
    "resolved",
    "finished_ask_rating",
    "reopened",
    "closed",
    "withdrawn",
    "withdrawal_too_late",
    "not_accepted",
    "grouped",
    "danger_ring",
]

# What each sentence may name; a caller that tells a step passes all of these.
STEP_FIELDS: Mapping[str, frozenset[str]] = {
    "received": frozenset({"case_no", "code"}),
    "accepted": frozenset({"case_no", "category", "due"}),
    "handed_over": frozenset({"case_no", "department", "due"}),
    "signed": frozenset({"case_no", "department"}),
    "progress": frozenset({"case_no", "department", "text"}),
    "question": frozenset({"case_no", "text"}),
    "answered": frozenset({"case_no", "text"}),
    "resolved": frozenset({"case_no", "department", "text"}),
    "finished_ask_rating": frozenset({"case_no"}),
    "reopened": frozenset({"case_no", "due"}),
    "closed": frozenset({"case_no"}),
    "withdrawn": frozenset({"case_no"}),
    "withdrawal_too_late": frozenset({"case_no", "department"}),
    "not_accepted": frozenset({"case_no", "reason", "where"}),
    "grouped": frozenset({"case_no", "count"}),
    "danger_ring": frozenset({"numbers"}),
}

Minutes = Annotated[int, Field(gt=0, le=60 * 24 * 30)]
Share = Annotated[float, Field(ge=0, le=1)]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=48)]
RegionCode = Annotated[str, Field(pattern=r"^\d{6}(\d{3}|\d{6})?$")]
Text = Annotated[str, Field(min_length=1)]
Words = tuple[Text, ...]


class Part(BaseModel):
    """Base of everything in a profile: immutable, and unknown keys are mistakes."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Region(Part):
    """A place by GB/T 2260 (6 digits) or, for a township, GB/T 10114 (9 or 12 digits)."""

    code: RegionCode
    name: Text
    aliases: Words = ()
    parent: RegionCode | None = None
    level: Literal["province", "city", "county", "township"]
    centre: tuple[float, float] | None = None  # latitude, longitude (WGS 84) of the seat


class WeightedWord(Part):
    """A word that speaks for a category, and how strongly (log-odds added to the model's)."""

    word: Text
    weight: Annotated[float, Field(gt=0, le=8)]


class Category(Part):
    code: CategoryCode
    name: Text
    lexicon: tuple[WeightedWord, ...] = ()
    retention_days: Annotated[int, Field(gt=0)]


class Clocks(Part):
    """All in minutes. `seen`, `judged`, `handed_over`, `told` run from acceptance (the citizen's
    clock); `signed`, `return_window`, `result` from dispatch (the department's)."""

    seen: Minutes
    judged: Minutes | None = None
    handed_over: Minutes
    told: Minutes
    signed: Minutes
    return_window: Minutes
    result: Minutes
    near_share: Share  # a deadline is near when this share of its time has passed


class Tier(Part):
    name: Text
    clocks: Clocks


class Tiers(Part):
    blue: Tier
    orange: Tier
    red: Tier


class Department(Part):
    code: Code
    name: Text
    kind: Literal["department", "hotline"]
    regions: tuple[RegionCode, ...] = ()  # empty: everywhere; else these and all below them
    superior: Code | None = None
    transport: Literal["feed", "http"]
    url: str | None = None
    phone: str
    duty_officer_phone: str | None = None


class Hotline(Part):
    code: HotlineCode
    name: Text
    says: Text  # what the citizen is told about ringing it
    department: Code | None = None
    cause_words: Words = ()


class Need(Part):
    """Something a person lacks that decides who must act."""

    code: Annotated[str, Field(pattern=r"^[a-z][a-z_]*$")]
    name: Text
    words: Words
    not_words: Words = ()


class Rule(Part):
    """One line of the routing table: every condition given must hold; the first rule wins."""

    id: Code
    category: CategoryCode | None = None
    kind: KindCode | None = None
    need: str | None = None
    region: RegionCode | None = None
    hotline: HotlineCode | None = None
    lead: Code
    assist: tuple[Code, ...] = ()


class Plan(Part):
    """Who leads (主办) and who assists (协办), and the rule that says so."""

    lead: str
    assist: tuple[str, ...]
    rule: str


class Channel(Part):
    code: Code
    name: Text
    allow_private_callbacks: bool
    requests_per_minute: Annotated[int, Field(gt=0)]


class DangerSign(Part):
    """One way in which danger shows in a text.

    `words`: plain words; `…` inside one stands for up to 12 characters of the same clause and
    `(a|b)` for either.
    `with_words`: if given, one of them must stand within 60 characters of the word.
    `not_words`: contexts in the same sentence that make it no danger.
    """

    code: Annotated[str, Field(pattern=r"^[a-z][a-z_]*$")]
    name: Text
    cause: DangerCause
    words: Words
    with_words: Words = ()
    not_words: Words = ()
    ring: tuple[HotlineCode, ...]
    category: CategoryCode | None = None
    need: str | None = None
    vulnerable: bool = False  # counts only if somebody vulnerable is named in the text
    sure: bool = False  # enough for red by itself; else the model weighs it with the rest


class DangerLexicon(Part):
    version: Text
    signs: tuple[DangerSign, ...]
    negations: Words  # before a word, in the same clause: it is not so
    contexts: Words  # in the same sentence: it is spoken about, asked or taught
    vulnerable: Words


class Rules(Part):
    """Working rules of the desk; hours and counts as the names say."""

    returns_cap: Annotated[int, Field(ge=0)]
    same_department_returns_once: bool
    visit_after_hours: Annotated[int, Field(ge=0)]
    visit_no_answer_closes_after_hours: Annotated[int, Field(gt=0)]
    visit_attempts: Annotated[int, Field(gt=0)]
    hollow_words: Words
    confidence_bounds: dict[Literal["category", "tier", "kind", "hotline", "department"], Share]
    automatic_handoff: dict[TierCode, bool]
    rating_levels: Annotated[Words, Field(min_length=5, max_length=5)]  # best first
    requires_person_for_red_withdrawal: bool
