"""Where something is counted: an hour, a place, a category … and what figures are made of."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple, TypeAlias

CASE = "case"
HANDOFF = "handoff"


class Bucket(NamedTuple):
    """One cell of the figures. What is not known (yet) is an empty text.

    `hour` is in UTC (`2022-01-18T07`): of acceptance for cases, of dispatch for hand-offs.
    `department` is the leading one for cases, the one ordered for hand-offs, which have a `role`.
    """

    kind: str
    hour: str
    region: str = ""
    category: str = ""
    tier: str = ""
    department: str = ""
    channel: str = ""
    role: str = ""

    @property
    def key(self) -> str:
        """The bucket in one word."""
        return "|".join(self)


Figures: TypeAlias = dict[Bucket, Counter[str]]
"""Counts by bucket. A bucket or counter that is not there is 0."""


@dataclass(frozen=True, slots=True)
class Page:
    """The figures of one partition number and hour: what is read and written as one.

    Kept apart by partition number, so that no two processes write the same page.
    """

    partition: int
    hour: str
    cells: Figures

    @property
    def key(self) -> str:
        """The page in one word."""
        return page_key(self.partition, self.hour)


def page_key(partition: int, hour: str) -> str:
    """Return the name of a page."""
    return f"{partition}|{hour}"


def turned(page: Page, changed: Figures) -> Page:
    """Return a page with changes added, without what has gone back to 0."""
    cells = dict(page.cells)
    for bucket, counters in changed.items():
        counts = Counter(cells.get(bucket, Counter()))
        counts.update(counters)
        kept = Counter({name: number for name, number in counts.items() if number})
        if kept:
            cells[bucket] = kept
        else:
            cells.pop(bucket, None)
    return Page(page.partition, page.hour, cells)


def hour_of(moment: datetime) -> str:
    """Return the hour in which a moment lies, in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H")


def count(figures: Figures, bucket: Bucket, counters: Mapping[str, int]) -> None:
    """Add counters to a bucket."""
    own = figures.setdefault(bucket, Counter())
    for name, number in counters.items():
        if number:
            own[name] += number


def change(old: Figures, new: Figures) -> Figures:
    """Return what must be added to figures that hold `old` so that they hold `new`."""
    changed: Figures = {}
    for bucket in old.keys() | new.keys():
        before, after = old.get(bucket, Counter()), new.get(bucket, Counter())
        differing = Counter(
            {
                name: after[name] - before[name]
                for name in before.keys() | after.keys()
                if after[name] != before[name]
            }
        )
        if differing:
            changed[bucket] = differing
    return changed


def added(parts: Iterable[Figures]) -> Figures:
    """Return the sum of figures."""
    total: Figures = {}
    for part in parts:
        for bucket, counters in part.items():
            count(total, bucket, counters)
    return total
