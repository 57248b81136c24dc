"""A generation filled from the log, by the very code that applies the log in service."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Protocol

from aiokafka import TopicPartition

from contracts.topics import CASE_PARTITIONS, CASE_TOPICS
from deploy.recovery.merged import Spans, read_merged
from services.chassis.batches import PutAside
from services.chassis.bus import Record
from services.reporting.domain.progress import Ends, Progress, Reached
from services.reporting.handlers import Applied, Applier
from services.reporting.store import Projection

_AT_ONCE = 2_000
_CACHED_CASES = 3_000
_NUMBERS_AT_ONCE = 2
"""Partition numbers that are filled side by side: one waits for the store while the other reads."""


class LetterRun(PutAside, Protocol):
    """Where a filler puts records aside, told where batches begin and end (`DeadLetters`)."""

    def begin(self, records: Sequence[Record]) -> None:
        """An attempt at these records begins."""

    def end(self) -> None:
        """It succeeded."""


class Filling:
    """Fills one generation. Each call goes on from what is stored, so any may be repeated."""

    def __init__(
        self,
        kafka_url: str,
        projection: Projection,
        letters: Callable[[], LetterRun],
        on_read: Callable[[int, int], None],
    ) -> None:
        """`letters` makes what one reader puts records aside with; `on_read` is told of offsets
        passed and records read."""
        self._kafka_url = kafka_url
        self._projection = projection
        self._letters = letters
        self._on_read = on_read

    async def fill(self, ends: Ends) -> None:
        """Read up to these ends, partition number by partition number: few cases in memory.

        Raises LogUnreadable, StoreUnavailable and BusUnavailable (call it again), and
        TooManyDeadLetters.
        """
        numbers = iter(range(CASE_PARTITIONS))

        async def work() -> None:
            for number in numbers:
                await self.follow(ends, [number])

        working = [asyncio.create_task(work()) for _ in range(_NUMBERS_AT_ONCE)]
        try:
            await asyncio.gather(*working)
        finally:
            for one in working:
                one.cancel()
            await asyncio.gather(*working, return_exceptions=True)

    async def follow(self, ends: Ends, numbers: Iterable[int] = range(CASE_PARTITIONS)) -> None:
        """Read some partition numbers together up to these ends; what little is new."""
        before = await self._projection.progress(numbers)
        spans = _spans(before, ends)
        if not spans:
            return
        letters = self._letters()
        applier = Applier(self._projection, letters, _CACHED_CASES)
        at = {partition: start for partition, (start, _) in spans.items()}
        async with aclosing(read_merged(self._kafka_url, spans, _AT_ONCE)) as reading:
            async for records in reading:
                letters.begin(records)
                await applier.apply(records)
                letters.end()
                self._on_read(_moved(at, records), len(records))
        await self._reach(spans)
        self._on_read(sum(end - at[one] for one, (_, end) in spans.items()), 0)

    async def _reach(self, spans: Spans) -> None:
        """Note that the ends are reached, where the last records before them are compacted away."""
        numbers = {partition.partition for partition in spans}
        moves = []
        for number, progress in (await self._projection.progress(numbers)).items():
            short = {
                partition.topic: Reached(end)
                for partition, (_, end) in spans.items()
                if partition.partition == number and progress.offset(partition.topic) < end
            }
            if short:
                moves.append((progress, progress.moved(short)))
        if moves:
            await self._projection.write(Applied(moves, [], []))


def left(progress: Mapping[int, Progress], ends: Ends) -> int:
    """Return how many offsets lie between what is applied and these ends."""
    return sum(end - start for start, end in _spans(progress, ends).values())


def _spans(progress: Mapping[int, Progress], ends: Ends) -> dict[TopicPartition, tuple[int, int]]:
    return {
        TopicPartition(topic, number): (one.offset(topic), end)
        for number, one in progress.items()
        for topic in CASE_TOPICS
        if (end := ends.get((topic, number), 0)) > one.offset(topic)
    }


def _moved(at: dict[TopicPartition, int], records: Sequence[Record]) -> int:
    """Move on behind these records; return by how many offsets."""
    before = sum(at.values())
    for record in records:
        at[TopicPartition(record.topic, record.partition)] = record.offset + 1
    return sum(at.values()) - before
