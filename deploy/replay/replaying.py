"""A replay from beginning to end: ask, bring to a close, and compare file, log and figures."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from contracts.lifecycle import CaseState
from contracts.profile import Profile
from deploy.audit import Audit, Standing, run_audit
from deploy.replay.account import Account, Triaged
from deploy.replay.crowd import CHANNEL, Crowd, Entrance, Ours
from deploy.replay.lines import Line, Unreadable
from deploy.replay.submitting import submit_all
from deploy.simulators.calls import Calls
from services.reporting import recount
from services.reporting.domain.buckets import Figures
from services.reporting.domain.figures import Question, figures_document

_CURRENT_WITHIN_SECONDS = 60.0
_LOOK_EVERY_SECONDS = 0.5
_STILL_LOOKS = 3


@dataclass(frozen=True, slots=True)
class Options:
    """How to replay. `at_once` bounds calls where no `rate` (a second) is given."""

    at_once: int = 32
    rate: float | None = None
    plays: bool = True
    seconds: float = 1_800.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a replay. `still_open` are cases that were to be closed and are not."""

    account: Account
    triaged: Triaged
    audit: Audit
    are_figures_equal: bool
    still_open: Sequence[str]
    ask_seconds: float
    seconds: float
    retries: int

    @property
    def closed(self) -> int:
        """How many of the replayed cases the audit finds closed and sound."""
        standings = self.audit.standings
        return sum(standings.get(no) is Standing.CLOSED for no in self.account.taken)

    @property
    def on_log(self) -> int:
        """How many of the numbers that intake gave the log knows."""
        return sum(case_no in self.audit.standings for case_no in self.account.taken)

    @property
    def is_good(self) -> bool:
        """Whether every line is accounted for, and nothing is lost, double, open or miscounted."""
        return (
            self.account.is_whole
            and self.on_log == len(self.account.taken)
            and self.audit.is_clean
            and self.are_figures_equal
            and not self.still_open
        )


@dataclass(frozen=True, slots=True)
class Steps:
    """Who is told how far it is."""

    line: Callable[[], None]
    """A line has its end."""
    look: Callable[[Ours], None]
    """The crowd has looked round."""


@dataclass
class Replay:
    """A file's lines on a running platform."""

    entrance: Entrance
    mongo_url: str
    profile: Profile
    lines: Sequence[Line | Unreadable]
    options: Options
    journals: Path
    steps: Steps
    _account: Account = field(default_factory=Account)
    _ours: Ours = field(default_factory=Ours)

    async def run(self) -> Outcome:
        """Replay. Raises AuditError."""
        began = time.monotonic()
        ask_seconds, retries = await self._ask_and_play()
        async with self.entrance.calls("reporting", "operator") as operator:
            figures = await _standing_figures(operator)
            recounted: Figures = {}
            triaged = Triaged()

            def take(state: CaseState) -> None:
                recount.add(recounted, state)
                triaged.see(state, self._account.taken)

            audit = await run_audit(self.entrance.kafka_url, self.mongo_url, on_case=take)
        return Outcome(
            account=self._account,
            triaged=triaged,
            audit=audit,
            are_figures_equal=are_equal(figures, recounted, self.profile),
            still_open=self._still_open(audit) if self.options.plays else (),
            ask_seconds=ask_seconds,
            seconds=time.monotonic() - began,
            retries=retries,
        )

    def _still_open(self, audit: Audit) -> tuple[str, ...]:
        """Return the replayed cases that the audit does not find closed."""
        closed = set(audit.cases(Standing.CLOSED))
        return tuple(sorted(case_no for case_no in self._account.taken if case_no not in closed))

    async def _ask_and_play(self) -> tuple[float, int]:
        """Return how long asking took, and how many calls had to be made again."""
        crowd = Crowd(
            self.entrance,
            self.profile,
            self._ours,
            self.journals,
            lambda: self.steps.look(self._ours),
        )
        began = time.monotonic()
        async with self.entrance.calls("intake", "channel", CHANNEL) as intake:
            try:
                async with asyncio.timeout(self.options.seconds), asyncio.TaskGroup() as tasks:
                    if self.options.plays:
                        tasks.create_task(crowd.work())
                    await self._ask(intake)
                    asked = time.monotonic()
                    crowd.all_asked.set()
            except TimeoutError:
                asked = asked if crowd.all_asked.is_set() else time.monotonic()
            return asked - began, intake.retries

    async def _ask(self, intake: Calls) -> None:
        await submit_all(
            self.lines,
            intake,
            self._account,
            at_once=self.options.at_once,
            rate=self.options.rate,
            on_line=self.steps.line,
            on_taken=self._ours.add,
        )


async def _standing_figures(reporting: Calls) -> dict[str, Any]:
    """Return the figures once they are current and stand still, or as they are after a while."""
    until = time.monotonic() + _CURRENT_WITHIN_SECONDS
    still, before = 0, None
    while True:
        figures = (await reporting.get("/v1/figures")).document
        is_still = figures["totals"] == before and bool(figures["as_of"]["is_current"])
        still = still + 1 if is_still else 0
        if still >= _STILL_LOOKS or time.monotonic() > until:
            return figures
        before = figures["totals"]
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


def are_equal(figures: dict[str, Any], recounted: Figures, profile: Profile) -> bool:
    """Whether figures as they are shown are what a recount over the log comes to."""
    document = figures_document(profile, Question(), recounted)
    counted = orjson.loads(orjson.dumps(document))
    return all(figures[part] == counted[part] for part in ("totals", "rates"))
