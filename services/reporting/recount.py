"""Counting anew from the events: what every figure must equal. Pure, for the audit to use too."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from contracts.envelope import Event
from contracts.lifecycle import CaseState, state_of
from services.reporting.domain.buckets import Bucket, Figures, added, count
from services.reporting.domain.contribution import contribution_of


@dataclass(frozen=True, slots=True)
class Difference:
    """A count that is not what the events say."""

    bucket: Bucket
    counter: str
    counted: int
    recounted: int


def states_of(events: Mapping[str, Iterable[Event]]) -> Iterator[CaseState]:
    """Yield the state of each case; `events` are those of each case number, in any order."""
    return (state_of(case_no, own) for case_no, own in events.items())


def by_case(events: Iterable[Event]) -> dict[str, list[Event]]:
    """Sort events, as they are read from the log, by the case they belong to."""
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[event.data.case_no].append(event)
    return dict(found)


def figures_of(cases: Iterable[CaseState]) -> Figures:
    """Return the figures that these cases make up."""
    return added(contribution_of(case) for case in cases)


def add(figures: Figures, case: CaseState) -> None:
    """Count one more case, for whoever cannot hold all of them at once."""
    for bucket, counters in contribution_of(case).items():
        count(figures, bucket, counters)


def totals_of(figures: Figures) -> Counter[str]:
    """Return the counters over all buckets."""
    totals: Counter[str] = Counter()
    for counters in figures.values():
        totals.update(counters)
    return totals


def differences(counted: Figures, recounted: Figures) -> list[Difference]:
    """Return where figures differ from a recount, in the order of their buckets."""
    found = [
        Difference(
            bucket, name, counted.get(bucket, _NONE)[name], recounted.get(bucket, _NONE)[name]
        )
        for bucket in counted.keys() | recounted.keys()
        for name in counted.get(bucket, _NONE).keys() | recounted.get(bucket, _NONE).keys()
        if counted.get(bucket, _NONE)[name] != recounted.get(bucket, _NONE)[name]
    ]
    return sorted(found, key=lambda d: (d.bucket.key, d.counter))


_NONE: Counter[str] = Counter()
