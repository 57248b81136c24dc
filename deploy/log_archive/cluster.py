"""A Kafka whose log is exported or imported: topics, groups, and reading it as it is."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from deploy.log_archive.errors import ArchiveError
from deploy.log_archive.lines import Line
from deploy.whole_log import TIMEOUT_MS, WholeLog

_AGAIN_SECONDS = 0.3
_MOST_RECORDS = 5_000
_SET_ON_TOPIC = 1
"""Kafka's code for a setting of the topic itself, not a default."""

T = TypeVar("T")
Places = Mapping[TopicPartition, int]


class Cluster(WholeLog):
    """Use it as an asynchronous context. Everything raises ArchiveError in one line."""

    failure = ArchiveError

    def places(self, topics: Iterable[str]) -> list[TopicPartition]:
        """Return all partitions of some topics."""
        return [TopicPartition(name, n) for name in topics for n in range(self.partitions[name])]

    async def configs(self, topics: Collection[str]) -> dict[str, dict[str, str]]:
        """Return what is set on each topic itself."""
        wanted = [ConfigResource(ConfigResourceType.TOPIC, name) for name in topics]
        found: dict[str, dict[str, str]] = {}
        for answer in await _tried("settings", lambda: self._admin.describe_configs(wanted)):
            for one in answer.to_object()["resources"]:
                found[one["resource_name"]] = {
                    entry["config_names"]: entry["config_value"]
                    for entry in one["config_entries"]
                    if entry["config_source"] == _SET_ON_TOPIC
                }
        return found

    async def configure(self, configs: Mapping[str, Mapping[str, str]]) -> None:
        """Set what is set on each topic itself: exactly this."""
        wanted = [
            ConfigResource(ConfigResourceType.TOPIC, name, dict(config))
            for name, config in configs.items()
        ]
        for answer in await _tried("settings", lambda: self._admin.alter_configs(wanted)):
            for one in answer.to_object()["resources"]:
                if one["error_code"]:
                    raise ArchiveError(
                        f"topic {one['resource_name']} cannot be set: {one['error_message']}"
                    )

    async def groups(self) -> list[str]:
        """Return the names of all consumer groups."""
        found = await _tried("groups", self._admin.list_consumer_groups)
        return sorted(one[0] for one in found)

    async def committed(
        self, groups: Iterable[str]
    ) -> dict[str, dict[TopicPartition, OffsetAndMetadata]]:
        """Return how far each of these groups has committed."""
        found: dict[str, dict[TopicPartition, OffsetAndMetadata]] = {}
        for group in groups:

            async def ask(group: str = group) -> Any:
                return await self._admin.list_consumer_group_offsets(group)

            found[group] = await _tried(f"group {group}", ask)
        return found

    async def with_members(self, groups: Iterable[str]) -> list[str]:
        """Return those of these groups that have members now.

        Each is asked for by itself: of several in one answer aiokafka 0.14 can read the first only.
        """
        busy = []
        for group in groups:

            async def ask(group: str = group) -> Any:
                return await self._admin.describe_consumer_groups([group])

            (described,) = await _tried(f"group {group}", ask)
            if any(one["members"] for one in described.to_object()["groups"]):
                busy.append(group)
        return busy

    async def commit(self, group: str, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Commit for a group that nobody is in."""
        if not offsets:
            return
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self.url.split(","), group_id=group, enable_auto_commit=False
        )
        consumer.assign(list(offsets))
        try:
            await _tried("Kafka", consumer.start)
            await _tried(f"offsets of group {group}", lambda: consumer.commit(dict(offsets)))
        finally:
            await consumer.stop()

    async def beginnings(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where partitions begin."""
        return await self._offsets(places, self._consumer.beginning_offsets)

    async def ends(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        """Return where partitions end now, asked of all at once."""
        return await self._offsets(places, self._consumer.end_offsets)

    async def _offsets(
        self,
        places: list[TopicPartition],
        ask: Callable[[list[TopicPartition]], Awaitable[dict[TopicPartition, int]]],
    ) -> dict[TopicPartition, int]:
        if not places:
            return {}
        self._consumer.assign(places)
        self._consumer.pause(*places)  # nothing is to be fetched for an answer
        return await _tried("offsets", lambda: ask(places))

    async def read(
        self, ends: Places, starts: Places | None = None
    ) -> AsyncIterator[Mapping[TopicPartition, list[Line]]]:
        """Yield what stands before the ends, from the beginning or, all of them, from `starts`, in
        the order of each partition."""
        first = starts if starts is not None else await self.beginnings(list(ends))
        wanted = {place: end for place, end in ends.items() if end > first[place]}
        if not wanted:
            return
        self._consumer.assign(list(wanted))
        async with _named("the log"):
            for place in wanted:
                self._consumer.seek(place, first[place])
            async for found in self._read_assigned(wanted, _MOST_RECORDS):
                yield {place: [*map(Line.of, records)] for place, records in found.items()}


async def _tried(what: str, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask until there is an answer: a Kafka that is just starting has no coordinators yet."""
    until = time.monotonic() + TIMEOUT_MS / 1_000
    while True:
        try:
            async with asyncio.timeout(TIMEOUT_MS / 1_000):
                return await ask()
        except KafkaError as error:
            if not error.retriable or time.monotonic() > until:
                raise ArchiveError(f"{what}: Kafka refuses ({type(error).__name__})") from error
            await asyncio.sleep(_AGAIN_SECONDS)
        except (TimeoutError, OSError) as error:
            reason = type(error).__name__
            raise ArchiveError(f"{what}: Kafka does not answer ({reason})") from error


@asynccontextmanager
async def _named(what: str) -> AsyncIterator[None]:
    try:
        yield
    except (KafkaError, OSError) as error:
        raise ArchiveError(f"{what} is not readable ({type(error).__name__})") from error
