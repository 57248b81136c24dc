"""How far the case topics are applied, by partition number, and as of when that makes the figures.

A case's records lie in the partition of one number in all three topics, so the three share one
progress, whose version grows with each batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from contracts.topics import CASE_TOPICS

MEANING = (
    "各分区均已读完时，为查询日志末尾的时刻；否则取仍有未读记录的分区中，"
    "已计入记录的最新记录时间（recorded_at）里最早的一个，有这样的分区一条都还没有计入时为空；"
    "日志暂时无法查询时 is_current 为空，取已有计入的各分区中最早的一个"
)
Ends = Mapping[tuple[str, int], int]
"""Where the log ends, by topic and partition."""


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a topic's partition is applied: the next offset, and the newest time applied."""

    next_offset: int = 0
    recorded_at: datetime | None = None

    def moved(self, next_offset: int, recorded_at: datetime | None) -> "Reached":
        """Return this further on; neither offset nor time goes back."""
        times = [at for at in (self.recorded_at, recorded_at) if at is not None]
        return Reached(max(self.next_offset, next_offset), max(times, default=None))


_NOWHERE = Reached()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the partitions of one number are applied, by topic.

    `is_closed`: nothing more may be applied, since another generation is about to take over.
    """

    partition: int
    version: int
    reached: Mapping[str, Reached]
    is_closed: bool = False

    def offset(self, topic: str) -> int:
        """Return the first offset that is not applied yet."""
        return self.of(topic).next_offset

    def of(self, topic: str) -> Reached:
        """Return how far a topic is applied."""
        return self.reached.get(topic, _NOWHERE)

    def moved(self, reached: Mapping[str, Reached]) -> "Progress":
        """Return the progress after a batch."""
        moved = {
            topic: self.of(topic).moved(now.next_offset, now.recorded_at)
            for topic, now in reached.items()
        }
        return replace(self, version=self.version + 1, reached={**self.reached, **moved})


def places_of(progress: Mapping[int, Progress]) -> dict[tuple[str, int], Reached]:
    """Return how far each topic and partition is applied."""
    return {
        (topic, number): one.of(topic)
        for number, one in sorted(progress.items())
        for topic in CASE_TOPICS
    }


def is_behind(progress: Mapping[int, Progress], ends: Ends) -> bool:
    """Whether the log ends before what was applied of it: then it is another log than ours."""
    return any(at.next_offset > ends.get(place, 0) for place, at in places_of(progress).items())


def as_of(progress: Mapping[int, Progress], ends: Ends | None, now: datetime) -> dict[str, Any]:
    """Return how current things are (`MEANING`); `ends` as asked at `now`, None if unknown."""
    places = places_of(progress)
    if ends is None:
        unread = [reached for reached in places.values() if reached.next_offset > 0]
    else:
        unread = [r for place, r in places.items() if r.next_offset < ends.get(place, 0)]
    return {
        "at": now if ends is not None and not unread else _oldest(unread),
        "is_current": None if ends is None else not unread,
        "meaning": MEANING,
        "partitions": [
            {
                "topic": topic,
                "partition": partition,
                "next_offset": reached.next_offset,
                "end_offset": ends.get((topic, partition)) if ends is not None else None,
                "recorded_at": reached.recorded_at,
            }
            for (topic, partition), reached in places.items()
        ],
    }


def _oldest(unread: list[Reached]) -> datetime | None:
    times = [reached.recorded_at for reached in unread if reached.recorded_at is not None]
    return min(times) if times and len(times) == len(unread) else None
