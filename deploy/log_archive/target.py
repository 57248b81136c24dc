"""The Kafka that a log is imported into: it must be empty, or hold the beginning of this import."""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from contracts.envelope import TICK_KEY
from contracts.topics import SERVICES, TopicSpec, all_topics
from deploy.log_archive.cluster import Cluster
from deploy.log_archive.errors import ArchiveError
from deploy.log_archive.manifest import MARK_GROUP, Manifest
from deploy.topics import TopicsError, ensure_topics

_DONE = "done"
_BEGUN = "begun"
_HOLD_SERVICES = (
    "stop the services first (local platform: `jieyou down`, then `jieyou up "
    + " ".join(f"--scale {service}=0" for service in SERVICES)
    + "`)"
)
_WEEK_MS = str(7 * 24 * 3_600_000)


@dataclass(frozen=True, slots=True)
class Begun:
    """Where each partition ended when the import began, and where it ends now."""

    bases: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]
    is_resumed: bool


class Target:
    """The topics of a manifest in a Kafka. `fingerprint`: what the import is known by."""

    def __init__(self, cluster: Cluster, manifest: Manifest, fingerprint: str) -> None:
        self._cluster = cluster
        self._manifest = manifest
        self._fingerprint = fingerprint
        self._names = [one.name for one in manifest.topics]

    async def look(self) -> Begun:
        """Return where to begin, or where to go on. Raises ArchiveError for any other Kafka."""
        self._require_topics()
        groups = await self._cluster.groups()
        await self._require_rest(groups)
        places = self._cluster.places(self._names)
        ends = await self._cluster.ends(places)
        committed = await self._cluster.committed(groups)
        mark = committed.pop(MARK_GROUP, {})
        if any(place in mark for place in places):
            return Begun(self._bases(mark, places), ends, is_resumed=True)
        for group, offsets in committed.items():
            if any(place.topic in self._names and at.offset > 0 for place, at in offsets.items()):
                raise ArchiveError(f"group {group} has read there already: begin with a new Kafka")
        await self._require_empty(ends)
        return Begun(ends, ends, is_resumed=False)

    async def mark(self, begun: Begun, *, is_done: bool = False) -> None:
        """Note that the import has begun there, or that it is done."""
        said = f"{self._fingerprint} {_DONE if is_done else _BEGUN}"
        offsets = {place: OffsetAndMetadata(at, said) for place, at in begun.bases.items()}
        await self._cluster.commit(MARK_GROUP, offsets)

    def _require_topics(self) -> None:
        for topic in self._manifest.topics:
            there = self._cluster.partitions.get(topic.name)
            if there is None:
                raise ArchiveError(
                    f"Kafka at {self._cluster.url} has no topic {topic.name}: run `jieyou topics` "
                    f"with the profile of the export ({self._manifest.profile})"
                )
            if there != topic.partitions:
                raise ArchiveError(
                    f"topic {topic.name} has {there} partitions instead of {topic.partitions}: "
                    "begin with a new Kafka and run `jieyou topics`"
                )

    async def _require_rest(self, groups: Iterable[str]) -> None:
        known = {*SERVICES, *(one.group for one in self._manifest.committed)}
        own = [one for one in groups if one in known or one.startswith("reporting-")]
        if own and (busy := await self._cluster.with_members(own)):
            raise ArchiveError(f"group {busy[0]} has members: {_HOLD_SERVICES}")

    async def _require_empty(self, ends: Mapping[TopicPartition, int]) -> None:
        async for batches in self._cluster.read(ends):
            for place, lines in batches.items():
                if any(line.key != TICK_KEY for line in lines):
                    raise ArchiveError(
                        f"topic {place.topic} holds records already: a log is imported into an "
                        "empty Kafka only; begin with a new one"
                    )

    def _bases(
        self, mark: Mapping[TopicPartition, OffsetAndMetadata], places: Iterable[TopicPartition]
    ) -> dict[TopicPartition, int]:
        if any(place not in mark for place in places):
            raise ArchiveError("another import was begun there: begin with a new Kafka")
        said = {mark[place].metadata for place in places}
        if said == {f"{self._fingerprint} {_DONE}"}:
            raise ArchiveError("this export has been imported there already")
        if said != {f"{self._fingerprint} {_BEGUN}"}:
            raise ArchiveError(
                "another import was begun there (or this one with another list of erased cases): "
                "begin with a new Kafka"
            )
        return {place: mark[place].offset for place in places}


@asynccontextmanager
async def unhurried(cluster: Cluster, manifest: Manifest) -> AsyncIterator[None]:
    """Let segments be long meanwhile. The records bring their old times, by which Kafka would begin
    a segment for every six hours of them: up to 1,460 for a partition and year, each an open file
    until compaction has joined them. Afterwards the settings are those of `jieyou topics`, which
    also puts them right if this is killed.
    """
    specs = [spec for spec in _specs(manifest) if "segment.ms" in spec.config]
    await cluster.configure(
        {
            spec.name: {**spec.config, "segment.ms": _WEEK_MS, "max.compaction.lag.ms": _WEEK_MS}
            for spec in specs
        }
    )
    try:
        yield
    finally:
        try:
            await ensure_topics(cluster.url, specs)
        except TopicsError as error:
            raise ArchiveError(f"{error}; then run `jieyou topics`") from error


def _specs(manifest: Manifest) -> list[TopicSpec]:
    """Return the topics of the manifest as `jieyou topics` makes them."""
    names = {one.name for one in manifest.topics}
    departments = [
        name.removeprefix("feed.").removesuffix(".v1") for name in names if name.startswith("feed.")
    ]
    return [spec for spec in all_topics(sorted(departments)) if spec.name in names]
