"""What a person of the desk sees of a case, and the mark by which they show what they saw."""

from hashlib import sha256
from typing import Any

from contracts.ids import spoken
from contracts.lifecycle import CaseDocument, deadline_name
from contracts.vocabulary import DeadlineKind, without_personal

ERASED_SAYS = "已清除个人信息"


def view_of(case: CaseDocument) -> str:
    """Return a mark of what a person acts on: phase, round, category, tier, hand-off, outcome.

    A command that carries the mark is refused when one of these has changed, and not because of
    anything else that happened meanwhile.
    """
    seen = (
        case.phase,
        case.round,
        case.decision.category if case.decision else "",
        case.tier,
        case.lead or "",
        case.outcome.event_id if case.outcome else "",
    )
    return sha256("|".join(map(str, seen)).encode()).hexdigest()[:16]


def shown(case: CaseDocument) -> dict[str, Any]:
    """Return a case as the desk sees it. Holds personal data: for the desk's eyes alone.

    Of an erased case nothing personal is shown, whatever the document in hand still holds.
    """
    told = case.deadlines.get(deadline_name(DeadlineKind.TOLD))
    return {
        "case_no": case.case_no,
        "case_no_spoken": spoken(case.case_no),
        "view": view_of(case),
        "version": case.seq,
        "phase": case.phase,
        "round": case.round,
        "tier": case.tier,
        "decision": case.decision.model_dump(mode="json") if case.decision else None,
        "request": (
            case.request.model_dump(mode="json") if case.request and not case.erased else None
        ),
        "erased": ERASED_SAYS if case.erased else None,
        "supplements": [] if case.erased else case.supplements,
        "accepted_at": case.accepted_at,
        "told_due_at": told.due_at if told else None,
        "tasks": [
            (without_personal(task) if case.erased else task).model_dump(mode="json")
            for task in case.tasks.values()
        ],
        "orders": [
            {
                "handoff_id": order.handoff_id,
                "department": order.department,
                "role": order.role,
                "attempt": order.attempt,
                "round": order.round,
                "binding": order.binding,
                "ended": order.ended,
            }
            for order in case.orders.values()
        ],
        "inquiries": [
            {
                "inquiry_id": inquiry.inquiry_id,
                "asked": inquiry.asked,
                "opened_at": inquiry.opened_at,
                "confirmed_by": None if case.erased else inquiry.confirmed_by,
                "confirmed_at": inquiry.confirmed_at,
                "text": None if case.erased else inquiry.text,
            }
            for inquiry in case.inquiries.values()
        ],
        "group_id": case.membership.group_id if case.membership else None,
        "returns": case.returns,
        "returned_by": case.returned_by,
        "withdrawing": bool(case.withdrawing),
        "outcome": case.outcome.kind if case.outcome else None,
        "urgings": case.urgings,
        "handled_by": sorted(case.handled_by),
    }
