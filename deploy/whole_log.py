"""A Kafka whose topics are read as they are: in no group, with no commits, up to noted ends."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, ClassVar, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from deploy.local.errors import PlatformError

TIMEOUT_MS = 20_000
STILL_SECONDS = 30.0
"""A partition that gives nothing for so long, short of its end, is not readable."""

_POLL_MS = 500
_FETCH_BYTES = 4 * 1024 * 1024


class WholeLog:
    """Use it as an asynchronous context. What fails is raised as `failure`, in one line.

    `partitions` says how many each topic has.
    """

    failure: ClassVar[type[PlatformError]]

    def __init__(self, kafka_url: str) -> None:
        self.url = kafka_url
        self.partitions: dict[str, int] = {}
        servers = kafka_url.split(",")
        self._admin = AIOKafkaAdminClient(bootstrap_servers=servers, request_timeout_ms=TIMEOUT_MS)
        self._consumer = AIOKafkaConsumer(
            bootstrap_servers=servers,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=TIMEOUT_MS,
            max_partition_fetch_bytes=_FETCH_BYTES,
        )

    async def __aenter__(self) -> Self:
        """Connect, and see which topics there are."""
        try:
            async with asyncio.timeout(TIMEOUT_MS / 1_000):
                await self._admin.start()
                await self._consumer.start()
                described = await self._admin.describe_topics()
        except (KafkaError, TimeoutError, OSError) as error:
            await self._close()
            raise self.failure(
                f"Kafka at {self.url} does not answer ({type(error).__name__})"
            ) from error
        self.partitions = {
            one["topic"]: len(one["partitions"]) for one in described if one["error_code"] == 0
        }
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        await self._consumer.stop()
        await self._admin.close()

    async def _read_assigned(
        self, ends: Mapping[TopicPartition, int], most_records: int
    ) -> AsyncIterator[Mapping[TopicPartition, list[Any]]]:
        """Yield what the assigned partitions, all of `ends`, give before their ends, as aiokafka
        gives it; a partition that is at its end is not fetched any more."""
        left, still_since = set(ends), time.monotonic()
        while left:
            batches = await self._consumer.getmany(
                *left, timeout_ms=_POLL_MS, max_records=most_records
            )
            if batches:
                still_since = time.monotonic()
            before = {
                place: [one for one in records if one.offset < ends[place]]
                for place, records in batches.items()
            }
            if found := {place: records for place, records in before.items() if records}:
                yield found
            for place in list(left):
                if await self._consumer.position(place) >= ends[place]:
                    left.discard(place)
                    self._consumer.pause(place)
            if time.monotonic() - still_since > STILL_SECONDS:
                stuck = min(f"{place.topic}-{place.partition}" for place in left)
                raise self.failure(f"{stuck} gives nothing before its end")
