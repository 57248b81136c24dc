"""Where notify puts what it cannot handle, by who wrote it."""

from collections.abc import Sequence

from contracts.topics import TRIAGE
from services.chassis.bus import Publisher, Record
from services.chassis.dead_letters import DeadLetters

_ANY_NUMBER = 1_000_000_000


class AsideByOrigin:
    """Dead letters of two kinds of writers, both in `dead-letters.notify.v1`.

    Many in a row from triage are a bad release: the consumer stands. Many in a row from one
    department are that department's mistake, which must not hold up the others.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._ours = DeadLetters(publisher, "notify")
        self._departments = DeadLetters(publisher, "notify", longest_run=_ANY_NUMBER)

    def begin(self, records: Sequence[Record]) -> None:
        """An attempt at these records begins."""
        for letters in (self._ours, self._departments):
            letters.begin(records)

    def end(self) -> None:
        """The attempt succeeded."""
        for letters in (self._ours, self._departments):
            letters.end()

    async def put(self, record: Record, reason: str, error: BaseException | None = None) -> None:
        """Put a record aside. Raises TooManyDeadLetters and BusUnavailable."""
        letters = self._ours if record.topic == TRIAGE else self._departments
        await letters.put(record, reason, error)
