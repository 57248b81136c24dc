"""The names of all topics, once, with their partitions, cleanup and retention."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache

from aiokafka.partitioner import murmur2

REQUESTS = "requests.v1"
TRIAGE = "triage.v1"
HANDLING = "handling.v1"
POLICIES = "policies.v1"
CASE_TOPICS = (REQUESTS, TRIAGE, HANDLING)

CASE_PARTITIONS = 12
FEED_PARTITIONS = 3
SERVICES = ("intake", "triage", "notify", "reporting")

_HOUR_MS = 3_600_000
_DAY_MS = 24 * _HOUR_MS
MAX_COMPACTION_LAG_MS = 24 * _HOUR_MS
"""The longest that bytes of an erased person stay in the log after the redaction."""


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as it is to be created: `config` holds Kafka's own topic settings."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


def feed(department: str) -> str:
    """Return the topic from which a department reads its hand-offs."""
    return f"feed.{department}.v1"


def replies(department: str) -> str:
    """Return the topic to which a department alone writes what it did."""
    return f"replies.{department}.v1"


def department_of(replies_topic: str) -> str:
    """Return the department whose replies topic this is; it, not the record, says who wrote.

    Raises ValueError for another topic.
    """
    prefix, _, rest = replies_topic.partition(".")
    department, _, version = rest.rpartition(".")
    if prefix != "replies" or version != "v1" or not department:
        raise ValueError(f"{replies_topic!r} is no replies topic")
    return department


def dead_letters(service: str) -> str:
    """Return the topic that holds what a service could not handle."""
    return f"dead-letters.{service}.v1"


@lru_cache(maxsize=65_536)
def partition_for(case_no: str, partitions: int = CASE_PARTITIONS) -> int:
    """Return a case's partition: aiokafka's and Java's default hash of the case number.

    The record key is the event id, so the partition is always given explicitly.
    """
    return (int(murmur2(case_no.encode())) & 0x7FFFFFFF) % partitions


def all_topics(departments: Iterable[str]) -> list[TopicSpec]:
    """Return every topic that a platform with these departments needs."""
    compacted = {
        "cleanup.policy": "compact",
        "max.compaction.lag.ms": str(MAX_COMPACTION_LAG_MS),
        "min.compaction.lag.ms": "0",
        "segment.ms": str(6 * _HOUR_MS),
    }
    fading = {**compacted, "cleanup.policy": "compact,delete"}
    topics = [TopicSpec(name, CASE_PARTITIONS, dict(compacted)) for name in CASE_TOPICS]
    topics.append(TopicSpec(POLICIES, 1, dict(compacted)))
    for department in departments:
        topics.append(
            TopicSpec(
                feed(department), FEED_PARTITIONS, {**fading, "retention.ms": str(30 * _DAY_MS)}
            )
        )
        topics.append(
            TopicSpec(
                replies(department),
                FEED_PARTITIONS,
                {"cleanup.policy": "delete", "retention.ms": str(14 * _DAY_MS)},
            )
        )
    topics.extend(
        TopicSpec(dead_letters(service), 1, {**fading, "retention.ms": str(14 * _DAY_MS)})
        for service in SERVICES
    )
    return topics
