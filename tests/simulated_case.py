"""Cases as the desk shows them and hand-offs as a feed carries them, for the simulators' tests."""

from datetime import UTC, datetime
from typing import Any

from contracts.feeds import FeedHandoff
from deploy.simulators.case_view import CaseShown
from deploy.simulators.plans import Plan, plans_of
from deploy.simulators.stories.story import Story, StoryRequest
from deploy.simulators.stories.zhoukou import load_story

NOW = datetime(2022, 1, 20, 8, 0, tzinfo=UTC)
CASE_NO = "0CRJD9Z9PJ0F2"
STORY: Story = load_story()


def plan_of(request: StoryRequest) -> Plan:
    """The plan of one request of the shipped story."""
    return plans_of(STORY, [request])[request.external_id]


def case(plan: Plan | None, *tasks: str, **changes: Any) -> CaseShown:
    """An open case with tasks of these kinds, rightly classified."""
    request = plan.request if plan is not None else None
    decision = {
        "category": request.true_category if request is not None else "other",
        "tier": changes.get("tier", "blue"),
        "kind": changes.pop("kind", "consult"),
        "region": "411602",
        "lead": changes.pop("planned", None),
    }
    shown: dict[str, Any] = {
        "case_no": CASE_NO,
        "view": "v",
        "version": 3,
        "phase": "open",
        "round": 0,
        "tier": "blue",
        "decision": {**decision, **changes.pop("decision", {})},
        "request": {"external_id": request.external_id if request is not None else None},
        "supplements": request.path.supplements if request is not None else (),
        "tasks": [{"task_id": f"t-{kind}", "kind": kind, "handoff_id": "h"} for kind in tasks],
    }
    return CaseShown.model_validate({**shown, **changes})


def order(department: str, role: str = "lead", ended: str | None = None) -> dict[str, Any]:
    """An order of a case."""
    return {"handoff_id": f"h-{department}", "department": department, "role": role, "ended": ended}


def handoff(department: str, **changes: Any) -> FeedHandoff:
    """A hand-off as it comes first."""
    fields: dict[str, Any] = {
        "handoff_id": "h",
        "version": 1,
        "state": "sent",
        "case_no": CASE_NO,
        "department": department,
        "role": "lead",
        "round": 0,
        "attempt": 1,
        "category": "other",
        "tier": "orange",
        "ordered_at": NOW,
        "result_due_at": datetime(2022, 1, 21, 8, 0, tzinfo=UTC),
    }
    return FeedHandoff.model_validate({**fields, **changes})
