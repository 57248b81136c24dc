"""From files to an empty log.

All is checked before anything is written. Each partition gets its records in their old order, with
key, headers, value and timestamp; offsets close up, so what the groups have committed and the
origins of dead letters are translated.

An import that was broken off is taken up by the same command: what stands there is compared with
what is to stand, record by record, and the rest is written (`target.Target` knows where it began).
"""

import asyncio
import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from contracts.topics import CASE_TOPICS, REQUESTS
from deploy.log_archive.checking import Checked, check, held
from deploy.log_archive.cluster import Cluster
from deploy.log_archive.erasing import Erasure
from deploy.log_archive.errors import ArchiveError
from deploy.log_archive.exporting import OnProgress, Progress
from deploy.log_archive.files import read_lines
from deploy.log_archive.letters import moved, origin_of
from deploy.log_archive.lines import Line
from deploy.log_archive.manifest import Manifest
from deploy.log_archive.offsets import Offsets
from deploy.log_archive.submissions import Submissions
from deploy.log_archive.target import Begun, Target, unhurried
from deploy.log_archive.writing import Writer

_PORTION = 2_000
_BEGINS_ANEW = "intake"
"""The group that goes by what its store holds of erased cases, which is not restored: it reads of
them once more."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import wrote, or would write. `standing`: records that an earlier, broken off run of
    it had written."""

    manifest: Manifest
    records: int
    standing: int
    erased: frozenset[str]
    redacted: int
    left_out: int
    committed: Mapping[str, Mapping[TopicPartition, int]]
    submissions: int | None
    """How many of intake's records were written; None without a store."""


async def import_log(
    kafka_url: str,
    folder: Path,
    mongo_url: str | None = None,
    *,
    erased: Collection[str] = (),
    is_dry_run: bool = False,
    on_check: OnProgress = lambda _: None,
    on_write: OnProgress = lambda _: None,
) -> Imported:
    """Import an export into an empty Kafka, and with a store what intake knows requests by.

    `erased`: cases erased since it was made. `is_dry_run`: everything but the writing. Raises
    ArchiveError.
    """
    with held(folder), _submissions(mongo_url) as submissions:
        if submissions is not None:
            await submissions.require_store()
        checked = await check(folder, on_check)
        all_erased = checked.erased | frozenset(erased)
        async with Cluster(kafka_url) as cluster:
            target = Target(cluster, checked.manifest, _fingerprint(checked, all_erased))
            begun = await target.look()
            run = _Import(checked, cluster, begun, Erasure(all_erased), on_write)
            kept = None
            if is_dry_run:
                await run.write(None)
            else:
                await target.mark(begun)
                async with unhurried(cluster, checked.manifest), Writer(kafka_url) as writer:
                    await run.write(writer)
                await run.finish()
                if submissions is not None:
                    kept = await submissions.keep(_requests(checked, all_erased))
                await target.mark(begun, is_done=True)
            return run.result(all_erased, kept)


@contextmanager
def _submissions(mongo_url: str | None) -> Iterator[Submissions | None]:
    if mongo_url is None:
        yield None
        return
    submissions = Submissions(mongo_url)
    try:
        yield submissions
    finally:
        submissions.close()


def _requests(checked: Checked, erased: Collection[str]) -> Iterator[Line]:
    """Yield what stands in intake's topic, as it was imported."""
    erasure = Erasure(erased)
    for entry in checked.manifest.files:
        if entry.topic == REQUESTS:
            for line in read_lines(checked.folder, [entry]):
                treated = erasure.treat(REQUESTS, line)
                if treated is not None:
                    yield treated


def _fingerprint(checked: Checked, erased: Collection[str]) -> str:
    text = "\n".join([checked.digest, *sorted(erased)])
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(slots=True)
class _Import:
    checked: Checked
    cluster: Cluster
    begun: Begun
    erasure: Erasure
    on_progress: OnProgress
    records: int = 0
    standing: int = 0
    _done: int = 0
    _offsets: dict[TopicPartition, Offsets] = field(default_factory=dict)

    @property
    def manifest(self) -> Manifest:
        return self.checked.manifest

    async def write(self, writer: Writer | None) -> None:
        """Write all that does not stand yet; without a writer only go through it."""
        wanted = await asyncio.to_thread(self._wanted)
        for place in self._places():
            self._offsets[place] = Offsets(wanted.get(place, ()), self.begun.bases[place])
        for place in self._places():
            await self._write(place, writer)

    def _places(self) -> list[TopicPartition]:
        """All partitions: case topics first, then feeds, by which `Erasure` goes; dead letters
        last, since their origins are translated."""
        names = [one.name for one in self.manifest.topics]
        return self.cluster.places(sorted(names, key=_turn))

    def _wanted(self) -> dict[TopicPartition, set[int]]:
        """Which old offsets are to be translated: of groups, and of dead letters."""
        wanted: dict[TopicPartition, set[int]] = {}
        for one in self.manifest.committed:
            place = TopicPartition(one.topic, one.partition)
            wanted.setdefault(place, set()).add(one.offset)
        letters = [one for one in self.manifest.files if one.topic.startswith("dead-letters.")]
        for line in read_lines(self.checked.folder, letters):
            origin = origin_of(line.key)
            if origin is not None:
                wanted.setdefault(origin[0], set()).add(origin[1])
        return wanted

    async def _write(self, place: TopicPartition, writer: Writer | None) -> None:
        self.on_progress(Progress(place.topic, self._done, self.manifest.records))
        records = self._records(place)
        base, end = self.begun.bases[place], self.begun.ends[place]
        if end > base:
            async for batches in self.cluster.read({place: end}, {place: base}):
                await asyncio.to_thread(_compare, place, records, batches[place])
                self.on_progress(Progress(place.topic, self._done, self.manifest.records))
        while portion := await asyncio.to_thread(lambda: list(islice(records, _PORTION))):
            fresh = [(new, line) for new, line in portion if new >= end]
            if fresh and writer is not None:
                await writer.write(place, [line for _, line in fresh], fresh[0][0])
            self.records += len(fresh)
            self.on_progress(Progress(place.topic, self._done, self.manifest.records))
        if writer is not None:
            await writer.flush(place)
        self.standing += end - base
        if self._offsets[place].next < end:
            raise _not_ours(place)

    def _records(self, place: TopicPartition) -> Iterator[tuple[int, Line]]:
        """Yield what is to stand in a partition, with the offsets there."""
        offsets = self._offsets[place]
        are_letters = place.topic.startswith("dead-letters.")
        for line in read_lines(self.checked.folder, self.manifest.of(place.topic, place.partition)):
            self._done += 1
            treated = self.erasure.treat(place.topic, line)
            if treated is None:
                continue
            new = offsets.next
            offsets.take(line.offset)
            yield new, moved(treated, self._new_offset) if are_letters else treated

    def _new_offset(self, place: TopicPartition, old: int) -> int | None:
        offsets = self._offsets.get(place)
        return offsets.new_of_record(old) if offsets is not None else None

    async def finish(self) -> None:
        """Have the groups go on where they were. Raises ArchiveError unless each partition ends
        where it must."""
        for place, end in (await self.cluster.ends(self._places())).items():
            if end != self._offsets[place].next:
                raise _not_ours(place)
        for group, offsets in self.committed().items():
            at = {place: OffsetAndMetadata(offset, "") for place, offset in offsets.items()}
            await self.cluster.commit(group, at)

    def committed(self) -> dict[str, dict[TopicPartition, int]]:
        """Return the committed offsets of each group as they are in the new log."""
        found: dict[str, dict[TopicPartition, int]] = {}
        for one in self.manifest.committed:
            if one.group == _BEGINS_ANEW:
                continue
            place = TopicPartition(one.topic, one.partition)
            if place in self._offsets:
                found.setdefault(one.group, {})[place] = self._offsets[place].new(one.offset)
        return found

    def result(self, erased: frozenset[str], submissions: int | None) -> Imported:
        """Return what was done."""
        return Imported(
            self.manifest,
            self.records,
            self.standing,
            erased,
            self.erasure.redacted,
            self.erasure.left_out,
            self.committed(),
            submissions,
        )


def _turn(topic: str) -> tuple[int, str]:
    if topic in CASE_TOPICS:
        return 0, topic
    if topic.startswith("feed."):
        return 1, topic
    return (3 if topic.startswith("dead-letters.") else 2), topic


def _compare(
    place: TopicPartition, records: Iterator[tuple[int, Line]], standing: Sequence[Line]
) -> None:
    """Raises ArchiveError unless what stands is what is to stand there."""
    for there in standing:
        line = next((line for new, line in records if new == there.offset), None)
        if line is None or not line.is_same_record(there):
            raise _not_ours(place)


def _not_ours(place: TopicPartition) -> ArchiveError:
    return ArchiveError(
        f"{place.topic}-{place.partition} holds records that are not of this export: begin with a "
        "new Kafka"
    )
