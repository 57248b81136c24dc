"""Intake's idempotency records, from the submissions that stand on the log.

Without them a channel's repetition of an old request would be taken for a new one: the case number
is the same, but the log would get a second event of the same id with another time in it. Later
words (supplements, ratings) are known by a key of which only the digest is on the log: of those no
record can be made.
"""

from collections.abc import Iterable, Iterator

from contracts.envelope import ContractError, parse
from contracts.requests import RequestSubmitted
from deploy.log_archive.errors import ArchiveError
from deploy.log_archive.lines import Line
from services.chassis.bus import repaired_headers
from services.chassis.store import AlreadyThere, Fields, Store, StoreUnavailable, insert_new
from services.intake.store import Kept

DATABASE = "jieyou_intake"
_COLLECTION = "records"
_RUN = "import"
"""In place of the process that made the record: none looks for what this one may have left."""
_AT_ONCE = 500
_SUBMITTED = f"jieyou.{RequestSubmitted.type}"


class Submissions:
    """Where the records stand. Everything raises ArchiveError."""

    def __init__(self, mongo_url: str, database: str = DATABASE) -> None:
        self._store = Store(mongo_url, database)

    async def require_store(self) -> None:
        """Raise unless the store answers."""
        try:
            await self._store.ping()
        except StoreUnavailable as error:
            raise ArchiveError(f"the store does not answer ({error})") from error

    async def keep(self, lines: Iterable[Line]) -> int:
        """Keep the first submission of each case; return how many were written. What is there
        already stays."""
        written = 0
        rows: dict[str, Fields] = {}
        for row in _rows(lines):
            rows.setdefault(row["_id"], row)
            if len(rows) >= _AT_ONCE:
                written += await self._insert(list(rows.values()))
                rows.clear()
        return written + await self._insert(list(rows.values()))

    def close(self) -> None:
        """Close all connections."""
        self._store.close()

    async def _insert(self, rows: list[Fields]) -> int:
        try:
            await insert_new(self._store, self._store.collection(_COLLECTION), rows)
        except AlreadyThere as found:
            return len(rows) - len(found.ids)
        except StoreUnavailable as error:
            raise ArchiveError(
                f"the store does not answer ({error}); run the same command again and it goes on"
            ) from error
        return len(rows)


def _rows(lines: Iterable[Line]) -> Iterator[Fields]:
    for line in lines:
        if line.header("ce_type") != _SUBMITTED:
            continue
        try:
            event = parse(repaired_headers(line.headers), line.value)
        except ContractError:
            continue
        data = event.data
        if isinstance(data, RequestSubmitted):
            kept = Kept(data.case_no, data.body_digest, data.request.channel, event)
            yield kept.fields(_RUN, 0)
