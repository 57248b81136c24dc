"""What an export says about itself. It is written last: a folder without it is no export."""

import os
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from contracts.vocabulary import CaseNumber
from deploy.log_archive.errors import ArchiveError

FILE = "manifest.json"
MARK_GROUP = "jieyou-import"
"""Nobody reads by it: its offsets say where an import began, their metadata which one it is."""
_PLAIN_NAME = r"^[A-Za-z0-9._-]+$"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class FileEntry(_Part):
    """One file. `sha256` is of its bytes as they lie on the disk, so compressed."""

    name: str = Field(pattern=_PLAIN_NAME)
    topic: str
    partition: int = Field(ge=0)
    records: int = Field(ge=1)
    first_offset: int = Field(ge=0)
    last_offset: int = Field(ge=0)
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class TopicEntry(_Part):
    """A topic with its settings. `ends`: where each partition ended when it was read."""

    name: str
    partitions: int = Field(ge=1)
    config: dict[str, str]
    ends: tuple[int, ...]


class Committed(_Part):
    """How far a group had come in a partition: the offset that it reads next."""

    group: str
    topic: str
    partition: int = Field(ge=0)
    offset: int = Field(ge=0)


class Manifest(_Part):
    """The whole export. `files` stand in the order of their offsets, partition by partition."""

    format: Literal[1] = 1
    created_at: datetime
    contract_version: str
    profile: str
    topics: tuple[TopicEntry, ...]
    files: tuple[FileEntry, ...]
    committed: tuple[Committed, ...]
    erased: tuple[CaseNumber, ...]

    @property
    def records(self) -> int:
        """How many records there are in all."""
        return sum(one.records for one in self.files)

    def of(self, topic: str, partition: int) -> list[FileEntry]:
        """Return the files of a partition, in the order of their offsets."""
        own = [one for one in self.files if (one.topic, one.partition) == (topic, partition)]
        return sorted(own, key=lambda one: one.first_offset)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write it so that it is there whole or not at all, after all else is on the disk."""
    sync_folder(folder)
    unfinished = folder / f"{FILE}.new"
    private = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(private, "wb") as file:
        file.write(manifest.model_dump_json(indent=1).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(folder / FILE)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def read_manifest(folder: Path) -> Manifest:
    """Return what a folder says about itself. Raises ArchiveError."""
    path = folder / FILE
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise ArchiveError(
            f"{folder} has no {FILE}: it is no export, or one that was broken off"
        ) from None
    except OSError as error:
        raise ArchiveError(f"{path} is not readable ({type(error).__name__})") from error
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        where = ".".join(str(step) for step in error.errors()[0]["loc"]) or "whole"
        raise ArchiveError(f"{path} is not of this format (at {where})") from None
