"""What the simulated people know of each other: the prompt book of a play.

In a city a citizen rings, a clerk looks at the clock, a department asks the desk. Here those who
play note such things in one place, so that nobody acts before the story has come so far. Nothing of
it is the platform's, and whoever plays without a story needs none of it.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import orjson

from deploy.simulators.plans import Plan

_ONCE_A_ROUND = frozenset({"answered", "resolved", "not_accepted", "finished_ask_rating"})
PATIENCE_SECONDS = 100.0
"""How long one waits for another before going on without: what is played must come to an end."""


class Journal:
    """A file with a line of JSON for everything that a client saw; for whoever checks it later.

    Case numbers and ids only: never a retrieval code, a name or a word that somebody wrote.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, **seen: Any) -> None:
        """Add a line, with the time of now."""
        if self._file is None:
            raise ValueError("the journal is not open")
        line = {**seen, "at": datetime.now(UTC)}
        self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z))
        self._file.flush()


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that intake has accepted."""

    case_no: str
    plan: Plan
    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Grouped:
    """A group that the desk has formed, or None as `group_id`: each member goes its own way."""

    group_id: str | None
    anchor: str = ""
    members: frozenset[str] = frozenset()


@dataclass(slots=True)
class Room:
    """Who has done what so far. All sets hold what has happened; nothing is taken back."""

    plans: Mapping[str, Plan]
    accepted: dict[str, Accepted] = field(default_factory=dict)
    attention: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    """Cases that somebody asks the desk to look at."""
    checked: set[str] = field(default_factory=set)
    """Hand-offs that the desk has looked at and left as they are."""
    corrected: set[str] = field(default_factory=set)
    """Cases whose category the desk has seen to be right, or put right."""
    assisting: set[tuple[str, int, str]] = field(default_factory=set)
    """Case, round and department of assisting orders that the desk has seen out."""
    signed: set[str] = field(default_factory=set)
    assisted: set[tuple[str, int, str]] = field(default_factory=set)
    """Case, round and department of assisting results."""
    rated: set[tuple[str, int]] = field(default_factory=set)
    silent: set[tuple[str, int]] = field(default_factory=set)
    """Rounds that are finished and of which the citizen says nothing unless asked."""
    groups: dict[str, Grouped] = field(default_factory=dict)
    steps: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """What each citizen was told by callback: every message once, by step."""
    doubles: list[str] = field(default_factory=list)
    """What a client saw happen twice under two ids."""
    events_told: set[str] = field(default_factory=set)
    once_told: set[tuple[str, str, int]] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    _pulses: dict[str, asyncio.Event] = field(default_factory=dict)

    def accept(self, case_no: str, plan: Plan, code: str) -> None:
        """Note an accepted request."""
        self.accepted[case_no] = Accepted(case_no, plan, code)
        self.happened(case_no)
        self.happened(plan.request.external_id)

    def plan_of(self, external_id: str | None) -> Plan | None:
        """Return the plan under the channel's own number."""
        return self.plans.get(external_id or "")

    async def plan_of_case(self, case_no: str) -> Plan | None:
        """Return the plan of a case; what is not from this play has none.

        A hand-off or callback can be faster than the answer to the request that it comes from.
        """
        if self.plans:
            await self.until(case_no, lambda: case_no in self.accepted)
        known = self.accepted.get(case_no)
        return known.plan if known is not None else None

    def case_of(self, external_id: str) -> str | None:
        """Return the number that a request got."""
        return next(
            (
                one.case_no
                for one in self.accepted.values()
                if one.plan.request.external_id == external_id
            ),
            None,
        )

    def ask_desk(self, case_no: str) -> None:
        """Ask the desk to look at a case."""
        self.attention.put_nowait(case_no)

    def tell(self, case_no: str, step: str, round_: int, event_id: str) -> None:
        """Note a message that a citizen got, and whether it says a second time what was said."""
        once = (case_no, step, round_)
        if event_id in self.events_told or (step in _ONCE_A_ROUND and once in self.once_told):
            self.doubles.append(f"{case_no}: {step} of round {round_} was told twice")
        self.events_told.add(event_id)
        self.once_told.add(once)
        self.steps[case_no][step] += 1
        self.happened(case_no)

    def happened(self, about: str) -> None:
        """Wake whoever waits for something about a case, or a request not accepted yet."""
        pulse = self._pulses.pop(about, None)
        if pulse is not None:
            pulse.set()

    async def until(
        self, about: str, is_so: Callable[[], bool], seconds: float = PATIENCE_SECONDS
    ) -> bool:
        """Wait until something is so about a case or request; False if it did not come in time."""
        try:
            async with asyncio.timeout(seconds):
                while not is_so():
                    await self._pulses.setdefault(about, asyncio.Event()).wait()
        except TimeoutError:
            return is_so()
        return True
