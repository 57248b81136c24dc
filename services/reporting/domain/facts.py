"""The fields by which a case document is found and listed; derived, and never read back."""

from contracts.lifecycle import CaseState
from services.reporting.domain.contribution import accepted_at, channel_of, leading_department

CONFIDENTIAL_CATEGORY = "report"
"""举报: who reported stays unknown, and who acts is not shown to whoever looks the case up."""


def facts_of(state: CaseState) -> dict[str, object]:
    """Return what people and audits look for. Nothing of it is personal."""
    case = state.case
    decision = case.decision if case else None
    asked = state.submission.request if state.submission else None
    tasks = list(case.tasks.values()) if case else []
    return {
        "status": state.status.value,
        "is_opened": case is not None and case.seq > 0,
        "waits": bool(tasks) or case is None or case.seq == 0,
        "tasks": [{"kind": task.kind.value, "since": task.since} for task in tasks],
        "tier": case.tier.value if case and case.tier else None,
        "category": decision.category if decision else asked.category if asked else None,
        "region": decision.region if decision else asked.region if asked else None,
        "department": leading_department(case) or None,
        "channel": channel_of(state) or None,
        "accepted_at": accepted_at(state),
        "code_n": state.submission.code_n if state.submission else 0,
        "erased": case is not None and case.erased,
        "open_wishes": len(state.open_wishes),
        "incomplete": list(state.incomplete),
        "double": list(state.double),
        "unknown_types": list(state.unknown_types),
    }


def is_confidential(state: CaseState) -> bool:
    """Whether the case is a report of a breach (举报)."""
    decision = state.case.decision if state.case else None
    return decision is not None and decision.category == CONFIDENTIAL_CATEGORY
