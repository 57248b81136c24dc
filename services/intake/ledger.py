"""What this process has taken in and has not on the bus yet: in flight, or waiting in the spool."""

import heapq
import time
import uuid
from collections.abc import Callable


class Ledger:
    """Numbers this process's records and knows how far all of them are published.

    Waiting records are held here by id alone; their bytes stand in the store.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self.run = uuid.uuid4().hex
        self._next = 1
        self._in_flight: set[int] = set()
        self._waiting: dict[int, tuple[str, float]] = {}

    @property
    def waiting(self) -> int:
        """How many records wait for the bus."""
        return len(self._waiting)

    @property
    def oldest_seconds(self) -> float:
        """How long the record has waited that has waited longest; 0 where none waits.

        Records begin to wait in about the order of their numbers, so the first one tells.
        """
        first = next(iter(self._waiting.values()), None)
        return 0.0 if first is None else self._monotonic() - first[1]

    @property
    def published_through(self) -> int:
        """All records below this number are on the bus, or never came to stand in the store."""
        return min([self._next, *self._in_flight, *self._waiting])

    @property
    def is_clear(self) -> bool:
        """Whether nothing is in flight and nothing waits."""
        return not self._in_flight and not self._waiting

    def begin(self) -> int:
        """Give a new record its number."""
        seq = self._next
        self._next += 1
        self._in_flight.add(seq)
        return seq

    def done(self, *seqs: int) -> None:
        """Records are on the bus, or stand under another number."""
        for seq in seqs:
            self._in_flight.discard(seq)
            self._waiting.pop(seq, None)

    def wait(self, seq: int, record_id: str) -> None:
        """A record waits for the bus."""
        self._in_flight.discard(seq)
        self._waiting[seq] = (record_id, self._monotonic())

    def oldest(self, limit: int) -> dict[int, str]:
        """Return the waiting records that came first, by number."""
        return {seq: self._waiting[seq][0] for seq in heapq.nsmallest(limit, self._waiting)}


class Breaker:
    """Keeps calls from waiting, one after another, for something that does not answer.

    After a failure `allows` is true for one call in each pause, until one succeeds.
    """

    def __init__(
        self, pause_seconds: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._pause = pause_seconds
        self._monotonic = monotonic
        self._next_try: float | None = None

    @property
    def is_closed(self) -> bool:
        """Whether the last call succeeded."""
        return self._next_try is None

    def allows(self) -> bool:
        """Whether to try; the caller then says how it went."""
        if self._next_try is None:
            return True
        if self._monotonic() < self._next_try:
            return False
        self._next_try = self._monotonic() + self._pause
        return True

    def succeeded(self) -> None:
        """The call succeeded."""
        self._next_try = None

    def failed(self) -> None:
        """The call failed."""
        self._next_try = self._monotonic() + self._pause
