"""From the classifier's view of a text to a decision on a case: who leads, who assists."""

from collections.abc import Sequence

from contracts.profile import Profile
from contracts.vocabulary import DecidedBy, Decision, RequestContent
from services.triage.domain.classify import Asked, Classification, Classifier


def first_decisions(
    classifier: Classifier, profile: Profile, contents: Sequence[RequestContent]
) -> list[Decision]:
    """Classify requests and plan who acts; CPU work, for a thread."""
    asked = [
        Asked(
            text=content.text or "",
            chosen_category=content.category,
            region_code=content.region,
            location=content.location,
            on_behalf_of=content.on_behalf_of,
        )
        for content in contents
    ]
    return [
        decision_of(profile, content, seen)
        for content, seen in zip(contents, classifier.decide_many(asked), strict=True)
    ]


def decision_of(profile: Profile, content: RequestContent, seen: Classification) -> Decision:
    """Return the decision that follows from a classification, with all its reasons."""
    plan = seen.plan
    return Decision(
        category=seen.category,
        category_confidence=round(seen.category_confidence, 4),
        chosen_category=content.category,
        tier=seen.tier,
        cause=seen.cause,
        kind=seen.kind,
        hotline=seen.hotline,
        ring=seen.ring,
        region=seen.region,
        needs=seen.needs,
        lead=plan.lead if plan else None,
        assists=plan.assist if plan else (),
        unsure=seen.unsure,
        decided_by=DecidedBy.RULES,
        profile=f"{profile.id}@{profile.version}",
        reasons=seen.reasons,
    )
