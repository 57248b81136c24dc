"""Where one case stands, and where the person still stands in it; looked at again and again.

The log is read once and then only what is new; the newest record of each key counts, since
compaction leaves no other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from contracts.envelope import ContractError, Event, parse
from contracts.handling import HandoffEvent
from contracts.lifecycle import CaseState, state_of
from contracts.topics import (
    CASE_TOPICS,
    FEED_PARTITIONS,
    HANDLING,
    REQUESTS,
    SERVICES,
    TRIAGE,
    dead_letters,
    partition_for,
)
from contracts.triage import CaseErased
from deploy.audit.log import Log
from deploy.erasure.copies import WITH_PASSES, Copies, Stored
from deploy.erasure.personal import record_holds_person, shown_in_feed
from services.chassis.bus import Record
from services.chassis.letters_of import names_in

_OWNERS = {REQUESTS: "intake", TRIAGE: "triage", HANDLING: "notify"}


@dataclass(frozen=True, slots=True, order=True)
class Spot:
    """One thing that stands of the case: a key of a topic or a document of a collection."""

    service: str
    where: str
    name: str


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found. `spots`: whether each holds the person; `gone`: where the person stood at
    an earlier look, and nothing stands now; `replies`: how many records of departments name a
    hand-off of the case, by topic, with the newest one's time (ms)."""

    case_no: str
    state: CaseState
    spots: Mapping[Spot, bool]
    passes: Mapping[str, int | None]
    replies: Mapping[str, tuple[int, int]]
    gone: frozenset[Spot] = frozenset()

    @property
    def is_known(self) -> bool:
        """Whether the log has the case."""
        return bool(self.state.timeline)

    @property
    def erased(self) -> Event | None:
        """The event that decided the erasure."""
        return next((e for e in self.state.timeline if isinstance(e.data, CaseErased)), None)

    @property
    def left(self) -> list[Spot]:
        """Where the person still stands."""
        return sorted(spot for spot, holds_person in self.spots.items() if holds_person)

    @property
    def not_through(self) -> list[str]:
        """The services that have not gone through what they keep of the case."""
        return [service for service in WITH_PASSES if not self.passes.get(service)]

    @property
    def is_done(self) -> bool:
        """Whether the erasure is decided, every owner has done its part and nothing is left."""
        return self.erased is not None and not self.left and not self.not_through


@dataclass(slots=True)
class Watch:
    """Looks at one case."""

    log: Log
    copies: Copies
    case_no: str
    _ever: set[Spot] = field(default_factory=set)
    _ends: dict[TopicPartition, int] = field(default_factory=dict)
    _events: dict[tuple[str, bytes], Record] = field(default_factory=dict)
    _feeds: dict[Spot, bool] = field(default_factory=dict)
    _letters: dict[Spot, frozenset[str]] = field(default_factory=dict)
    _replies: list[tuple[str, int, frozenset[str]]] = field(default_factory=list)

    async def look(self) -> Look:
        """Look once more. Raises PlatformError."""
        topics: list[tuple[list[str], Callable[[Record], None], int | None]] = [
            (list(CASE_TOPICS), self._take_event, partition_for(self.case_no)),
            (
                self.log.topics("feed."),
                self._take_feed,
                partition_for(self.case_no, FEED_PARTITIONS),
            ),
            ([dead_letters(service) for service in SERVICES], self._take_letter, None),
            (self.log.topics("replies."), self._take_reply, None),
        ]
        stored = await self.copies.of(self.case_no)  # what it published stands on the log by now
        for names, take, partition in topics:
            await self._read(names, take, partition)
        return self._found(stored)

    async def _read(
        self, topics: list[str], take: Callable[[Record], None], partition: int | None
    ) -> None:
        ends = {
            place: end
            for place, end in (await self.log.ends(topics)).items()
            if partition is None or place.partition == partition
        }
        async for records in self.log.read(ends, self._ends):
            for record in records:
                if record.key is not None:
                    take(record)
        self._ends.update(ends)

    def _take_event(self, record: Record) -> None:
        key = record.key or b""
        is_of_case = record.headers.get("ce_subject") == self.case_no
        if is_of_case or (record.topic, key) in self._events:
            self._events[record.topic, key] = record

    def _take_feed(self, record: Record) -> None:
        spot = Spot("notify", record.topic, (record.key or b"").decode("utf-8", "replace"))
        self._feeds.pop(spot, None)
        shown = shown_in_feed(record)
        if shown is not None and shown.case_no == self.case_no:
            self._feeds[spot] = not shown.erased

    def _take_letter(self, record: Record) -> None:
        service = record.topic.removeprefix("dead-letters.").removesuffix(".v1")
        spot = Spot(service, record.topic, (record.key or b"").decode("utf-8", "replace"))
        self._letters.pop(spot, None)
        if record.value is not None:
            self._letters[spot] = names_in(record.value)

    def _take_reply(self, record: Record) -> None:
        if record.value is not None:
            key = (record.key or b"").decode("utf-8", "replace")
            self._replies.append(
                (record.topic, record.timestamp_ms, names_in(record.value) | {key})
            )

    def _found(self, stored: Stored) -> Look:
        events: list[Event] = []
        spots: dict[Spot, bool] = {}
        for (topic, key), record in self._events.items():
            spot = Spot(_OWNERS[topic], topic, key.decode("utf-8", "replace"))
            spots[spot] = record_holds_person(record)
            try:
                events.append(parse(record.headers, record.value))
            except ContractError:
                continue
        handoffs = {e.data.document_id for e in events if isinstance(e.data, HandoffEvent)}
        names = {self.case_no, *handoffs}
        spots.update(self._feeds)
        spots.update((spot, True) for spot, named in self._letters.items() if named & names)
        for row in stored.rows:
            spots[Spot(row.service, row.collection, row.id)] = row.holds_person
        self._ever |= {spot for spot, holds_person in spots.items() if holds_person}
        replies: dict[str, tuple[int, int]] = {}
        for topic, at_ms, named in self._replies:
            if named & names:
                count, newest_ms = replies.get(topic, (0, 0))
                replies[topic] = count + 1, max(newest_ms, at_ms)
        state = state_of(self.case_no, events)
        gone = frozenset(self._ever - spots.keys())
        return Look(self.case_no, state, spots, stored.passes, replies, gone)
