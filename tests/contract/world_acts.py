"""What receivers of messages and the clocks do in a history."""

from collections.abc import Sequence
from typing import Any

from contracts import handling as h
from contracts import triage as t
from contracts.envelope import Event
from contracts.lifecycle import DeliveryDocument, HandoffDocument
from tests.contract.acts import Act
from tests.contract.department_acts import open_handoffs
from tests.contract.histories import Choose, History


def _planned(history: History) -> Sequence[DeliveryDocument]:
    return [one for one in history.deliveries.values() if one.state == "planned"]


def deliver(history: History, delivery: DeliveryDocument, choose: Choose) -> None:
    """The next step of a delivery: tried, taken, or given up."""
    step = choose(("started", "taken", "exhausted") if not delivery.attempts else ("taken",))
    id_, attempt = delivery.document_id, delivery.attempts + 1
    cause = f"attempt:{id_}:{step}:{attempt}"
    if step == "started":
        history.by_delivery(h.DeliveryStarted, id_, cause, attempt=attempt)
    elif step == "exhausted":
        why = "no answer"
        ended = history.by_delivery(h.DeliveryExhausted, id_, cause, attempts=attempt, why=why)
        _of_order(history, delivery, h.HandoffUndeliverable, ended, why=why)
    elif delivery.purpose == "callback":
        at = history.now
        history.by_delivery(h.CitizenTold, id_, cause, by="callback", told_at=at, attempts=attempt)
    else:
        taken = history.by_delivery(h.DeliveryTaken, id_, cause, receipt="r-1", attempts=attempt)
        _of_order(history, delivery, h.HandoffSent, taken, by="http", receipt="r-1")


def _of_order(
    history: History,
    delivery: DeliveryDocument,
    of: type[h.HandoffEvent],
    cause: Event,
    **fields: Any,
) -> None:
    handoff = history.handoffs.get(delivery.handoff_id or "")
    if handoff is not None and handoff.order is not None and handoff.state.is_open:
        history.by_handoff(of, handoff.order, cause, **fields)


def _fire_case_clock(history: History, name: str, choose: Choose) -> None:
    deadline = history.case.deadlines[name]
    firing = "near" if deadline.near_at else "missed"
    history.by_triage(
        t.CaseDeadlineFired,
        f"deadline:{history.case_no}:{name}:{deadline.version}:{firing}",
        name=name,
        firing=firing,
        due_at=deadline.due_at,
    )


def _running(history: History) -> Sequence[tuple[HandoffDocument, str]]:
    return [(one, name) for one in open_handoffs(history) for name in one.deadlines]


def _fire_handoff_clock(history: History, of: tuple[HandoffDocument, str], choose: Choose) -> None:
    document, name = of
    deadline = document.deadlines[name]
    firing = "near" if deadline.near_at else "missed"
    if document.order is not None:
        history.by_handoff(
            h.HandoffDeadlineFired,
            document.order,
            f"deadline:{document.document_id}:{name}:{deadline.version}:{firing}",
            name=name,
            firing=firing,
            due_at=deadline.due_at,
        )


RECEIVERS = (Act("deliver", _planned, deliver),)
CLOCKS = (
    Act("case clock", lambda history: tuple(history.case.deadlines), _fire_case_clock),
    Act("hand-off clock", _running, _fire_handoff_clock),
)
