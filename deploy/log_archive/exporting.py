"""From the log to files.

How far the groups have come is asked first and the ends of the log afterwards, so what a group has
handled stands in the export with what it wrote for it. The ends of what follows from other records
are asked before the ends of those: an event comes with its cause. (Between triage and notify, which
answer each other, that holds as far as all ends are told at one moment. Nothing at all runs past
the export when the services are stopped, as they are for a move.)
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aiokafka import TopicPartition

from contracts.generate import last_release
from contracts.topics import HANDLING, TRIAGE, TopicSpec
from deploy.log_archive.cluster import Cluster, Places
from deploy.log_archive.erasing import erased_of
from deploy.log_archive.errors import ArchiveError
from deploy.log_archive.files import PART_BYTES, PartitionFiles
from deploy.log_archive.lines import Line
from deploy.log_archive.manifest import (
    MARK_GROUP,
    Committed,
    FileEntry,
    Manifest,
    TopicEntry,
    write_manifest,
)

_OURS = re.compile(r"^(requests|triage|handling|policies|(feed|replies|dead-letters)\..+)\.v\d+$")
_FOLLOWING = ("feed.", "dead-letters.")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: what is worked at, and how much is done of all."""

    what: str
    done: int
    total: int


OnProgress = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Extent:
    """What there is to export: by topic, partitions and offsets between beginning and end (the
    records are fewer where compaction was at work), and the groups with their committed offsets.

    `left_out`: topics like ours that the profile does not know, so that a department struck from
    it does not go unnoticed.
    """

    spans: dict[str, tuple[int, int]]
    committed: tuple[Committed, ...]
    left_out: tuple[str, ...]


async def extent_of(kafka_url: str, topics: Sequence[TopicSpec]) -> Extent:
    """Look at what an export would hold; nothing is read or written. Raises ArchiveError."""
    async with Cluster(kafka_url) as cluster:
        names = _names(cluster, topics)
        committed = await _committed(cluster, names)
        places = cluster.places(names)
        first, ends = await cluster.beginnings(places), await cluster.ends(places)
        spans = {
            name: (
                cluster.partitions[name],
                sum(ends[one] - first[one] for one in places if one.topic == name),
            )
            for name in names
        }
        return Extent(spans, committed, _left_out(cluster, names))


async def export_log(
    kafka_url: str,
    folder: Path,
    topics: Sequence[TopicSpec],
    *,
    profile: str,
    on_progress: OnProgress = lambda _: None,
    part_bytes: int = PART_BYTES,
) -> Manifest:
    """Export the topics into a new or empty folder and return its manifest.

    Broken off at any point it leaves a folder without a manifest, which nobody takes for an
    export. Raises ArchiveError.
    """
    async with Cluster(kafka_url) as cluster:
        names = _names(cluster, topics)
        _make_folder(folder)
        try:
            committed = await _committed(cluster, names)
            ends = await _ends(cluster, names)
            run = _Export(cluster, folder, ends, on_progress, part_bytes)
            await run.write()
            configs = await cluster.configs(names)
            manifest = Manifest(
                created_at=datetime.now(UTC),
                contract_version=last_release()[0],
                profile=profile,
                topics=tuple(_entry(name, cluster, configs[name], ends) for name in names),
                files=tuple(run.files),
                committed=committed,
                erased=tuple(sorted(run.erased)),
            )
            await asyncio.to_thread(write_manifest, folder, manifest)
        except OSError as error:
            raise ArchiveError(f"{folder} is not writable ({error.strerror})") from error
        return manifest


def _make_folder(folder: Path) -> None:
    """Raises ArchiveError unless the folder is new or empty: nothing is ever written over."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ArchiveError(f"{folder} is not empty: give a new folder")
        folder.chmod(0o700)
    except OSError as error:
        raise ArchiveError(f"{folder} cannot be made ({error.strerror})") from error


def _names(cluster: Cluster, topics: Iterable[TopicSpec]) -> list[str]:
    names = [one.name for one in topics]
    missing = [name for name in names if name not in cluster.partitions]
    if missing:
        raise ArchiveError(
            f"Kafka at {cluster.url} has no topic {missing[0]}: is it the right Kafka and profile?"
        )
    return names


def _left_out(cluster: Cluster, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted(x for x in cluster.partitions if _OURS.match(x) and x not in names))


async def _committed(cluster: Cluster, names: Sequence[str]) -> tuple[Committed, ...]:
    """How far every group has come on these topics, the departments' own groups too."""
    found = await cluster.committed(await cluster.groups())
    return tuple(
        Committed(group=group, topic=place.topic, partition=place.partition, offset=at.offset)
        for group, places in sorted(found.items())
        for place, at in sorted(places.items())
        if group != MARK_GROUP and place.topic in names and at.offset >= 0
    )


async def _ends(cluster: Cluster, names: Sequence[str]) -> dict[TopicPartition, int]:
    """See the module's docstring for the order."""
    following = [name for name in names if name.startswith(_FOLLOWING)]
    deciding = [name for name in names if name in (TRIAGE, HANDLING)]
    first = [name for name in names if name not in (*following, *deciding)]
    ends: dict[TopicPartition, int] = {}
    for some in (following, deciding, first):
        ends.update(await cluster.ends(cluster.places(some)))
    return ends


def _entry(name: str, cluster: Cluster, config: dict[str, str], ends: Places) -> TopicEntry:
    own = tuple(ends[place] for place in cluster.places([name]))
    return TopicEntry(name=name, partitions=len(own), config=config, ends=own)


class _Export:
    def __init__(
        self,
        cluster: Cluster,
        folder: Path,
        ends: Places,
        on_progress: OnProgress,
        part_bytes: int,
    ) -> None:
        self._cluster = cluster
        self._folder = folder
        self._ends = ends
        self._on_progress = on_progress
        self._part_bytes = part_bytes
        self.files: list[FileEntry] = []
        self.erased: set[str] = set()

    async def write(self) -> None:
        """Write all files. Raises ArchiveError and OSError."""
        at = await self._cluster.beginnings(list(self._ends))
        total = sum(self._ends.values()) - sum(at.values())
        files = {
            place: PartitionFiles(
                self._folder, place.topic, place.partition, part_bytes=self._part_bytes
            )
            for place in sorted(self._ends)
        }
        async for batches in self._cluster.read(self._ends, dict(at)):
            await asyncio.to_thread(_write, files, batches)
            for place, lines in batches.items():
                at[place] = lines[-1].offset + 1
                if place.topic == TRIAGE:
                    self.erased |= erased_of(lines)
            left = sum(end - at[place] for place, end in self._ends.items())
            self._on_progress(Progress(next(iter(batches)).topic, total - left, total))
        for one in files.values():
            self.files += await asyncio.to_thread(one.close)
        self._on_progress(Progress("", total, total))


def _write(
    files: Mapping[TopicPartition, PartitionFiles], batches: Mapping[TopicPartition, list[Line]]
) -> None:
    for place, lines in batches.items():
        files[place].write(lines)
