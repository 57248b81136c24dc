"""What a consumer has in hand and how old it is: the measure of its health."""

import time
from collections.abc import Callable, Sequence

from services.chassis.bus.records import Record


class Progress:
    """The progress of one consumer; times in seconds, of the process's monotonic clock."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._oldest_ms: int | None = None
        self._handled_when_seen_behind = -1
        self.handled = 0
        self.failed_attempts = 0
        self.in_hand_since: float | None = None
        self.behind_since: float | None = None

    def take(self, records: Sequence[Record]) -> None:
        """A batch is in hand."""
        self.in_hand_since = self._monotonic()
        self._oldest_ms = min(record.timestamp_ms for record in records)

    def finish(self, count: int) -> float:
        """The batch in hand is handled; returns the seconds it took."""
        took = self._monotonic() - (self.in_hand_since or self._monotonic())
        self.handled += count
        self.failed_attempts = 0
        self.in_hand_since = None
        self._oldest_ms = None
        return took

    def fail(self) -> int:
        """The batch in hand was given back; returns how many attempts failed in a row."""
        self.failed_attempts += 1
        self.in_hand_since = None
        return self.failed_attempts

    def see(self, behind: bool) -> None:
        """Note whether records wait on the bus that were not polled yet.

        Being behind counts from when nothing has moved since it was first seen.
        """
        if not behind:
            self.behind_since = None
        elif self.behind_since is None or self.handled != self._handled_when_seen_behind:
            self.behind_since = self._monotonic()
            self._handled_when_seen_behind = self.handled

    def stuck_seconds(self) -> float:
        """How long records have waited without any being polled or handled; 0 while one moves."""
        if self.behind_since is None or self.handled != self._handled_when_seen_behind:
            return 0.0
        if self.in_hand_since is not None or self.failed_attempts:
            return 0.0
        return self._monotonic() - self.behind_since

    def oldest_unhandled_seconds(self) -> float:
        """Age of the oldest record known to wait, by the time it was written; 0 for none."""
        if self._oldest_ms is not None:
            return max(0.0, self._wall() - self._oldest_ms / 1000)
        return self.stuck_seconds()
