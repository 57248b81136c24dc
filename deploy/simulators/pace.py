"""How far a play is: a bar for each stage, from the figures that reporting shows."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeElapsedColumn as Elapsed

from deploy.simulators.calls import Calls

_LOOK_EVERY_SECONDS = 0.5
_STILL_LOOKS = 3
"""Looks in a row that must show the same before the play is over."""

_LAST_LOOK_SECONDS = 10.0

Figures = dict[str, Any]
IsOver = Callable[[Figures], bool]


class TooSlow(Exception):
    """The time is over and the play is not; `still_open` says in Chinese what is left."""

    def __init__(self, still_open: list[str]) -> None:
        super().__init__("the play did not come to its end in time")
        self.still_open = still_open


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage: its name, how many have passed it, and how many will."""

    name: str
    done: int
    total: int


def stages_of(totals: Figures, cases: int, accepted: int, rated_in_story: int) -> list[Stage]:
    """Return the stages of a play of `cases`, from the totals that reporting shows."""
    handoffs = totals["handoffs"]
    orders = handoffs["dispatched"]
    ended = handoffs["returned"] + handoffs["recalled"] + handoffs["not_needed"]
    ratings = totals["online_ratings_n"] + totals["handoff_ratings_n"]
    submitted = totals["open_by_status"].get("submitted", {}).get("count", 0)
    return [
        Stage("受理 accepted", accepted, cases),
        Stage("分类 triaged", totals["accepted"] - submitted, cases),
        Stage("交办 handed over", orders, orders),
        Stage("签收 signed", handoffs["signed"], max(handoffs["signed"], orders - ended)),
        Stage("办出结果 resolved", handoffs["resolved"], max(handoffs["resolved"], orders - ended)),
        Stage("告知办结 told", totals["finished"], cases),
        Stage("评价 rated", ratings, max(ratings, rated_in_story)),
        Stage("归档 closed", totals["closed"], cases),
    ]


@dataclass(slots=True)
class Pace:
    """Shows the stages and waits for the end."""

    reporting: Calls
    cases: int
    rated_in_story: int
    accepted: Callable[[], int]
    console: Console
    _progress: Progress = field(init=False)
    _bars: dict[str, TaskID] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            Elapsed(),
            console=self.console,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    async def until_over(self, seconds: float, is_over: IsOver) -> Figures:
        """Return the last figures once all is over and the figures stand still.

        Raises TooSlow after so many seconds.
        """
        deadline = time.monotonic() + seconds
        still, before = 0, None
        while time.monotonic() < deadline:
            figures = await self._figures(deadline)
            if figures is None:
                break
            self._show(figures["totals"])
            is_still = figures["totals"] == before and bool(figures["as_of"]["is_current"])
            still = still + 1 if is_still and is_over(figures["totals"]) else 0
            if still >= _STILL_LOOKS:
                return figures
            before = figures["totals"]
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
        raise TooSlow(await self._still_open())

    async def _still_open(self) -> list[str]:
        """Say of each open case how it stands and what it waits for."""
        found: list[str] = []
        after: str | None = ""
        try:
            async with asyncio.timeout(_LAST_LOOK_SECONDS):
                while after is not None:
                    page = (await self.reporting.get(f"/v1/audit/cases?after={after}")).document
                    found += [_line(case) for case in page["cases"] if case["status"] != "closed"]
                    after = page["next"]
        except TimeoutError:
            found.append("（统计服务没有回答，其余未列出）")
        return found

    async def _figures(self, deadline: float) -> Figures | None:
        try:
            async with asyncio.timeout(max(0.1, deadline - time.monotonic())):
                return (await self.reporting.get("/v1/figures")).document
        except TimeoutError:
            return None

    def _show(self, totals: Figures) -> None:
        for stage in stages_of(totals, self.cases, self.accepted(), self.rated_in_story):
            if stage.name not in self._bars:
                self._bars[stage.name] = self._progress.add_task(stage.name, total=None)
            self._progress.update(
                self._bars[stage.name], completed=stage.done, total=stage.total or None
            )


def _line(case: dict[str, Any]) -> str:
    waits = [str(task["kind"]) for task in case["tasks"]]
    waits += [f"受阻：{one['reason']}" for one in case["blocked"]]
    return f"{case['case_no']}  {case['status']}  {'、'.join(waits) or '无待办'}"
