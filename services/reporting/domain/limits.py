"""How often somebody may fail or ask, counted in this process alone: guards, not accounts.

Times are seconds of a clock that never goes back. A bounded number of subjects is remembered;
the one that was quiet longest is forgotten.
"""

import math
from collections import OrderedDict

_REMEMBERED = 20_000


class Tries:
    """After `limit` tries within `window_seconds` the subject has to wait."""

    def __init__(self, limit: int, window_seconds: float) -> None:
        self._limit = limit
        self._window = window_seconds
        self._made: OrderedDict[str, list[float]] = OrderedDict()

    def wait_seconds(self, subject: str, now: float) -> int:
        """Return 0, or after how many whole seconds the subject may try again."""
        made = self._recent(subject, now)
        if len(made) < self._limit:
            return 0
        return max(1, math.ceil(made[-self._limit] + self._window - now))

    def note(self, subject: str, now: float) -> None:
        """Note a try that counts."""
        self._made[subject] = [*self._recent(subject, now), now][-self._limit :]
        self._made.move_to_end(subject)
        if len(self._made) > _REMEMBERED:
            self._made.popitem(last=False)

    def _recent(self, subject: str, now: float) -> list[float]:
        return [at for at in self._made.get(subject, ()) if at > now - self._window]
