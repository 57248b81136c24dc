"""What holds of every history. Each property is a plain function that asserts, so that a test can
also show that it fails when the state function is broken."""

import random

from contracts import handling as h
from contracts import triage as t
from contracts.envelope import Event, parse
from contracts.lifecycle import CaseDocument, CaseState, Phase, documents_of, refusal, state_of
from contracts.vocabulary import Result, Role
from tests.contract.histories import MARKER, PERSONAL_NUMBERS, History

_WORKING = (Phase.OPEN, Phase.ORDERED)


def full_state(history: History) -> CaseState:
    """The state from everything that was written, in the order of writing."""
    return state_of(history.case_no, history.events)


def is_same_in_any_order(history: History, seed: int) -> None:
    """Order, repetition and delay of delivery do not matter, nor does compaction."""
    chance = random.Random(seed)
    whole = full_state(history)
    read = [parse(event.headers(), event.encoded) for event in history.events]
    arrival = read + chance.choices(read, k=chance.randrange(len(read)))
    chance.shuffle(arrival)
    assert state_of(history.case_no, arrival) == whole
    newest = {event.id: event for event in history.events}
    compacted = list(newest.values())
    chance.shuffle(compacted)
    assert state_of(history.case_no, compacted) == whole


def grows_with_what_arrives(history: History, seed: int) -> None:
    """However delivery is delayed, documents only go forward and never beyond what was written."""
    chance = random.Random(seed)
    arrival = list(history.events)
    chance.shuffle(arrival)
    last = {document.document_id: document.seq for document in history.documents()}
    reached: dict[str, int] = {}
    for end in sorted(chance.sample(range(len(arrival) + 1), min(8, len(arrival)))):
        state = state_of(history.case_no, arrival[:end])
        assert state.double == ()
        seqs = {document.document_id: document.seq for document in documents_of(state)}
        for document_id, seq in reached.items():
            assert seqs[document_id] >= seq
        for document_id, seq in seqs.items():
            assert seq <= last[document_id]
        if not state.incomplete:
            assert state.case is None or state.case.seq == len(_of(arrival[:end], state.case_no))
        reached = seqs


def _of(events: list[Event], document_id: str) -> set[str]:
    return {e.id for e in events if e.data.document_id == document_id and e.data.seq}


def is_complete_at_rest(history: History) -> None:
    """A reader of all events has exactly the owners' documents, and misses nothing."""
    state = full_state(history)
    assert state.incomplete == ()
    assert state.double == ()
    assert state.open_wishes == ()
    assert state.case == history.case
    assert state.handoffs == history.handoffs
    assert state.deliveries == history.deliveries
    assert state.groups == history.groups
    assert len(state.timeline) == len({event.id for event in history.events})


def shows_what_is_missing(history: History) -> None:
    """Without any one event that leaves a gap or that another names, the state is incomplete."""
    newest = list({event.id: event for event in history.events}.values())
    last: dict[str, int] = {}
    for event in newest:
        document_id = event.data.document_id
        last[document_id] = max(last.get(document_id, 0), event.data.seq or 0)
    for lost in newest:
        others = [event for event in newest if event.id != lost.id]
        seq, end = lost.data.seq, last[lost.data.document_id]
        names = [lost.id] if seq is None or end > 1 else [lost.id, lost.data.document_id]
        is_named = any(name.encode() in other.encoded for name in names for other in others)
        leaves_gap = seq is not None and seq < end
        if is_named or leaves_gap:
            assert state_of(history.case_no, others).incomplete, lost.type


def keeps_the_rules(history: History) -> None:
    """Every event of triage was allowed when it was written; what may never happen does not."""
    case = CaseDocument(history.case_no, history.case_no)
    for event in _case_events(history):
        assert refusal(case, event.type) is None
        ignored = _is_foreign_group_result(case, event)
        before = (case.phase, case.outcome, case.membership, _endings(case))
        case.apply(event)
        if ignored:
            assert before == (case.phase, case.outcome, case.membership, _endings(case))
        leads = [order for order in case.open_orders() if order.role == Role.LEAD]
        assert len(leads) <= 1
        assert bool(leads) == (case.phase == Phase.ORDERED)
        if case.phase not in _WORKING:
            assert case.open_orders() == []
            assert case.outcome is not None


def _case_events(history: History) -> list[Event]:
    """Triage's events of the case document, as they were first written."""
    own = [e for e in history.events if e.data.document_id == history.case_no and e.data.seq]
    return [event for event in own if event.data.rev == 0]


def _is_foreign_group_result(case: CaseDocument, event: Event) -> bool:
    match event.data:
        case t.CaseGroupResolved(group_id=group_id):
            return case.membership is None or case.membership.group_id != group_id
        case t.CaseJoinedGroup(group_id=group_id, group_version=version):
            return case.left.get(group_id, 0) >= version
    return False


def _endings(case: CaseDocument) -> dict[str, str | None]:
    return {order.handoff_id: order.ended for order in case.orders.values()}


def late_results_change_only_their_handoff(history: History) -> None:
    """A result of an order that has ended, or of an assisting one, moves nothing but its own."""
    before = full_state(history)
    for handoff_id, order in history.case.orders.items():
        if order.role == Role.LEAD and order.ended is None:
            continue
        after = state_of(history.case_no, [*history.events, _late_result(history, handoff_id)])
        assert after.handoffs[handoff_id].result is not None
        assert (after.case, after.status) == (before.case, before.status)
        assert (after.deliveries, after.groups) == (before.deliveries, before.groups)
        assert after.incomplete == before.incomplete == ()
        for other in before.handoffs.keys() - {handoff_id}:
            assert after.handoffs[other] == before.handoffs[other]


def _late_result(history: History, handoff_id: str) -> Event:
    handoff = history.handoffs[handoff_id]
    data = h.HandoffResolved(
        case_no=history.case_no,
        document_id=handoff_id,
        seq=handoff.seq + 1,
        lc=handoff.lc + 1,
        caused_by=f"reply:{handoff.department}:{handoff_id}:late",
        round=handoff.round,
        occurred_at=history.now,
        recorded_at=history.now,
        handoff_id=handoff_id,
        role=handoff.role,
        attempt=handoff.attempt,
        department=handoff.department,
        result=Result(),
    )
    return Event.of("00000000-0000-0000-0000-000000000000", data)


def shows_nothing_of_an_erased_person(history: History) -> None:
    """Once every owner has redacted, no personal text stands in the state or the newest bytes."""
    if not history.is_erased:
        return
    shown = repr(full_state(history))
    newest = b"".join({event.id: event.encoded for event in history.events}.values())
    for trace in (MARKER, *(str(number) for number in PERSONAL_NUMBERS)):
        assert trace not in shown
        assert trace.encode() not in newest
