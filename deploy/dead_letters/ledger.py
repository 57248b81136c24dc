"""What people did about dead letters, kept when the letters themselves are gone.

A letter without an entry is open. Entries hold no key, header or payload of a record.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict

from contracts.dead_letters import DeadLetter, Origin
from deploy.local.errors import PlatformError
from services.chassis.store import (
    AlreadyThere,
    Stale,
    Store,
    StoreUnavailable,
    compare_and_set,
    insert_new,
)

DATABASE = "jieyou_operations"
_COLLECTION = "dead_letters"
_MOST = 100_000


class DeadLetterError(PlatformError):
    """What was asked of dead letters cannot be done; the message is one line."""


class State(StrEnum):
    """Where a letter stands."""

    OPEN = "open"
    RETRIED = "retried"
    """The record was written again; what became of it is not known yet."""
    HANDLED = "handled"
    """The service has handled the record that was written again."""
    FAILED_AGAIN = "failed_again"
    """The service has put that aside too: the letter has a successor."""
    DISCARDED = "discarded"

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do about this letter."""
        return self not in (State.OPEN, State.RETRIED)


class Act(BaseModel):
    """Who did something when, and in which words why."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    by: str
    why: str | None = None


class Entry(BaseModel):
    """What became of one letter. `id` is `<service>/<topic>-<partition>-<offset>`.

    `written_again` is the offset that the record got by the last retry, None while that is not
    known. `retries` counts for the record, over letters that succeed each other.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    service: str
    origin: Origin | None
    reason: str
    case_no: str | None
    put_aside_at: datetime | None
    state: State = State.OPEN
    retried: Act | None = None
    written_again: int | None = None
    retries: int = 0
    settled: Act | None = None
    successor: str | None = None
    version: int = 0

    @classmethod
    def of(cls, id_: str, service: str, letter: DeadLetter | None) -> "Entry":
        """Return the entry of a letter about which nobody has done anything."""
        return cls(
            id=id_,
            service=service,
            origin=letter.origin if letter else None,
            reason=letter.reason if letter else "is no dead letter",
            case_no=letter.case_no if letter else None,
            put_aside_at=letter.at if letter else None,
        )

    def is_about(self, letter: DeadLetter | None) -> bool:
        """Whether this is about that letter, and not one of another log with the same offsets."""
        written = letter.origin.timestamp_ms if letter else None
        return written == (self.origin.timestamp_ms if self.origin else None)

    @property
    def is_on_its_way(self) -> bool:
        """Whether the record stands on the log again, and the service has not come to it yet."""
        return self.state is State.RETRIED and self.written_again is not None

    def changed(self, **fields: Any) -> "Entry":
        """Return this with other fields."""
        return self.model_copy(update=fields)


class Ledger:
    """The entries, in a database of the operators' own."""

    def __init__(self, mongo_url: str, database: str = DATABASE) -> None:
        self._store = Store(mongo_url, database)
        self._collection = self._store.collection(_COLLECTION)

    def close(self) -> None:
        """Close all connections."""
        self._store.close()

    async def all(self) -> dict[str, Entry]:
        """Return every entry. Raises DeadLetterError."""
        return await self._find({})

    async def load(self, ids: Collection[str]) -> dict[str, Entry]:
        """Return the entries of some letters. Raises DeadLetterError."""
        return await self._find({"_id": {"$in": sorted(ids)}}) if ids else {}

    async def retried(self) -> dict[str, Entry]:
        """Return the entries whose outcome is awaited. Raises DeadLetterError."""
        return await self._find({"state": State.RETRIED.value})

    async def _find(self, where: Mapping[str, Any]) -> dict[str, Entry]:
        try:
            async with self._store.answering():
                rows = await self._collection.find(dict(where)).to_list(_MOST)
        except StoreUnavailable as error:
            raise DeadLetterError(f"the store does not answer ({error})") from error
        return {row["_id"]: Entry.model_validate({**row, "id": row["_id"]}) for row in rows}

    async def put(self, entry: Entry) -> Entry:
        """Write an entry and return it as it stands then.

        Raises DeadLetterError when somebody else has written it meanwhile.
        """
        written = entry.changed(version=entry.version + 1)
        fields = written.model_dump(mode="json", exclude={"id"})
        try:
            if entry.version == 0:
                await insert_new(self._store, self._collection, [{"_id": entry.id, **fields}])
            else:
                where = {"_id": entry.id, "version": entry.version}
                async with self._store.answering():
                    await compare_and_set(self._collection, [(where, {"$set": fields})])
        except (AlreadyThere, Stale) as error:
            raise DeadLetterError(f"{entry.id}: somebody else sees to it, look again") from error
        except StoreUnavailable as error:
            raise DeadLetterError(f"the store does not answer ({error})") from error
        return written


def given_up(entries: Iterable[Entry]) -> frozenset[tuple[str, str, int]]:
    """Return (service, origin, time of the record in ms) of what a service need not answer for:
    what was given up, and what has a successor that stands for it."""
    return frozenset(
        (one.service, one.origin.name, one.origin.timestamp_ms)
        for one in entries
        if one.origin is not None and one.state in (State.DISCARDED, State.FAILED_AGAIN)
    )
