"""Through passing trouble: steps that may be repeated are, for a minute and more.

A minute, since a process that was killed leaves its transaction open in the store for so long, and
with it holds whatever it was writing.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from deploy.recovery.merged import LogUnreadable
from deploy.recovery.rebuilt import RebuildError
from services.chassis.backoff import backoff_seconds
from services.chassis.bus import BusUnavailable
from services.chassis.dead_letters import TooManyDeadLetters
from services.chassis.store import Stale, StoreUnavailable
from services.reporting.store import ProgressLost

_TRIES = 14
_LONGEST_WAIT_SECONDS = 15.0
_PASSING = (StoreUnavailable, BusUnavailable, LogUnreadable, Stale)

T = TypeVar("T")


async def lasting(work: Callable[[], Awaitable[T]]) -> T:
    """Do something that may be repeated. Raises RebuildError when the trouble does not pass; a
    later run goes on from there."""
    attempt = 1
    while True:
        try:
            return await work()
        except _PASSING as error:
            if attempt == _TRIES:
                raise given_up(error) from error
        await asyncio.sleep(backoff_seconds(attempt, first=0.3, longest=_LONGEST_WAIT_SECONDS))
        attempt += 1


@contextlib.contextmanager
def in_one_line() -> Iterator[None]:
    try:
        yield
    except TooManyDeadLetters as error:
        raise RebuildError(
            f"this release cannot read what stands in the log ({error}); the old figures stay"
        ) from error
    except ProgressLost as error:
        raise RebuildError("what was being built is gone; the old figures stay") from error


def given_up(error: Exception) -> RebuildError:
    whose = "Kafka" if isinstance(error, LogUnreadable | BusUnavailable) else "the store"
    return RebuildError(f"{whose} does not go along ({error}); the same command goes on later")
