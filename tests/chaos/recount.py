"""Counting anew from the log, written apart from reporting: what its figures must equal."""

from collections import Counter

from contracts.feeds import HandoffState
from contracts.lifecycle import CaseState, Phase
from contracts.vocabulary import OutcomeKind, Role

_BY_OUTCOME = {OutcomeKind.NOT_ACCEPTED: "not_accepted", OutcomeKind.WITHDRAWN: "withdrawn"}
_BY_STATE = {
    HandoffState.RESOLVED: "resolved",
    HandoffState.RETURNED: "returned",
    HandoffState.RECALLED: "recalled",
    HandoffState.NOT_NEEDED: "not_needed",
    HandoffState.UNDELIVERABLE: "undeliverable",
}
COUNTERS = (
    *("accepted", "finished", "closed", "open", "reopened", "handed_over", "not_accepted"),
    *("withdrawn", "dispatched", "dispatched_lead", "resolved", "returned", "recalled"),
    *("not_needed", "undeliverable", "incomplete", "double"),
)


def count(totals: Counter[str], state: CaseState) -> None:
    """Add one case."""
    case = state.case
    if state.submission is None and (case is None or case.seq == 0):
        return
    totals["accepted"] += 1
    totals["incomplete"] += bool(state.incomplete)
    totals["double"] += bool(state.double)
    is_finished = case is not None and case.phase in (Phase.FINISHED, Phase.CLOSED)
    totals["finished"] += is_finished
    totals["open"] += not is_finished
    if case is None:
        return
    totals["closed"] += case.phase is Phase.CLOSED
    totals["reopened"] += bool(case.finishes) and case.round > 0
    if case.outcome is not None and case.outcome.kind in _BY_OUTCOME:
        totals[_BY_OUTCOME[case.outcome.kind]] += 1
    leads = [order for order in case.orders.values() if order.role == Role.LEAD]
    totals["handed_over"] += bool(leads)
    totals["dispatched"] += len(case.orders)
    totals["dispatched_lead"] += len(leads)
    for handoff_id in case.orders:
        handoff = state.handoffs.get(handoff_id)
        if handoff is not None and handoff.state in _BY_STATE:
            totals[_BY_STATE[handoff.state]] += 1


def differences(shown: dict[str, int], totals: Counter[str]) -> list[str]:
    """Each counter that is shown as another number than was counted."""
    return [
        f"{name}: shown {shown.get(name)}, counted {totals[name]}"
        for name in COUNTERS
        if shown.get(name) != totals[name]
    ]
