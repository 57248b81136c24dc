"""From the classifier's view of a text to a decision on a case: who leads, who assists."""

from collections.abc import Sequence

from contracts.profile import Profile
from contracts.vocabulary import (
    DecidedBy,
    Decision,
    Kind,
    Reason,
    RequestContent,
    Tier,
    TierCause,
)
from services.triage.domain.classify import Classification, Classifier, Question


def first_decisions(
    classifier: Classifier, profile: Profile, contents: Sequence[RequestContent]
) -> list[Decision]:
    """Classify requests and plan who acts; CPU work, for a thread."""
    asked = [_question(content) for content in contents]
    return [
        decision_of(profile, content, seen)
        for content, seen in zip(contents, classifier.decide_many(asked), strict=True)
    ]


def _question(content: RequestContent) -> Question:
    location, other = content.location, content.on_behalf_of
    return Question(
        text=content.text or "",
        chosen_category=content.category,
        region=content.region,
        address=location.address if location else None,
        lat=location.lat if location else None,
        lon=location.lon if location else None,
        on_behalf_of=" ".join(filter(None, (other.relation, other.situation))) if other else None,
    )


def decision_of(profile: Profile, content: RequestContent, seen: Classification) -> Decision:
    """Return the decision that follows from a classification, with all its reasons."""
    plan = profile.plan_for(
        seen.category,
        seen.region,
        seen.hotline if seen.hotline != "none" else None,
        seen.needs,
        seen.kind,
    )
    reasons = [
        Reason(source=r.source, version=r.version, why=r.why, weight=r.weight) for r in seen.reasons
    ]
    if plan is not None:
        lead = profile.departments_by_code[plan.lead].name
        reasons.append(
            Reason(source=f"routing:{plan.rule}", version=profile.version, why=f"由{lead}主办")
        )
    return Decision(
        category=seen.category,
        category_confidence=seen.confidence,
        chosen_category=content.category,
        tier=Tier(seen.tier),
        cause=TierCause(seen.cause) if seen.cause else None,
        kind=Kind(seen.kind),
        hotline=seen.hotline,
        ring=tuple(seen.ring),
        region=seen.region,
        needs=tuple(seen.needs),
        lead=plan.lead if plan else None,
        assists=plan.assist if plan else (),
        decided_by=DecidedBy.RULES,
        profile=f"{profile.id}@{profile.version}",
        reasons=tuple(reasons),
    )
