"""What can happen in a history: the shape of an act, and the acts of services and citizens.

Each act says on what it can be done now (nothing: it is not possible) and does it. The others
stand beside: `desk_acts.py`, `department_acts.py`, `group_acts.py`, `world_acts.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from contracts import requests as r
from contracts.envelope import EventData
from contracts.lifecycle import Phase
from contracts.vocabulary import Rating, Result
from tests.contract.histories import Choose, History
from tests.contract.notify_rules import notify_takes
from tests.contract.triage_rules import triage_takes

Options = Callable[[History], Sequence[Any]]
Do = Callable[[History, Any, Choose], None]


@dataclass(frozen=True, slots=True)
class Act:
    """Something that can happen: `options` are what it can be done on."""

    name: str
    options: Options
    do: Do


def when(*phases: Phase) -> Options:
    """Possible in these phases of an opened case."""
    return lambda history: (None,) * (history.case.seq > 0 and history.case.phase in phases)


def result(history: History) -> Result:
    """Return a result with every personal field filled."""
    return Result(
        text=history.words("result"), acts=history.words("acts"), contact=history.words("clerk")
    )


def _triage(history: History, _: None, choose: Choose) -> None:
    triage_takes(history, history.for_triage.popleft(), choose)


def _notify(history: History, _: None, choose: Choose) -> None:
    notify_takes(history, history.for_notify.popleft(), choose)


SERVICES = (
    Act("triage takes in", lambda history: (None,) * bool(history.for_triage), _triage),
    Act("notify takes in", lambda history: (None,) * bool(history.for_notify), _notify),
)


def _few(of: type[EventData], most: int) -> Options:
    def options(history: History) -> Sequence[None]:
        written = sum(isinstance(event.data, of) for event in history.events)
        return (None,) * (not history.is_erased and written < most)

    return options


def submit(history: History, _: None, choose: Choose) -> None:
    """The citizen's request, accepted."""
    history.by_intake(
        r.RequestSubmitted,
        request=history.content(),
        body_digest="0" * 64,
        accepted_at=history.now,
        code_version=1,
        profile="zhoukou@1",
    )


def rate(history: History, _: None, choose: Choose) -> None:
    """The citizen's rating."""
    solved = choose((True, False))
    rating = Rating(level=5 if solved else 1, solved=solved, comment=history.words("comment"))
    history.by_intake(r.RatingGiven, rating=rating)


def _wishes(of: type[EventData], **texts: str) -> Do:
    def do(history: History, _: None, choose: Choose) -> None:
        history.by_intake(of, **{name: history.words(text) for name, text in texts.items()})

    return do


def _erasable(history: History) -> Sequence[None]:
    return _few(r.ErasureRequested, 2)(history) if len(history.events) > 30 else ()


def ask_erasure(history: History, _: None, choose: Choose) -> None:
    """The citizen wants nothing kept."""
    history.by_intake(r.ErasureRequested, by="citizen")


CITIZEN = (
    Act("supplement", _few(r.SupplementGiven, 2), _wishes(r.SupplementGiven, text="more")),
    Act("withdraw", _few(r.WithdrawalRequested, 2), _wishes(r.WithdrawalRequested, reason="why")),
    Act("rate", _few(r.RatingGiven, 3), rate),
)
RARE = (
    Act("submit again", _few(r.RequestSubmitted, 2), submit),
    Act("ask for erasure", _erasable, ask_erasure),
)
