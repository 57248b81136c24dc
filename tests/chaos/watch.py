"""A plain consumer that watches the case topics: when each owner last wrote, which cases ended."""

import asyncio
import time
from bisect import bisect_right
from collections import defaultdict

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from contracts.envelope import TICK_KEY
from contracts.topics import CASE_PARTITIONS, CASE_TOPICS, HANDLING, REQUESTS, TRIAGE
from tests.chaos.poison import is_poison
from tests.chaos.reading import stopped

TOPIC_OF = {"intake": REQUESTS, "triage": TRIAGE, "notify": HANDLING}
_ENDED = (b"jieyou.case.finished", b"jieyou.case.closed")
_BEGUN_AGAIN = b"jieyou.case.reopened"
_LOOK_EVERY_S = 0.05


class Watch:
    """What was written, by the records' own times. Run `run` in the background."""

    def __init__(self, kafka_url: str) -> None:
        self._kafka_url = kafka_url
        self._written: dict[str, list[int]] = defaultdict(list)
        self.ended: set[str] = set()
        self.last_s = time.monotonic()
        """When something was read last, by this process's clock."""

    async def run(self) -> None:
        """Watch until cancelled."""
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._kafka_url.split(","),
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            metadata_max_age_ms=5_000,
        )
        await consumer.start()
        consumer.assign(
            [TopicPartition(name, n) for name in CASE_TOPICS for n in range(CASE_PARTITIONS)]
        )
        try:
            while True:
                try:
                    batches = await consumer.getmany(timeout_ms=100, max_records=2_000)
                except KafkaError:
                    await asyncio.sleep(_LOOK_EVERY_S)
                    continue
                for partition, records in batches.items():
                    self._take(partition.topic, records)
        finally:
            await stopped(consumer)

    def _take(self, topic: str, records: list[object]) -> None:
        for record in records:
            key, headers = getattr(record, "key", None), getattr(record, "headers", ())
            if key == TICK_KEY or is_poison(headers):
                continue
            self.last_s = time.monotonic()
            self._written[topic].append(getattr(record, "timestamp", 0))
            named = dict(headers)
            case_no = (named.get("ce_subject") or b"").decode("ascii", "replace")
            if named.get("ce_type") in _ENDED:
                self.ended.add(case_no)
            elif named.get("ce_type") == _BEGUN_AGAIN:
                self.ended.discard(case_no)

    def count(self, topic: str) -> int:
        """How many events an owner has written."""
        return len(self._written[topic])

    async def until_written(self, topic: str, after: float, within_s: float) -> float | None:
        """The wall-clock time of the first record written after that moment; None if none came."""
        limit_ms = int(after * 1_000)
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s:
            written = self._written[topic]
            if written and max(written[-200:]) > limit_ms:
                later = [one for one in written[_near(written, limit_ms) :] if one > limit_ms]
                return min(later) / 1_000
            await asyncio.sleep(_LOOK_EVERY_S)
        return None


def _near(written: list[int], limit_ms: int) -> int:
    """Where to begin to look: the list is in order but for what partitions mixed up."""
    return max(0, bisect_right(written, limit_ms) - 5_000)
