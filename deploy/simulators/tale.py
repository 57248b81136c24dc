"""What happened in a play, counted from the cases on the log: the twists of the story."""

from collections import Counter
from dataclasses import dataclass, field

from contracts import handling, triage
from contracts.feeds import HandoffState
from contracts.lifecycle import CaseState
from contracts.vocabulary import Role

_EVENTS: dict[type, str] = {
    triage.CaseAnswered: "answered",
    triage.CaseNotAccepted: "not_accepted",
    triage.CaseWithdrawn: "withdrawn",
    triage.CaseJoinedGroup: "grouped",
    triage.CaseReopened: "reopened",
    triage.CaseJudged: "judged",
    triage.CaseVisited: "visited",
    triage.InquiryOpened: "inquired",
    triage.CaseSupplemented: "supplemented",
    triage.CaseUrged: "urged",
    triage.CaseReturned: "returned",
    handling.HandoffExtended: "extended",
    handling.CitizenContacted: "contacted",
}
"""What a case counts for once, however often it happened to it."""


@dataclass(slots=True)
class Tale:
    """Counts of cases by what happened to them; `returns` and `groups` count those themselves."""

    hotlines: frozenset[str]
    counts: Counter[str] = field(default_factory=Counter)
    corrected: Counter[str] = field(default_factory=Counter)
    """Cases whose category the desk put right, by the final category."""
    eventful: dict[str, int] = field(default_factory=dict)
    """How many different twists each case had."""

    def add(self, state: CaseState) -> None:
        """Count one case."""
        twists = {
            name for event in state.timeline if (name := _EVENTS.get(type(event.data))) is not None
        }
        orders = state.case.orders.values() if state.case is not None else ()
        if any(order.role == Role.LEAD for order in orders):
            twists.add("handed_off")
        if any(order.role == Role.ASSIST for order in orders):
            twists.add("assisted")
        if any(order.department in self.hotlines for order in orders):
            twists.add("to_hotline")
        self.counts.update(twists)
        self.counts["returns"] += sum(
            one.state is HandoffState.RETURNED for one in state.handoffs.values()
        )
        self.counts["groups"] += len(state.groups)
        self.eventful[state.case_no] = len(twists)
        self._count_correction(state)

    def _count_correction(self, state: CaseState) -> None:
        opened = next(
            (e.data for e in state.timeline if isinstance(e.data, triage.CaseOpened)), None
        )
        decision = state.case.decision if state.case is not None else None
        if opened is not None and decision and opened.decision.category != decision.category:
            self.corrected[decision.category] += 1

    def most_eventful(self, among: int) -> list[str]:
        """Return the cases with the most twists."""
        return sorted(self.eventful, key=lambda no: (-self.eventful[no], no))[:among]
