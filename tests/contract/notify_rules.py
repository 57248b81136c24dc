"""How notify answers what it takes in, as far as the contract prescribes it; see `triage_rules`."""

from contracts import handling as h
from contracts import ids
from contracts import triage as t
from contracts.envelope import Event
from contracts.feeds import HandoffState
from contracts.vocabulary import DeadlineKind, Role
from tests.contract.histories import Choose, History

_TOLD = (
    t.CaseOpened,
    t.CaseAnswered,
    t.CaseNotAccepted,
    t.CaseResolved,
    t.CaseGroupResolved,
    t.CaseWithdrawn,
    t.WishDeclined,
)


def notify_takes(history: History, event: Event, choose: Choose) -> None:
    """Notify's answer to an event of triage."""
    data = event.data
    match data:
        case t.HandoffOrdered():
            _send(history, event, data.order, choose)
        case t.RecallOrdered():
            _recall(history, event, data.handoff_id, data.ground)
        case t.CaseUrged() | t.ExtensionDecided() | t.CaseSupplemented():
            _pass_on(history, event)
        case t.CaseErased():
            _cancel_unsent(history, event)
        case t.CaseWithdrawn():
            for handoff_id in list(history.handoffs):
                _if_open(history, h.HandoffRecalled, handoff_id, event, ground="withdrawal")
        case t.CaseResolved() | t.CaseAnswered() | t.CaseNotAccepted() | t.CaseGroupResolved():
            _end_all(history, event)
    if isinstance(data, _TOLD):
        _plan(history, event, choose)


def _pass_on(history: History, event: Event) -> None:
    """Bring the department what triage or the citizen adds to an open order."""
    match event.data:
        case t.CaseUrged(handoff_id=id_):
            urgings = history.handoffs[id_].urgings + 1
            _if_open(history, h.HandoffUrged, id_, event, urgings=urgings)
        case t.ExtensionDecided(handoff_id=id_, granted=granted, result_due_at=due):
            _if_open(history, h.HandoffExtended, id_, event, granted=granted, result_due_at=due)
        case t.CaseSupplemented(text=text):
            said = None if history.is_erased else text
            for id_ in list(history.handoffs):
                _if_open(history, h.HandoffSupplemented, id_, event, text=said)


def _cancel_unsent(history: History, event: Event) -> None:
    for id_, delivery in list(history.deliveries.items()):
        if delivery.state == "planned":
            history.by_delivery(h.DeliveryCancelled, id_, event, ground="erased")


def _send(history: History, event: Event, ordered: t.HandoffOrder, choose: Choose) -> None:
    if history.is_erased:
        ordered = ordered.model_copy(
            update={"request": history.content(), "note": None, "supplements": ()}
        )
    if choose(("feed", "http")) == "feed":
        sets = (history.clock(DeadlineKind.SIGNED, {}, 1),)
        history.by_handoff(h.HandoffSent, ordered, event, by="feed", order=ordered, sets=sets)
        return
    history.by_handoff(h.HandoffQueued, ordered, event, order=ordered)
    history.by_delivery(
        h.DeliveryPlanned,
        ids.delivery_id(history.case_no, event.id, "hotline"),
        event,
        tells=event.id,
        step="handoff",
        purpose="handoff",
        target=history.words("hotline"),
        body=history.words("body"),
        order=1,
        give_up_at=history.now,
        handoff_id=ordered.handoff_id,
    )


def _recall(history: History, event: Event, handoff_id: str, ground: str) -> None:
    document = history.handoffs[handoff_id]
    if document.state == HandoffState.RESOLVED and document.order:
        history.by_handoff(h.RecallTooLate, document.order, event)
    else:
        _if_open(history, h.HandoffRecalled, handoff_id, event, ground=ground)


def _end_all(history: History, event: Event) -> None:
    for handoff_id, document in list(history.handoffs.items()):
        if document.role == Role.ASSIST:
            _if_open(history, h.HandoffNotNeeded, handoff_id, event)
        else:
            _if_open(history, h.HandoffRecalled, handoff_id, event, ground="settled")


def _if_open(
    history: History, of: type[h.HandoffEvent], handoff_id: str, event: Event, **fields: object
) -> None:
    document = history.handoffs[handoff_id]
    if document.state.is_open and document.order:
        history.by_handoff(of, document.order, event, **fields)


def _plan(history: History, event: Event, choose: Choose) -> None:
    delivery_id = ids.delivery_id(history.case_no, event.id, "citizen")
    told = {"tells": event.id, "step": event.type}
    if history.is_erased or choose(("lookup", "callback")) == "lookup":
        history.by_delivery(
            h.CitizenTold, delivery_id, event, by="lookup", told_at=history.now, attempts=0, **told
        )
        return
    history.by_delivery(
        h.DeliveryPlanned,
        delivery_id,
        event,
        purpose="callback",
        target=history.words("callback"),
        body=history.words("body"),
        order=1,
        give_up_at=history.now,
        **told,
    )
