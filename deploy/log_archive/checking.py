"""An export is checked whole before anything of it is written."""

import asyncio
import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from contracts.topics import TRIAGE
from deploy.log_archive.erasing import ERASED_MARK, erased_of
from deploy.log_archive.errors import ArchiveError
from deploy.log_archive.exporting import OnProgress, Progress
from deploy.log_archive.files import check_file
from deploy.log_archive.manifest import FILE, FileEntry, Manifest, read_manifest


@dataclass(frozen=True, slots=True)
class Checked:
    """A sound export, with the cases whose erasure it tells of. `digest`: of its manifest."""

    folder: Path
    manifest: Manifest
    digest: str
    erased: frozenset[str]


async def check(folder: Path, on_progress: OnProgress = lambda _: None) -> Checked:
    """Check manifest, checksums and numbers of lines. Raises ArchiveError, which names the file."""
    manifest = await asyncio.to_thread(read_manifest, folder)
    _check_order(folder, manifest)
    erased = set(manifest.erased)
    done, total = 0, sum(one.bytes for one in manifest.files)
    for entry in manifest.files:
        on_progress(Progress(entry.name, done, total))
        finding = ERASED_MARK if entry.topic == TRIAGE else b""
        found = await asyncio.to_thread(check_file, folder, entry, finding)
        erased |= erased_of(found)
        done += entry.bytes
    on_progress(Progress("", total, total))
    digest = hashlib.sha256((folder / FILE).read_bytes()).hexdigest()
    return Checked(folder, manifest, digest, frozenset(erased))


def _check_order(folder: Path, manifest: Manifest) -> None:
    """Each file belongs to a topic that is named, and parts follow each other."""
    partitions = {one.name: one.partitions for one in manifest.topics}
    for entry in manifest.files:
        if entry.partition >= partitions.get(entry.topic, 0):
            raise ArchiveError(f"{folder / FILE} does not name the topic of {entry.name}")
    for topic, number in {(one.topic, one.partition) for one in manifest.files}:
        last: FileEntry | None = None
        for entry in manifest.of(topic, number):
            if last is not None and entry.first_offset <= last.last_offset:
                raise ArchiveError(f"{folder / FILE}: {entry.name} overlaps with {last.name}")
            last = entry


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Keep a second import of the same folder out. Raises ArchiveError."""
    read_manifest(folder)
    with (folder / FILE).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ArchiveError(f"{folder} is being imported already") from None
        yield
