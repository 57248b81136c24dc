"""The check of a run: clients' journals, receivers' journals and the log against each other.

Nothing of the services is used, only `contracts/`: the log is read with a plain consumer, one
partition of cases at a time, and every case is folded anew.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from contracts import handling, triage
from contracts.envelope import TICK_KEY, ContractError, Event, parse
from contracts.feeds import FeedHandoff
from contracts.lifecycle import CaseState, Phase, state_of
from contracts.topics import CASE_PARTITIONS, CASE_TOPICS
from contracts.vocabulary import Firing
from tests.chaos import effects, journal, recount
from tests.chaos.poison import is_poison
from tests.chaos.reading import partitions, read

_CLOCKS_DIFFER = timedelta(seconds=2)


@dataclass(slots=True)
class Found:
    """What the check found. Lists hold case numbers and ids, never a person."""

    asked: int = 0
    accepted: int = 0
    unanswered: int = 0
    """Requests that no client knows the end of."""
    completed: int = 0
    waiting: Counter[str] = field(default_factory=Counter)
    """Not completed, and a person sees it: by queue of the desk, or `department`."""
    on_log_alone: int = 0
    """Cases on the log whose client never got an answer."""
    events: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    early: list[str] = field(default_factory=list)
    """Deadlines that fired before their time."""
    poison_written: int = 0
    poison_put_aside: int = 0
    wrongly_put_aside: list[str] = field(default_factory=list)
    """Good records among the dead letters."""
    figures: list[str] = field(default_factory=list)
    """Where the shown figures are not what was counted."""
    totals: Counter[str] = field(default_factory=Counter)

    @property
    def is_good(self) -> bool:
        """Whether nothing is lost, double, early, put aside wrongly or miscounted."""
        return not (
            self.lost
            or self.doubled
            or self.early
            or self.wrongly_put_aside
            or self.figures
            or self.unanswered
            or self.accepted == 0
            or self.accepted != self.completed + sum(self.waiting.values())
        )


class Check:
    """Checks one run. `folder` holds the journals."""

    def __init__(self, kafka_url: str, folder: Path) -> None:
        self._kafka_url = kafka_url
        self._folder = folder
        self.found = Found()
        self.poison: set[str] = set()
        """Where poison stands: topic, partition and offset in one word."""
        self._accepted: dict[str, str] = {}

    async def run(self, shown: dict[str, int]) -> Found:
        """Check; `shown` are reporting's totals. Raises Unread."""
        self.read_clients()
        everywhere = await partitions(self._kafka_url)
        for number in range(CASE_PARTITIONS):
            await self._cases(number)
        for case_no in self._accepted:
            self.found.lost.append(f"{case_no}: accepted, and not on the log")
        await self._beside([one for one in everywhere if one.topic not in CASE_TOPICS])
        self.found.doubled += effects.at_departments(self._folder)
        self.found.doubled += effects.at_citizens(self._folder)
        self.found.figures += recount.differences(shown, self.found.totals)
        return self.found

    def read_clients(self) -> None:
        """Read what clients know: every key got one case, every case has one key."""
        by_key: dict[str, set[str]] = defaultdict(set)
        asked = {one["key"] for one in journal.read(self._folder, journal.ASKED)}
        for one in journal.read(self._folder, journal.ACCEPTED):
            by_key[one["key"]].add(one["case_no"])
            known = self._accepted.setdefault(one["case_no"], one["key"])
            if known != one["key"]:
                self.found.doubled.append(f"case {one['case_no']} for two keys")
        for key, numbers in by_key.items():
            if len(numbers) > 1:
                self.found.doubled.append(f"key {key} has {len(numbers)} cases")
        self.found.asked = len(asked)
        self.found.unanswered = len(asked - by_key.keys())
        self.found.accepted = len(self._accepted)

    async def _cases(self, number: int) -> None:
        """Read and fold the cases of one partition."""
        events: dict[str, list[Event]] = defaultdict(list)
        parts = [p for p in await partitions(self._kafka_url) if p.topic in CASE_TOPICS]
        async for records in read(self._kafka_url, [p for p in parts if p.partition == number]):
            for record in records:
                event = self._event(record)
                if event is not None:
                    events[event.data.case_no].append(event)
        for case_no, own in events.items():
            state = state_of(case_no, own)
            self.found.events += len(state.timeline)
            recount.count(self.found.totals, state)
            self._judge(state)

    def _event(self, record: Any) -> Event | None:
        origin = f"{record.topic}-{record.partition}-{record.offset}"
        if record.key == TICK_KEY:
            return None
        if is_poison(record.headers):
            self.poison.add(origin)
            self.found.poison_written += 1
            return None
        headers = {
            name: (value or b"").decode("utf-8", "replace") for name, value in record.headers
        }
        try:
            event = parse(headers, record.value)
        except ContractError as error:
            self.found.lost.append(f"{origin} is unreadable at {error.field}")
            return None
        if event.partition != record.partition:
            self.found.lost.append(f"{origin} is in another case's partition")
        return event

    def _judge(self, state: CaseState) -> None:
        """Where a case stands; a fault of it is a loss or a double."""
        found, case_no = self.found, state.case_no
        is_known = self._accepted.pop(case_no, None) is not None
        found.on_log_alone += not is_known
        found.lost += (f"{case_no}: {what}" for what in state.incomplete)
        found.doubled += (f"{case_no}: {what}" for what in effects.on_log(state))
        found.early += (f"{case_no}: {what}" for what in _fired_early(state))
        standing = _standing(state)
        if standing is None:
            found.lost.append(f"{case_no}: stands at {state.status}, and nobody is asked")
        elif standing == "completed":
            found.completed += is_known
        elif is_known:
            found.waiting[standing] += 1

    async def _beside(self, others: list[Any]) -> None:
        """Feeds: no order under two ids. Dead letters: poison and nothing else."""
        entries: list[tuple[tuple[object, ...], str]] = []
        letters: set[str] = set()
        async for records in read(self._kafka_url, others):
            for record in records:
                if is_poison(record.headers):
                    self.poison.add(f"{record.topic}-{record.partition}-{record.offset}")
                    self.found.poison_written += 1
                elif record.topic.startswith("feed."):
                    entries += self._entry(record)
                elif record.topic.startswith("dead-letters."):
                    letters.add(_origin(record))
        self.found.doubled += effects.in_feeds(entries)
        self.found.poison_put_aside = len(letters & self.poison)
        self.found.wrongly_put_aside += sorted(letters - self.poison)

    def _entry(self, record: Any) -> list[tuple[tuple[object, ...], str]]:
        if record.value is None:
            return []
        try:
            shown = FeedHandoff.model_validate_json(record.value)
        except ValidationError:
            self.found.lost.append(f"{record.topic} has an unreadable hand-off")
            return []
        order = (shown.case_no, shown.round, shown.role, shown.department, shown.attempt)
        return [(order, shown.handoff_id)]


def _standing(state: CaseState) -> str | None:
    """`completed`, or the queue in which a person sees it; None if it waits for nobody."""
    case = state.case
    if case is None or case.seq == 0:
        return None
    if case.tasks:
        return str(min(case.tasks.values(), key=lambda task: task.since).kind)
    if case.phase in (Phase.FINISHED, Phase.CLOSED):
        return "completed"
    lead = state.handoffs.get(case.lead or "")
    if case.phase is Phase.ORDERED and lead is not None and lead.state.is_open:
        return "department"
    return None


def _fired_early(state: CaseState) -> list[str]:
    """Deadlines are missed when they are over, by any clock that counts."""
    fired = (triage.CaseDeadlineFired, handling.HandoffDeadlineFired)
    return [
        f"{event.data.name} of {event.data.due_at:%H:%M:%S} fired {event.data.recorded_at:%H:%M:%S}"
        for event in state.timeline
        if isinstance(event.data, fired)
        and event.data.firing == Firing.MISSED
        and event.data.recorded_at + _CLOCKS_DIFFER < event.data.due_at
    ]


def _origin(record: Any) -> str:
    """The origin that a dead letter names; a letter taken off names it by its key."""
    if record.value is None:
        return bytes(record.key or b"").decode("utf-8", "replace")
    origin = orjson.loads(record.value)["origin"]
    return f"{origin['topic']}-{origin['partition']}-{origin['offset']}"
