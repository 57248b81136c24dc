"""What an attempt to deliver came to, and what follows from it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum

LONGEST_RETRY_AFTER_SECONDS = 3_600.0


class Failure(StrEnum):
    """Why an attempt failed, in the words of a small fixed vocabulary."""

    TIMEOUT = "timeout"
    NO_CONNECTION = "no_connection"
    SERVER_ERROR = "server_error"
    TOO_MANY_REQUESTS = "too_many_requests"
    REFUSED = "refused"
    REDIRECTED = "redirected"
    ADDRESS_FORBIDDEN = "address_forbidden"
    ADDRESS_INVALID = "address_invalid"
    RECEIVER_UNKNOWN = "receiver_unknown"
    TOO_OLD = "too_old"

    @property
    def is_permanent(self) -> bool:
        """Whether another attempt would fail alike."""
        return self in _PERMANENT


_PERMANENT = frozenset(
    {
        Failure.REFUSED,
        Failure.REDIRECTED,
        Failure.ADDRESS_FORBIDDEN,
        Failure.ADDRESS_INVALID,
        Failure.RECEIVER_UNKNOWN,
        Failure.TOO_OLD,
    }
)
_PASSING_STATUS = frozenset({408, 425})


@dataclass(frozen=True, slots=True)
class Attempted:
    """The outcome of one attempt: taken, with the receipt if one was given, or failed."""

    failure: Failure | None = None
    receipt: str | None = None
    retry_after_seconds: float | None = None


def judged(status: int, retry_after: str | None, receipt: str | None, now: datetime) -> Attempted:
    """Return what a receiver's answer means. Redirects are never followed: they would take the
    citizen's words to an address that nobody checked."""
    if 200 <= status < 300:
        return Attempted(receipt=receipt)
    wait = retry_after_seconds(retry_after, now)
    if status == 429:
        return Attempted(Failure.TOO_MANY_REQUESTS, retry_after_seconds=wait)
    if status >= 500 or status in _PASSING_STATUS:
        return Attempted(Failure.SERVER_ERROR, retry_after_seconds=wait)
    return Attempted(Failure.REDIRECTED if 300 <= status < 400 else Failure.REFUSED)


def retry_after_seconds(header: str | None, now: datetime) -> float | None:
    """Return the seconds that `Retry-After` asks for (RFC 9110, section 10.2.3), at most an hour;
    None if it is missing or unreadable."""
    if not header:
        return None
    if header.strip().isascii() and header.strip().isdigit():
        seconds = float(header.strip()[:9])
    else:
        try:
            moment = parsedate_to_datetime(header)
        except ValueError:
            return None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = (moment - now).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)
