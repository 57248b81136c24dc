"""Records that were put aside before are not put aside once more when the log is read again."""

from collections.abc import Collection, Sequence

from contracts.topics import dead_letters
from deploy.audit.log import Log
from deploy.dead_letters.ledger import Ledger
from services.chassis.bus import Record
from services.chassis.dead_letters import DeadLetters

SERVICE = "reporting"
Known = dict[str, int | None]
"""The time (ms) of each record that was put aside, by its origin; None where it is not known."""


async def known_letters(kafka_url: str, mongo_url: str, service: str = SERVICE) -> Known:
    """Return what a service has put aside: what stands among the dead letters, was taken off
    there, or was settled by a person. Raises AuditError and DeadLetterError."""
    known: Known = {}
    ledger = Ledger(mongo_url)
    try:
        for entry in (await ledger.all()).values():
            if entry.service == service and entry.origin is not None:
                known[entry.origin.name] = entry.origin.timestamp_ms
    finally:
        ledger.close()
    async with Log(kafka_url) as log:
        async for records in log.read(await log.ends([dead_letters(service)])):
            for record in records:
                known.setdefault((record.key or b"").decode("utf-8", "replace"), None)
    return known


def is_known(record: Record, known: Known) -> bool:
    """Whether this very record was put aside before."""
    return record.origin in known and known[record.origin] in (None, record.timestamp_ms)


class OnlyNew:
    """Puts aside what was not put aside before. What was does not count as "in a row" either: a
    person has seen it."""

    def __init__(self, letters: DeadLetters, known: Known) -> None:
        self._letters = letters
        self._known = known
        self.put_aside: set[str] = set()

    def begin(self, records: Sequence[Record]) -> None:
        """An attempt at these records begins."""
        self._letters.begin(records)

    def end(self) -> None:
        """It succeeded."""
        self._letters.end()

    async def put(self, record: Record, reason: str, error: BaseException | None = None) -> None:
        """Put a record aside, unless it was. Raises TooManyDeadLetters and BusUnavailable."""
        if is_known(record, self._known):
            return
        await self._letters.put(record, reason, error)
        self.put_aside.add(record.origin)


def count(letters: Collection[OnlyNew]) -> int:
    """Return how many records were put aside for the first time."""
    return len({origin for one in letters for origin in one.put_aside})
