"""What a request is: category, tier, kind, hotline, place and needs, each with its reasons.

Three voices are heard: the profile's danger lexicon, the profile's words, and the linear model
that ships. The lexicon alone can make a case red; the model alone can't make it the police's.
Pure: nothing is read after `Classifier.load`, and any text at all gives an answer.

Reasons never quote the citizen: they name rules, the profile's words and figures, so that they may
stand in events for ever.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from contracts.danger import Danger, DangerMatcher, FoundSign
from contracts.profile import CategoryCode, Plan, Profile
from contracts.text import normalise
from contracts.vocabulary import Kind, Location, OnBehalfOf, Reason, Tier, TierCause
from services.triage.domain.features import prepare, says_something
from services.triage.domain.lexicon import Lexicon
from services.triage.domain.linear import LinearModel
from services.triage.domain.place import Place, PlaceFinder
from services.triage.domain.reasons import Reasons

MODEL_FOLDER = Path(__file__).resolve().parent.parent / "model"

CHOSEN = 1.2  # log-odds that the citizen's own choice adds to a category
# Whose eyes and hands are needed on the spot (mission: dialysis, labour and infant food never).
_ON_THE_SPOT = frozenset({"trapped", "violence", "missing", "traffic", "suicide", "fire"})
_CHINESE = re.compile(r"[\u3400-\u9fff]")
_LETTER = re.compile(r"[^\W\d_]")
_OWN_DEPARTMENTS = frozenset({"medical", "food"})


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of a request when it is classified."""

    text: str
    chosen_category: str | None = None
    region_code: str | None = None
    location: Location | None = None
    on_behalf_of: OnBehalfOf | None = None


@dataclass(frozen=True, slots=True)
class Classification:
    """The decision on a request. Confidences are probabilities; `unsure` names what lies below the
    profile's bounds, which a person must look at."""

    category: CategoryCode
    category_confidence: float
    tier: Tier
    tier_confidence: float
    cause: TierCause | None
    kind: Kind
    kind_confidence: float
    hotline: str  # "110", "12345" or "none"
    hotline_confidence: float
    ring: tuple[str, ...]
    say: str | None  # the sentence for the citizen, if there is danger
    region: str | None
    place: Place | None
    needs: tuple[str, ...]
    signs: tuple[FoundSign, ...]  # spans in the text; those from `on_behalf_of` end the text
    plan: Plan | None
    reasons: tuple[Reason, ...]
    unsure: tuple[str, ...]


class Classifier:
    """Decides on requests by one profile and one model. Safe to share between tasks."""

    def __init__(self, profile: Profile, model: LinearModel) -> None:
        self.profile = profile
        self._model = model
        self._danger = DangerMatcher(profile)
        self._lexicon = Lexicon(profile)
        self._places = PlaceFinder(profile)

    @classmethod
    def load(cls, folder: Path, profile: Profile) -> Classifier:
        """Read the model of `folder`; what it lacks comes from the one that ships, MODEL_FOLDER.

        Raises ModelError.
        """
        return cls(profile, LinearModel.load(folder, MODEL_FOLDER))

    @property
    def model_version(self) -> str:
        """The version of the model, or of the models joined by `+`."""
        return self._model.version

    def decide_many(self, requests: Iterable[Asked]) -> list[Classification]:
        """`decide` for a batch, in its order."""
        return [
            self.decide(r.text, r.chosen_category, r.region_code, r.location, r.on_behalf_of)
            for r in requests
        ]

    def decide(
        self,
        text: str,
        chosen_category: str | None = None,
        region_code: str | None = None,
        location: Location | None = None,
        on_behalf_of: OnBehalfOf | None = None,
    ) -> Classification:
        """Classify one request. Never raises on any text."""
        situation = (on_behalf_of.situation if on_behalf_of else None) or ""
        normalised = normalise(f"{text}\n{situation}" if situation else text)
        danger = self._danger.find_in(normalised)
        place = self._places.find(text, region_code, location)
        prepared = prepare(normalised)
        reasons = Reasons(self.profile, self._model.version)
        if not says_something(prepared):
            return self._empty(chosen_category, place, reasons)
        shares = self._shares(prepared, normalised.text, danger, chosen_category, reasons)
        foreign = _foreign(prepared)
        if foreign:
            reasons.foreign()
        return self._decided(text, normalised.text, danger, place, shares, foreign, reasons)

    def _shares(
        self,
        prepared: str,
        text: str,
        danger: Danger | None,
        chosen: str | None,
        reasons: Reasons,
    ) -> dict[str, dict[str, float]]:
        """Probabilities by task: the model's, moved by the profile's words and the choice."""
        scores = self._model.scores(prepared, danger)
        categories = self._model.tasks["category"]
        # Scores are divided by the temperature later; what is added is meant as log-odds.
        unit = categories.temperature
        for code, (gain, words) in self._lexicon.speaks_for(text).items():
            if code not in categories.labels:
                continue
            scores[categories.first + categories.labels.index(code)] += gain * unit
            reasons.words(code, words, gain)
        if chosen in categories.labels:
            scores[categories.first + categories.labels.index(chosen)] += CHOSEN * unit
            reasons.chosen(chosen, CHOSEN)
        return self._model.decide(scores)

    def _decided(
        self,
        raw: str,
        text: str,
        danger: Danger | None,
        place: Place | None,
        shares: dict[str, dict[str, float]],
        foreign: bool,
        reasons: Reasons,
    ) -> Classification:
        category, category_share = _most(shares["category"])
        kind, kind_share = _most(shares["kind"])
        tier, tier_share = self._tier(shares, danger, kind, reasons)
        hotline, hotline_share = self._hotline(shares, danger, tier, category, reasons)
        trust = 0.4 if foreign else 1.0  # the model has read Chinese only
        confidences = {
            "category": category_share * trust,
            "tier": tier_share if danger else tier_share * trust,
            "kind": kind_share * trust,
            "hotline": hotline_share * trust,
        }
        reasons.model(category, tier, kind, hotline, confidences)
        reasons.place(place)
        needs = self._lexicon.needs(text, danger)
        region = place.region if place else None
        line = None if hotline == "none" else hotline
        plan = self.profile.plan_for(category, region, line, needs, kind)
        cause = self._cause(tier, needs, category, region, kind, line, reasons)
        if cause is TierCause.COMPLEX:
            tier = Tier.RED
        reasons.plan(plan)
        unsure = reasons.doubts(confidences)
        return Classification(
            category=self.profile.categories_by_code[category].code,
            category_confidence=round(confidences["category"], 4),
            tier=tier,
            tier_confidence=round(confidences["tier"], 4),
            cause=cause,
            kind=Kind(kind),
            kind_confidence=round(confidences["kind"], 4),
            hotline=hotline,
            hotline_confidence=round(confidences["hotline"], 4),
            ring=danger.ring if danger else (),
            say=danger.say if danger else None,
            region=region,
            place=place,
            needs=needs,
            signs=_inside(danger, len(raw)),
            plan=plan,
            reasons=reasons.all(),
            unsure=unsure,
        )

    def _tier(
        self,
        shares: dict[str, dict[str, float]],
        danger: Danger | None,
        kind: str,
        reasons: Reasons,
    ) -> tuple[Tier, float]:
        """A sure sign makes red; else the model weighs, with a bound below one half for red."""
        red = shares["tier"]["red"]
        for sign in danger.signs if danger else ():
            reasons.sign(sign, danger.version if danger else "")
        told = kind == Kind.NOISE and shares["kind"][kind] > 0.8 and red < 0.1
        if danger and danger.sure and not told:
            reasons.sure_sign(danger)
            return Tier.RED, max(red, 0.95)
        if red >= self._model.tasks["tier"].red_bound:
            return Tier.RED, red
        tier, share = _most({code: s for code, s in shares["tier"].items() if code != "red"})
        return Tier(tier), share

    def _hotline(
        self,
        shares: dict[str, dict[str, float]],
        danger: Danger | None,
        tier: Tier,
        category: str,
        reasons: Reasons,
    ) -> tuple[str, float]:
        """Rescue on the spot is 110's; what health and supplies must do never is."""
        hotline, share = _most(shares["hotline"])
        on_the_spot = danger is not None and danger.cause in _ON_THE_SPOT
        if tier is Tier.RED and on_the_spot and category not in _OWN_DEPARTMENTS:
            reasons.on_the_spot()
            return "110", max(shares["hotline"]["110"], 0.8)
        if hotline == "110" and category in _OWN_DEPARTMENTS and not on_the_spot:
            reasons.own_departments()
            return "none", max(shares["hotline"]["none"], 0.5)
        return hotline, share

    def _cause(
        self,
        tier: Tier,
        needs: tuple[str, ...],
        category: str,
        region: str | None,
        kind: str,
        line: str | None,
        reasons: Reasons,
    ) -> TierCause | None:
        """危急 for what is red by itself; 疑难复杂 if three departments would have to lead."""
        if tier is Tier.RED:
            return TierCause.DANGER
        if kind != Kind.ACTION or line is not None:
            return None
        plans = [self.profile.plan_for(category, region, None, (need,), kind) for need in needs]
        leads = {plan.lead for plan in plans if plan is not None}
        if len(leads) < 3:
            return None
        reasons.several(sorted(leads))
        return TierCause.COMPLEX

    def _empty(self, chosen: str | None, place: Place | None, reasons: Reasons) -> Classification:
        """A text without words: what was chosen stands, and a person must look."""
        reasons.empty()
        reasons.place(place)
        category: CategoryCode = "other"
        if chosen is not None and chosen in self.profile.categories_by_code:
            category = self.profile.categories_by_code[chosen].code
        unsure = reasons.doubts(dict.fromkeys(("category", "tier", "kind", "hotline"), 0.0))
        return Classification(
            category=category,
            category_confidence=0.0,
            tier=Tier.BLUE,
            tier_confidence=0.0,
            cause=None,
            kind=Kind.NOISE,
            kind_confidence=0.0,
            hotline="none",
            hotline_confidence=0.0,
            ring=(),
            say=None,
            region=place.region if place else None,
            place=place,
            needs=(),
            signs=(),
            plan=None,
            reasons=reasons.all(),
            unsure=unsure,
        )


def _most(shares: dict[str, float]) -> tuple[str, float]:
    label = max(shares, key=shares.__getitem__)
    share = shares[label]
    return label, share if math.isfinite(share) else 0.0


def _foreign(prepared: str) -> bool:
    """Whether few of the letters are Chinese (Japanese has some Chinese ones too)."""
    return len(_CHINESE.findall(prepared)) < 0.4 * len(_LETTER.findall(prepared))


def _inside(danger: Danger | None, length: int) -> tuple[FoundSign, ...]:
    if danger is None:
        return ()
    return tuple(
        replace(sign, start=min(sign.start, length), end=min(sign.end, length))
        for sign in danger.signs
    )
