"""The state is a pure function of the set of a case's events, over whole histories."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts import envelope
from contracts.envelope import Event
from contracts.feeds import HandoffState
from contracts.lifecycle import CaseState, Phase, Status
from contracts.lifecycle import case as case_module
from contracts.lifecycle import state as state_module
from contracts.vocabulary import OutcomeKind, Role
from tests.contract import properties
from tests.contract.histories import History
from tests.contract.stories import SCRIPTS, histories, history_from

SEEDS = st.integers(0, 2**32)


@given(histories(), SEEDS)
def test_order_repetition_and_compaction_do_not_matter(history: History, seed: int) -> None:
    properties.is_same_in_any_order(history, seed)


@given(histories(), SEEDS)
def test_delay_only_holds_documents_back(history: History, seed: int) -> None:
    properties.grows_with_what_arrives(history, seed)


@given(histories())
def test_a_reader_of_all_events_has_the_owners_documents(history: History) -> None:
    properties.is_complete_at_rest(history)


@given(histories())
def test_a_missing_event_shows(history: History) -> None:
    properties.shows_what_is_missing(history)


@given(histories())
def test_every_step_is_allowed_and_one_unit_leads(history: History) -> None:
    properties.keeps_the_rules(history)


@given(histories())
def test_late_and_assisting_results_change_only_their_own_handoff(history: History) -> None:
    properties.late_results_change_only_their_handoff(history)


@given(histories(erased=True))
def test_nothing_is_left_of_an_erased_person(history: History) -> None:
    assert history.is_erased
    properties.shows_nothing_of_an_erased_person(history)
    properties.is_complete_at_rest(history)


def _reached(script: str, reaches: Callable[[History, CaseState], bool]) -> bool:
    """Whether the script leads there in most of some histories."""
    played = [history_from(seed, script, steps=0) for seed in range(20)]
    return sum(reaches(one, properties.full_state(one)) for one in played) >= 5


def _types(history: History) -> set[str]:
    return {event.type for event in history.events}


REACHES: dict[str, Callable[[History, CaseState], bool]] = {
    "nothing special": lambda one, state: state.status == Status.CLOSED,
    "second return, then a binding order": lambda one, state: (
        one.case.returns == 2
        and any(order.binding and not order.returnable for order in one.case.orders.values())
    ),
    "lead and assists": lambda one, state: (
        sum(order.role == Role.ASSIST for order in one.case.orders.values()) >= 2
        and {"case.resolved", "handoff.not_needed"} <= _types(one)
    ),
    "extension": lambda one, state: {"extension.decided", "handoff.extended"} <= _types(one),
    "result of a re-routed hand-off": lambda one, state: any(
        one.case.orders[i].ended == "rerouted" and handoff.state == HandoffState.RESOLVED
        for i, handoff in state.handoffs.items()
    ),
    "withdrawal too late": lambda one, state: (
        "handoff.recall_too_late" in _types(one) and "withdrawal.ended" in _types(one)
    ),
    "withdrawal recalled": lambda one, state: {"handoff.recalled", "case.withdrawn"} <= _types(one),
    "withdrawal before hand-off": lambda one, state: (
        one.case.orders == {} and "case.withdrawn" in _types(one)
    ),
    "reopened twice": lambda one, state: one.case.round == 2,
    "result of a group it left": lambda one, state: (
        one.case.left != {} and "case.group_resolved" in _types(one)
    ),
    "group resolves": lambda one, state: (
        any(group.resolved for group in state.groups.values())
        and "case.group_resolved" in _types(one)
    ),
    "answer while a unit assists": lambda one, state: any(
        order.ended == "not_needed" and state.handoffs[i].state == HandoffState.NOT_NEEDED
        for i, order in one.case.orders.items()
    ),
}


@pytest.mark.parametrize("script", sorted(SCRIPTS))
def test_a_script_leads_where_its_name_says(script: str) -> None:
    assert _reached(script, REACHES[script])


def test_histories_write_every_event_type() -> None:
    written: set[str] = set()
    for seed in range(400):
        script = sorted(SCRIPTS)[seed % len(SCRIPTS)]
        written |= _types(history_from(seed, script, steps=seed % 60))
        if len(written) == len(envelope.event_types()):
            break
    assert envelope.event_types().keys() - written == set()


# --- the properties can fail: each of these mistakes in the state function is found


def _fold_as_it_comes(
    state: CaseState, events: Iterable[Event]
) -> tuple[set[str], list[str], list[str]]:
    documents: dict[str, Any] = {}
    for event in events:
        document_id = event.data.document_id
        if event.data.seq is None:
            continue
        if document_id not in documents:
            documents[document_id] = state_module._document_for(state, document_id, [event])
        documents[document_id].seq = event.data.seq - 1
        documents[document_id].apply(event)
    return set(documents), [], []


def _first_come(events: Iterable[Event]) -> tuple[dict[str, Event], list[str]]:
    chosen: dict[str, Event] = {}
    for event in events:
        chosen.setdefault(event.id, event)
    return chosen, []


def _any_result_resolves(state: CaseState) -> Status:
    handoffs = state.handoffs.values()
    is_resolved = any(handoff.state == HandoffState.RESOLVED for handoff in handoffs)
    return Status.RESOLVED if is_resolved else Status.TRIAGED


def _group_result_for_anybody(case: case_module.CaseDocument, event: Event, data: Any) -> None:
    case.settle(OutcomeKind.ANSWER, event, data.result.text)


def _answer_leaves_assists_open(case: case_module.CaseDocument, event: Event, data: Any) -> None:
    case.settle(OutcomeKind.ANSWER, event, data.answer.text)


Property = Callable[[History, int], None]
Break = Callable[[pytest.MonkeyPatch], None]
MISTAKES: dict[str, tuple[Break, Property]] = {
    "events are applied as they arrive": (
        lambda patch: patch.setattr(state_module, "_fold", _fold_as_it_comes),
        properties.is_same_in_any_order,
    ),
    "gaps are not seen": (
        lambda patch: patch.setattr(state_module, "_fold", _fold_as_it_comes),
        lambda history, _: properties.shows_what_is_missing(history),
    ),
    "names are not followed": (
        lambda patch: patch.setattr(state_module, "_unseen", lambda *_: []),
        lambda history, _: properties.shows_what_is_missing(history),
    ),
    "the first copy counts, not the highest rev": (
        lambda patch: patch.setattr(state_module, "_once", _first_come),
        properties.is_same_in_any_order,
    ),
    "redaction leaves the text": (
        lambda patch: patch.setattr(envelope, "without_personal", lambda value: value),
        lambda history, _: properties.shows_nothing_of_an_erased_person(history),
    ),
    "any hand-off's result resolves the case": (
        lambda patch: patch.setattr(state_module, "status_of", _any_result_resolves),
        lambda history, _: properties.late_results_change_only_their_handoff(history),
    ),
    "a group's result reaches who has left it": (
        lambda patch: patch.setitem(
            case_module._STEPS, "case.group_resolved", _group_result_for_anybody
        ),
        lambda history, _: properties.keeps_the_rules(history),
    ),
    "an answer leaves assisting orders open": (
        lambda patch: patch.setitem(
            case_module._STEPS, "case.answered", _answer_leaves_assists_open
        ),
        lambda history, _: properties.keeps_the_rules(history),
    ),
    "settled cases may be ordered": (
        lambda patch: patch.setitem(
            case_module.ALLOWED, "case.answered", frozenset({Phase.SETTLED})
        ),
        lambda history, _: properties.keeps_the_rules(history),
    ),
}


def _each(holds: Property, played: Iterable[History]) -> None:
    for seed, history in enumerate(played):
        holds(history, seed)


@pytest.mark.parametrize("mistake", sorted(MISTAKES))
def test_a_mistake_in_the_state_function_is_found(
    mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = [
        history_from(seed, script, erased=True, steps=15)
        for seed, script in enumerate(sorted(SCRIPTS) * 4)
    ]
    break_it, holds = MISTAKES[mistake]
    _each(holds, played)
    break_it(monkeypatch)
    broken = (
        [history_from(seed, erased=True, steps=15) for seed in range(5)]
        if mistake == "redaction leaves the text"
        else played
    )
    with pytest.raises(AssertionError):
        _each(holds, broken)
