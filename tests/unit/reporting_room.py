"""Histories of many cases and a store without I/O, for the tests of reporting."""

import random
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime

from contracts import ids
from contracts.envelope import Event
from contracts.lifecycle import CaseState, state_of
from contracts.topics import CASE_PARTITIONS, HANDLING, REQUESTS, TRIAGE
from services.chassis.bus import Record
from services.chassis.store import Stale
from services.reporting.domain.buckets import Figures, Page, added
from services.reporting.domain.known_case import KnownCase
from services.reporting.domain.progress import Progress
from services.reporting.handlers import Applied
from tests.contract.acts import submit
from tests.contract.histories import START, History
from tests.contract.stories import act_once, close, rest

TOPIC_OF = {"intake": REQUESTS, "triage": TRIAGE, "notify": HANDLING}


def history(seed: int, *, steps: int = 25, closes: bool = True, start: datetime = START) -> History:
    """The history of a case that begins at `start`: what happens follows from the seed alone."""
    chance = random.Random(seed)
    number = ids.case_number(b"reporting tests", "app", f"{seed} {start.isoformat()}")
    made = History(number, now=start)
    submit(made, None, chance.choice)
    for _ in range(steps):
        act_once(made, chance.choice)
    rest(made, chance.choice)
    if closes and not made.is_erased:
        close(made, chance.choice)
    return made


def state(of: History) -> CaseState:
    """The state of a history's case."""
    return state_of(of.case_no, of.events)


@dataclass
class Log:
    """The case topics in memory."""

    ends: dict[tuple[str, int], int] = field(default_factory=dict)

    def append(self, event: Event) -> Record:
        """The record that an event becomes."""
        return self.record(
            TOPIC_OF[event.data.owner],
            event.partition,
            event.key,
            event.encoded,
            event.headers(),
        )

    def record(
        self, topic: str, partition: int, key: bytes, value: bytes | None, headers: dict[str, str]
    ) -> Record:
        """A record of any content."""
        offset = self.ends.get((topic, partition), 0)
        self.ends[topic, partition] = offset + 1
        return Record(topic, partition, offset, key, value, headers, 0)


class MemoryProjection:
    """Stands for `store.Projection`: compares and sets progress, and writes all or nothing."""

    def __init__(self) -> None:
        self.cases: dict[str, KnownCase] = {}
        self.kept: dict[tuple[int, str], Page] = {}
        self.moved = {number: Progress(number, 0, {}) for number in range(CASE_PARTITIONS)}
        self.fails: list[BaseException] = []
        self.writes = 0
        self.reads = 0

    async def progress(self, partitions: Iterable[int] | None = None) -> dict[int, Progress]:
        wanted = range(CASE_PARTITIONS) if partitions is None else partitions
        return {number: self.moved[number] for number in wanted}

    async def known(self, case_nos: Iterable[str]) -> dict[str, KnownCase]:
        found = {n: deepcopy(self.cases[n]) for n in case_nos if n in self.cases}
        self.reads += len(found)
        return found

    async def pages(self, keys: Iterable[tuple[int, str]]) -> list[Page]:
        return [self.kept[key] for key in keys if key in self.kept]

    async def write(self, applied: Applied) -> None:
        if self.fails:
            raise self.fails.pop(0)
        for before, _ in applied.moves:
            if self.moved[before.partition].version != before.version:
                raise Stale("moved on")
        self.writes += 1
        for _, after in applied.moves:
            self.moved[after.partition] = after
        for write in applied.cases:
            kept = deepcopy(write.known)
            kept.settle(dict(write.facts), deepcopy(write.counted))
            self.cases[kept.case_no] = kept
        for page in applied.pages:
            self.kept[page.partition, page.hour] = page

    def counted(self) -> Figures:
        """The figures of all pages."""
        return added(page.cells for page in self.kept.values())


class PutAsideList:
    """Stands for `DeadLetters`."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, str]] = []

    async def put(self, record: Record, reason: str, error: BaseException | None = None) -> None:
        self.letters.append((record.origin, reason))


def batches(records: Sequence[Record], chance: random.Random) -> list[list[Record]]:
    """Cut records into batches of uneven size."""
    found: list[list[Record]] = []
    rest_of = list(records)
    while rest_of:
        size = chance.choice((1, 2, 7, 40))
        found.append(rest_of[:size])
        rest_of = rest_of[size:]
    return found
