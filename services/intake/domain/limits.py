"""How often somebody may call, counted in this process alone: guards, not accounts.

Times are seconds of a clock that never goes back. Both keep a bounded number of callers and
forget the one that was quiet longest.
"""

import math
from collections import OrderedDict

_REMEMBERED = 20_000


class Buckets:
    """So many calls a minute for each caller, a minute's worth of them at once."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str, per_minute: int, now: float) -> int:
        """Take one call; return 0, or after how many whole seconds there is one again."""
        left, at = self._left.pop(caller, (float(per_minute), now))
        left = min(float(per_minute), left + (now - at) * per_minute / 60)
        allowed = left >= 1
        self._left[caller] = (left - 1 if allowed else left, now)
        if len(self._left) > _REMEMBERED:
            self._left.popitem(last=False)
        return 0 if allowed else max(1, math.ceil((1 - left) * 60 / per_minute))


class Tries:
    """Failed tries at a secret: after `limit` of them within `window_seconds` nothing is tried."""

    def __init__(self, limit: int, window_seconds: float) -> None:
        self._limit = limit
        self._window = window_seconds
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def wait_seconds(self, subject: str, now: float) -> int:
        """Return 0, or after how many whole seconds the subject may be tried again."""
        failed = self._recent(subject, now)
        if len(failed) < self._limit:
            return 0
        return max(1, math.ceil(failed[-self._limit] + self._window - now))

    def fail(self, subject: str, now: float) -> None:
        """Note a failed try."""
        self._failed[subject] = [*self._recent(subject, now), now][-self._limit :]
        self._failed.move_to_end(subject)
        if len(self._failed) > _REMEMBERED:
            self._failed.popitem(last=False)

    def _recent(self, subject: str, now: float) -> list[float]:
        return [at for at in self._failed.get(subject, ()) if at > now - self._window]
