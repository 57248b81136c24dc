"""API keys: made once, stored only as hashes, looked up at every call.

A key is a bearer token `jy_<kind>_<id>_<secret>`. The secret holds 256 random bits, so one
SHA-256 of the whole token is enough at rest; a slow password hash would only protect tokens that
people choose, and nobody chooses these.
"""

import contextlib
import hashlib
import hmac
import os
import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

_TOKEN = re.compile(r"jy_(?P<kind>[a-z]+)_(?P<id>[0-9a-f]{12})_(?P<secret>[0-9a-f]{64})", re.ASCII)
_CHECK_EVERY_SECONDS = 1.0


class KeyKind(StrEnum):
    """Who a key belongs to; it decides which calls the key opens."""

    CHANNEL = "channel"
    DESK = "desk"
    SUPERVISOR = "supervisor"
    DEPARTMENT = "department"
    OPERATOR = "operator"
    READER = "reader"


class KeyFileError(ValueError):
    """The key file can't be used; the message is one line that names file, place and fix."""


class KeyRecord(BaseModel):
    """What is kept of a key. `name` is the code of the channel, department or person."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    kind: KeyKind
    name: str = Field(min_length=1, max_length=64)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", repr=False)
    created_at: AwareDatetime
    revoked_at: AwareDatetime | None = None


class _KeyDocument(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[KeyRecord]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who makes a call, as far as the key tells. `key_id` is fit for logs, the token is not."""

    kind: KeyKind
    name: str
    key_id: str


def new_key(kind: KeyKind | str, name: str) -> tuple[str, KeyRecord]:
    """Make a key. The token is returned this once and can't be had again from the record."""
    kind = KeyKind(kind)
    key_id = secrets.token_hex(6)
    token = f"jy_{kind.value}_{key_id}_{secrets.token_hex(32)}"
    record = KeyRecord(
        id=key_id, kind=kind, name=name, sha256=_digest(token), created_at=datetime.now(UTC)
    )
    return token, record


class KeyFile:
    """The keys of a platform, in one JSON file that the command line writes and services read.

    A change to the file is taken up within a second, so a revoked key is shut out without a
    restart. While the file is briefly unreadable or broken, the last good state goes on to hold:
    an editor's slip must not shut out every channel in an emergency.
    """

    def __init__(self, path: str | Path, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.path = Path(path)
        self._monotonic = monotonic
        self._records: dict[str, KeyRecord] = {}
        self._stamp: tuple[int, int, int] | None = None
        self._checked_at: float | None = None
        self.trouble: str | None = None

    @property
    def records(self) -> tuple[KeyRecord, ...]:
        """All keys last loaded, revoked ones among them."""
        return tuple(self._records.values())

    def load(self) -> list[KeyRecord]:
        """Read the file and return its keys; raises KeyFileError when it can't be used."""
        self._checked_at = self._monotonic()
        self._stamp = self._stamp_now()
        try:
            document = _KeyDocument.model_validate_json(self.path.read_bytes())
        except OSError as error:
            raise KeyFileError(
                f"{self.path}: cannot be read ({error.strerror}); make it with `jieyou keys add`"
            ) from None
        except ValidationError as error:
            raise KeyFileError(f"{self.path}: {_first(error)}") from None
        records = {record.id: record for record in document.keys}
        if len(records) != len(document.keys):
            raise KeyFileError(f"{self.path}: keys: two keys have one id; remove one of them")
        self._records = records
        self.trouble = None
        return list(records.values())

    def save(self, records: Iterable[KeyRecord]) -> None:
        """Replace the file's keys in one step, readable by its owner alone."""
        document = _KeyDocument(keys=list(records))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=self.path.parent, prefix=".keys-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(document.model_dump_json(indent=2).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(self.path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                Path(temporary).unlink()
            raise
        self.load()

    def find(self, token: str) -> KeyRecord | None:
        """The live key of a token, or None: unknown, malformed and revoked look alike."""
        self._reload_if_changed()
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        record = self._records.get(match["id"])
        # An unknown id is compared too, so that the time taken tells nothing about which ids exist.
        expected = record.sha256 if record is not None else "0" * 64
        if not hmac.compare_digest(_digest(token), expected) or record is None:
            return None
        if record.revoked_at is not None or record.kind.value != match["kind"]:
            return None
        return record

    def _reload_if_changed(self) -> None:
        now = self._monotonic()
        if self._checked_at is not None and now - self._checked_at < _CHECK_EVERY_SECONDS:
            return
        self._checked_at = now
        if self._stamp_now() != self._stamp:
            try:
                self.load()
            except KeyFileError as error:
                self.trouble = str(error)

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False, include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "the file"
    return f"{place}: {first['msg']}; correct it or restore the file from the backup"
