"""Erasing a person: what a service keeps of an erased case, its own topic and its dead letters.

`case.erased` (triage) says which cases. Each service notes them in its own database before it goes
on from the record that said so, and then works through them in the background: first its copies
(documents and whatever else it keeps), then its topic, then its dead letters. A second pass does
the whole of it again when nothing that was under way at the first can land any more: a record
given up, a process that did not know yet, a crash between two steps. Everything here may be done
any number of times.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from services.chassis import metrics
from services.chassis.backoff import backoff_seconds
from services.chassis.bus import Publisher
from services.chassis.bus.broker import REQUEST_TIMEOUT_MS
from services.chassis.letters_of import drop_letters
from services.chassis.redaction import redact_topic
from services.chassis.store import AlreadyThere, Fields, Store, insert_new
from services.chassis.telemetry import error_fields

__all__ = ["ErasedCases", "Eraser", "drop_letters", "redact_topic"]

log = structlog.get_logger()

SECOND_PASS_AFTER = timedelta(milliseconds=2 * REQUEST_TIMEOUT_MS)
"""After so long nothing lands any more that was sent before the first pass."""
PASSES = 2
ALARM_AFTER = timedelta(minutes=10)

_LEASE = timedelta(minutes=2)
_OVERLAP = timedelta(minutes=5)
_EVERY_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 60.0
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class DueErasure:
    """A pass that is to be done now. `since` is when it became due, `asked` how often the case
    was named: a pass counts only if nobody named the case again meanwhile."""

    case_no: str
    since: datetime
    asked: int


class ErasedCases:
    """The cases whose person is erased, in the service's own database and in memory.

    Collection `erased`: `_id` the case number, `at` when it was noted, `pass` how many passes are
    done (0, 1, 2), `next_at` when the next is due (None: done), `since`, `asked`. What another
    process of the service notes is known here a second later (`keep_fresh`).
    """

    def __init__(self, store: Store, now: Callable[[], datetime] | None = None) -> None:
        self._store = store
        self._collection = store.collection("erased")
        self._now = now or (lambda: datetime.now(UTC))
        self._known: set[str] = set()
        self._newest = _BEGINNING

    async def prepare(self) -> None:
        """Create the indexes, and know what is noted already. Raises StoreUnavailable."""
        async with self._store.answering():
            await self._collection.create_index("at")
            await self._collection.create_index("next_at")
        await self.refresh()

    def __contains__(self, case_no: object) -> bool:
        return case_no in self._known

    async def add(self, case_nos: Iterable[str]) -> None:
        """Note erased cases, durably; to be awaited before the offset of the record that named
        them is committed. A case that is named again gets its passes again: there may be a late
        copy. Raises StoreUnavailable."""
        wanted = sorted(set(case_nos))
        if not wanted:
            return
        now = self._now()
        due: Fields = {"pass": 0, "next_at": now, "since": now}
        rows = [{"_id": case_no, "at": now, "asked": 1, **due} for case_no in wanted]
        try:
            await insert_new(self._store, self._collection, rows)
        except AlreadyThere as known:
            for case_no in known.ids:
                where = {"_id": case_no, "pass": {"$gt": 0}}
                async with self._store.answering():
                    await self._collection.update_one(where, {"$set": due, "$inc": {"asked": 1}})
        self._known.update(wanted)

    async def refresh(self) -> None:
        """Read what other processes have noted. Raises StoreUnavailable."""
        since = self._newest - _OVERLAP  # their clocks may be a little behind
        async with self._store.answering():
            found = await self._collection.find({"at": {"$gte": since}}, {"at": 1}).to_list(_MOST)
        for row in found:
            self._known.add(row["_id"])
            self._newest = max(self._newest, row["at"])

    async def keep_fresh(self, every_seconds: float = _EVERY_SECONDS) -> None:
        """Refresh for ever; run it in the background of every process of the service."""
        while True:
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - passing trouble with the store
                log.warning("erased cases not read", **error_fields(error))
            await asyncio.sleep(every_seconds)

    async def due(self, limit: int) -> list[DueErasure]:
        """Take cases whose pass is due, at most `limit`, for two minutes: others leave them alone
        till then. Raises StoreUnavailable."""
        now = self._now()
        waiting: Fields = {"next_at": {"$gt": _BEGINNING, "$lte": now}}
        taken: list[DueErasure] = []
        async with self._store.answering():
            for row in await self._collection.find(waiting).limit(limit).to_list(limit):
                where = {"_id": row["_id"], "next_at": row["next_at"], "asked": row["asked"]}
                lease = {"$set": {"next_at": now + _LEASE}}
                if (await self._collection.update_one(where, lease)).modified_count:
                    taken.append(DueErasure(row["_id"], row["since"], row["asked"]))
        return taken

    async def passed(self, done: DueErasure, second_after: timedelta = SECOND_PASS_AFTER) -> None:
        """Note that a pass is done; after the first comes the second, after it nothing."""
        where = {"_id": done.case_no, "asked": done.asked}
        second = self._now() + second_after
        async with self._store.answering():
            first = await self._collection.update_one(
                {**where, "pass": 0}, {"$set": {"pass": 1, "next_at": second, "since": second}}
            )
            if not first.matched_count:
                await self._collection.update_one(
                    where, {"$set": {"pass": PASSES, "next_at": None}}
                )

    async def postpone(self, failed: DueErasure, seconds: float) -> None:
        """Let a pass that failed wait."""
        again = self._now() + timedelta(seconds=seconds)
        where = {"_id": failed.case_no, "asked": failed.asked, "next_at": {"$ne": None}}
        async with self._store.answering():
            await self._collection.update_one(where, {"$set": {"next_at": again}})

    async def drop(self, case_no: str) -> None:
        """Strike a case out: it was noted before its erasure was decided, and never was."""
        async with self._store.answering():
            await self._collection.delete_one({"_id": case_no})
        self._known.discard(case_no)

    async def all(self) -> dict[str, datetime]:
        """Return every erased case with the time when it was noted."""
        async with self._store.answering():
            rows = await self._collection.find({}, {"at": 1}).to_list(_MOST)
        return {row["_id"]: row["at"] for row in rows}

    def age(self, due: DueErasure) -> timedelta:
        """Return for how long a pass has been due."""
        return self._now() - due.since

    async def waiting(self) -> int:
        """Return how many cases have a pass before them."""
        async with self._store.answering():
            return await self._collection.count_documents({"next_at": {"$gt": _BEGINNING}})


class NotErasedYet(Exception):
    """A case was noted before its erasure stands in its document, where it does not stand yet."""


RedactCopies = Callable[[str], Awaitable[int]]
"""Redacts what a service keeps of a case and publishes what it published of it; returns how many
copies it changed. Raises what is passing (store, bus) and NotErasedYet."""
Mentions = Callable[[str], Awaitable[Collection[str]]]
"""Returns by which other names (hand-off ids) dead letters may speak of a case."""


async def _no_others(_case_no: str) -> Collection[str]:
    return ()


class Eraser:
    """Works through a service's erased cases in the background; run it in every process."""

    def __init__(
        self,
        service: str,
        erased: ErasedCases,
        redact_copies: RedactCopies,
        *,
        topic: str,
        kafka_url: str,
        publisher: Publisher,
        mentions: Mentions = _no_others,
        second_after: timedelta = SECOND_PASS_AFTER,
        every_seconds: float = _EVERY_SECONDS,
    ) -> None:
        self._service = service
        self._erased = erased
        self._redact_copies = redact_copies
        self._topic = topic
        self._kafka_url = kafka_url
        self._publisher = publisher
        self._mentions = mentions
        self._second_after = second_after
        self._every_seconds = every_seconds
        self._failures: dict[str, int] = {}

    async def run(self) -> None:
        """Run for ever; trouble with store or bus is passing."""
        while True:
            done = 0
            try:
                done = await self.run_once()
                metrics.ERASURES_WAITING.labels(self._service).set(await self._erased.waiting())
            except Exception as error:  # noqa: BLE001 - passing trouble; the store remembers
                log.warning("erasing failed", **error_fields(error))
            if not done:
                await asyncio.sleep(self._every_seconds)

    async def run_once(self, limit: int = 20) -> int:
        """Do what is due, at most `limit` passes; return how many succeeded."""
        succeeded = 0
        for due in await self._erased.due(limit):
            try:
                await self._pass(due)
            except NotErasedYet:
                await self._look_again(due)
            except Exception as error:  # noqa: BLE001 - whatever it is, others go on
                await self._failed(due, error)
            else:
                self._failures.pop(due.case_no, None)
                succeeded += 1
        return succeeded

    async def _pass(self, due: DueErasure) -> None:
        case_no = due.case_no
        copies = await self._redact_copies(case_no)
        publish = self._publisher.publish_all
        events = await redact_topic(self._kafka_url, self._topic, case_no, publish)
        names = await self._mentions(case_no)
        letters = await drop_letters(
            self._kafka_url, self._service, case_no, publish, other_names=names
        )
        await self._erased.passed(due, self._second_after)
        log.info("erased", case_no=case_no, documents=copies, records=events, dead_letters=letters)

    async def _look_again(self, due: DueErasure) -> None:
        if self._erased.age(due) > ALARM_AFTER:
            await self._erased.drop(due.case_no)
            log.warning("erasure was never decided", case_no=due.case_no)
        else:
            await self._erased.postpone(due, self._every_seconds)

    async def _failed(self, due: DueErasure, error: Exception) -> None:
        attempt = self._failures[due.case_no] = self._failures.get(due.case_no, 0) + 1
        seconds = backoff_seconds(attempt, first=1.0, longest=_LONGEST_WAIT_SECONDS)
        is_old = self._erased.age(due) > ALARM_AFTER
        write = log.critical if is_old else log.warning
        write(
            "erasure waits",
            case_no=due.case_no,
            attempt=attempt,
            seconds=seconds,
            alarm=is_old,
            **error_fields(error),
        )
        await self._erased.postpone(due, seconds)
