"""A new generation compared: with its own recount, and with the generation that is live."""

from collections.abc import Callable
from dataclasses import dataclass

from contracts.topics import CASE_PARTITIONS, CASE_TOPICS
from deploy.recovery.filling import Filling
from services.reporting import recount
from services.reporting.domain.buckets import Figures
from services.reporting.domain.progress import Progress
from services.reporting.recount import Difference
from services.reporting.store import Projection

_TRIES = 50
_TOLD_EVERY_CASES = 200


@dataclass(frozen=True, slots=True)
class Recounted:
    """How many cases there are, and where the figures differ from a count of them."""

    cases: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class Compared:
    """Where the new figures (`recounted`) differ from the old ones (`counted`), and for how many
    partition numbers that could be said: the live generation goes on, and the two must have read
    exactly as far."""

    numbers: int
    differences: tuple[Difference, ...]


async def recounted(new: Projection, on_cases: Callable[[int, int], None]) -> Recounted:
    """Count the cases of a generation anew; nobody may write to it meanwhile.

    Raises StoreUnavailable.
    """
    counted, total = await new.figures(None, None), await new.size()
    again: Figures = {}
    cases = 0
    async for state in new.states():
        recount.add(again, state)
        cases += 1
        if cases % _TOLD_EVERY_CASES == 0:
            on_cases(cases, max(cases, total))
    on_cases(cases, cases)
    return Recounted(cases, tuple(recount.differences(counted, again)))


async def compared(
    old: Projection, new: Projection, filling: Filling, on_number: Callable[[int, int], None]
) -> Compared:
    """Compare a generation that is not ahead of the live one with it, number by number, each at a
    moment when both have read as far.

    Raises what `Filling.fill` raises.
    """
    numbers = 0
    found: list[Difference] = []
    for number in range(CASE_PARTITIONS):
        on_number(number, CASE_PARTITIONS)
        moment = await _moment(old, number)
        if moment is None:
            continue
        progress, figures = moment
        await filling.follow({(topic, number): progress.offset(topic) for topic in CASE_TOPICS})
        own = (await new.progress([number]))[number]
        if all(own.offset(topic) == progress.offset(topic) for topic in CASE_TOPICS):
            numbers += 1
            found += recount.differences(figures, await new.counted(number))
    on_number(CASE_PARTITIONS, CASE_PARTITIONS)
    return Compared(numbers, _added(found))


async def _moment(old: Projection, number: int) -> tuple[Progress, Figures] | None:
    """Return figures and how far they go; None if batches come too fast for that."""
    for _ in range(_TRIES):
        before = (await old.progress([number]))[number]
        figures = await old.counted(number)
        if (await old.progress([number]))[number].version == before.version:
            return before, figures
    return None


def _added(found: list[Difference]) -> tuple[Difference, ...]:
    """Add up what differs in one bucket and counter over partition numbers. What is too much in
    one and too little in another is not lost by that: both counts are shown as they stand."""
    sums: dict[tuple[str, str], Difference] = {}
    for one in found:
        key = (one.bucket.key, one.counter)
        before = sums.get(key)
        counted = one.counted + (before.counted if before else 0)
        recounted = one.recounted + (before.recounted if before else 0)
        sums[key] = Difference(one.bucket, one.counter, counted, recounted)
    return tuple(sums[key] for key in sorted(sums))
