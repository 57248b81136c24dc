"""The files of an export: compressed lines, in parts of bounded size, each with its checksum."""

import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from deploy.log_archive.errors import ArchiveError
from deploy.log_archive.lines import Line, decoded, encoded
from deploy.log_archive.manifest import FileEntry

PART_BYTES = 256 * 1024 * 1024
"""A part is ended when its lines, not compressed, are longer than this."""
_GZIP = 31
_LEVEL = 1
"""Half the time of zlib's default for a tenth more bytes: compressing is what export waits for."""
_CHUNK = 1024 * 1024
_AT_ONCE = 128 * 1024


class PartitionFiles:
    """Writes the records of one partition. End with `close`, which returns what was written."""

    def __init__(
        self, folder: Path, topic: str, partition: int, *, part_bytes: int = PART_BYTES
    ) -> None:
        self._folder = folder
        self._topic = topic
        self._partition = partition
        self._part_bytes = part_bytes
        self._part: _Part | None = None
        self._done: list[FileEntry] = []

    def write(self, lines: Sequence[Line]) -> None:
        """Write records in the order of their offsets; none is no part. Raises OSError."""
        for line in lines:
            if self._part is None:
                self._part = _Part(self._folder / self._name())
            self._part.add(line)
            if self._part.length > self._part_bytes:
                self._end_part()

    def close(self) -> list[FileEntry]:
        """End the last part and return all of them. Raises OSError."""
        self._end_part()
        return self._done

    def _name(self) -> str:
        number = f".{len(self._done) + 1}" if self._done else ""
        return f"{self._topic}-{self._partition}{number}.jsonl.gz"

    def _end_part(self) -> None:
        if self._part is not None:
            self._done.append(self._part.close(self._topic, self._partition))
            self._part = None


class _Part:
    def __init__(self, path: Path) -> None:
        self._path = path
        private = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file: BinaryIO = os.fdopen(private, "wb")
        self._compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP)
        self._sha256 = hashlib.sha256()
        self._bytes = self._records = self._first = self._last = 0
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self.length = 0

    def add(self, line: Line) -> None:
        text = encoded(line)
        if not self._records:
            self._first = line.offset
        self._last = line.offset
        self._records += 1
        self.length += len(text)
        self._waiting.append(text)
        self._waiting_bytes += len(text)
        if self._waiting_bytes > _AT_ONCE:
            self._compress()

    def _compress(self) -> None:
        self._put(self._compressor.compress(b"".join(self._waiting)))
        self._waiting.clear()
        self._waiting_bytes = 0

    def _put(self, data: bytes) -> None:
        self._sha256.update(data)
        self._bytes += len(data)
        self._file.write(data)

    def close(self, topic: str, partition: int) -> FileEntry:
        self._compress()
        self._put(self._compressor.flush())
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return FileEntry(
            name=self._path.name,
            topic=topic,
            partition=partition,
            records=self._records,
            first_offset=self._first,
            last_offset=self._last,
            bytes=self._bytes,
            sha256=self._sha256.hexdigest(),
        )


def read_lines(folder: Path, entries: Sequence[FileEntry]) -> Iterator[Line]:
    """Yield the records of a partition's files. Raises ArchiveError."""
    for entry in entries:
        left = b""
        for text in _decompressed(folder / entry.name, entry.name):
            *whole, left = (left + text).split(b"\n")
            for one in whole:
                yield decoded(one)


def check_file(folder: Path, entry: FileEntry, finding: bytes = b"") -> list[Line]:
    """Check a file against its entry; return the records whose lines hold `finding`, if given.

    Raises ArchiveError, which names the file.
    """
    path = folder / entry.name
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ArchiveError(f"{path} is not readable ({type(error).__name__})") from error
    if size != entry.bytes or digest != entry.sha256:
        raise ArchiveError(f"{path} is damaged: its checksum is not the manifest's")
    records, left, found = 0, b"", list[Line]()
    for text in _decompressed(path, entry.name):
        records += text.count(b"\n")
        if finding:
            *whole, left = (left + text).split(b"\n")
            found += [decoded(one) for one in whole if finding in one]
    if records != entry.records:
        raise ArchiveError(f"{path} holds {records} records, {entry.records} by the manifest")
    return found


def _decompressed(path: Path, name: str) -> Iterator[bytes]:
    decompressor = zlib.decompressobj(_GZIP)
    try:
        with path.open("rb") as file:
            while data := file.read(_CHUNK):
                yield decompressor.decompress(data)
        yield decompressor.flush()
    except (OSError, zlib.error) as error:
        raise ArchiveError(f"{name} is not readable ({type(error).__name__})") from error
    if not decompressor.eof:
        raise ArchiveError(f"{name} ends in the middle")
