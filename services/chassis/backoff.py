"""How long to wait before another attempt."""

import random


def backoff_seconds(attempt: int, *, first: float, longest: float) -> float:
    """The wait after the `attempt`-th failure (from 1): doubled each time, up to `longest`.

    A random half of it is taken off, so that processes that failed together don't return together.
    """
    whole = min(longest, first * 2.0 ** min(attempt - 1, 30))
    return whole * random.uniform(0.5, 1.0)  # noqa: S311 -- spread, not secrecy
