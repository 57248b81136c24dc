"""Strategies for whole histories: acts chosen one after another, then brought to rest."""

import random
from collections.abc import Sequence

from hypothesis import strategies as st

from contracts.lifecycle import Phase
from tests.contract.acts import CITIZEN, RARE, SERVICES, Act, ask_erasure, submit
from tests.contract.department_acts import DEPARTMENT_ACTS, give_result
from tests.contract.desk_acts import (
    DECIDES,
    ENDS_ROUND,
    HANDS_OVER,
    LOOKS_ON,
    answer,
    not_reached,
    resolve_by_hand,
    tell_by_telephone,
    visit,
)
from tests.contract.group_acts import GROUP_ACTS
from tests.contract.histories import Choose, History, T, case_number
from tests.contract.world_acts import CLOCKS, RECEIVERS, deliver

_TURNS: tuple[tuple[Sequence[Act], int], ...] = (
    (SERVICES, 24),
    (DEPARTMENT_ACTS, 16),
    (HANDS_OVER, 10),
    (DECIDES, 8),
    (ENDS_ROUND, 2),
    (LOOKS_ON, 1),
    (RECEIVERS, 3),
    (CITIZEN, 3),
    (GROUP_ACTS, 3),
    (CLOCKS, 1),
    (RARE, 1),
)
"""Whose turn it may be, and how often it comes up among those that can do something."""
SCRIPTS: dict[str, tuple[str, ...]] = {
    "nothing special": (),
    "second return, then a binding order": (
        *("order lead", "rest", "take", "return", "rest") * 2,
        *("order lead", "rest", "take", "give result", "rest"),
    ),
    "lead and assists": (
        *("order lead", "order assist", "order assist", "rest", "take", "take"),
        *("give result", "rest", "give result", "rest"),
    ),
    "extension": ("order lead", "rest", "take", "ask for extension", "rest", "decide extension"),
    "result of a re-routed hand-off": (
        *("order lead", "rest", "take", "reroute", "give result", "order lead", "rest"),
    ),
    "withdrawal too late": (
        *("order lead", "rest", "take", "withdraw", "triage takes in", "give result", "rest"),
    ),
    "withdrawal recalled": ("order lead", "withdraw", "rest", "decide withdrawal", "rest"),
    "withdrawal before hand-off": ("withdraw", "rest", "decide withdrawal", "rest"),
    "reopened twice": (
        *("answer", "rest", "take", "tell by telephone", "reopen") * 2,
        *("rest", "answer", "rest"),
    ),
    "result of a group it left": (
        *("reroute", "join another's group", "split off", "result of a group it left", "rest"),
    ),
    "group resolves": ("reroute", "form group", "rest", "group resolves", "rest"),
    "answer while a unit assists": ("reroute", "order assist", "rest", "answer", "rest"),
}
"""Courses that chance alone finds too seldom: acts to try in this order, `rest` for the services
to take in all, `take` for the next step of a delivery."""
_ACTS = {act.name: act for turn, _ in _TURNS for act in turn}
_END = 400
"""More steps than any history needs to come to rest."""


@st.composite
def histories(draw: st.DrawFn, longest: int = 40, *, erased: bool = False) -> History:
    """A history of one case that is at rest: nothing is on its way, and often it is closed."""

    def choose(options: Sequence[T], /) -> T:
        return options[draw(st.integers(0, len(options) - 1))]

    script = draw(st.sampled_from(sorted(SCRIPTS)))
    return _history(choose, script, draw(st.integers(0, longest)), erased=erased)


def history_from(
    seed: int, script: str = "nothing special", *, steps: int = 40, erased: bool = False
) -> History:
    """The history that a seed gives: for examples that stand still."""
    return _history(random.Random(seed).choice, script, steps, erased=erased)


def _history(choose: Choose, script: str, steps: int, *, erased: bool) -> History:
    history = History(case_number(1))
    submit(history, None, choose)
    rest(history, choose)
    follow(history, script, choose)
    for _ in range(steps):
        act_once(history, choose)
    if erased and not history.is_erased:
        ask_erasure(history, None, choose)
    rest(history, choose)
    if choose((True, True, False)):
        close(history, choose)
    return history


def follow(history: History, script: str, choose: Choose) -> None:
    """Try the acts of a script one after another; what is not possible is left out."""
    for name in SCRIPTS[script]:
        if name == "rest":
            rest(history, choose)
            continue
        act = RECEIVERS[0] if name == "take" else _ACTS[name]
        options = act.options(history)
        if options:
            history.done.append(act.name)
            act.do(history, choose(options), choose)


def act_once(history: History, choose: Choose) -> None:
    """Let one thing happen that is possible now."""
    turns = [[(act, on) for act in turn if (on := act.options(history))] for turn, _ in _TURNS]
    weighted = [
        turn
        for turn, (_, weight) in zip(turns, _TURNS, strict=True)
        for _ in range(weight if turn else 0)
    ]
    act, options = choose(choose(weighted))
    history.done.append(act.name)
    act.do(history, choose(options), choose)


def rest(history: History, choose: Choose) -> None:
    """Let the services take in all that lies before them."""
    for _ in range(_END):
        busy = [act for act in SERVICES if act.options(history)]
        if not busy:
            return
        choose(busy).do(history, None, choose)
    raise AssertionError("the services do not come to rest")


def close(history: History, choose: Choose) -> None:
    """Bring the case to its end, as the desk would."""
    for _ in range(_END):
        rest(history, choose)
        lead = history.case.lead_order()
        handoff = history.handoffs.get(lead.handoff_id) if lead else None
        planned = [one for one in history.deliveries.values() if one.state == "planned"]
        if planned:
            deliver(history, planned[0], choose)
        elif history.case.phase == Phase.OPEN:
            answer(history, None, choose)
        elif history.case.phase == Phase.ORDERED:
            if handoff is not None and handoff.state.is_open:
                give_result(history, handoff, choose)
            else:
                resolve_by_hand(history, None, choose)
        elif history.case.phase == Phase.SETTLED:
            tell_by_telephone(history, None, choose)
        elif history.case.phase == Phase.FINISHED and history.case.visits < 3:
            visit(history, None, choose)
        elif history.case.phase == Phase.FINISHED:
            not_reached(history, None, choose)
        else:
            return
    raise AssertionError("the case does not close")
