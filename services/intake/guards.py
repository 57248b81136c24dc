"""Who may say something about a case: whoever knows its number and its retrieval code."""

import time
from collections.abc import Callable

from contracts import ids
from services.chassis.http import Malformed, NotFound, TooManyRequests
from services.chassis.http.problems import FieldError
from services.intake.domain.limits import Buckets, Tries

_NO_CASE = "0" * ids.CASE_NUMBER_LENGTH
_TRIES_PER_CASE = 10
_TRIES_PER_ADDRESS = 30
_WINDOW_SECONDS = 900.0
_WISHES_PER_MINUTE = 30


class CodeGuard:
    """Checks retrieval codes, and stops whoever guesses.

    50 bits and 10 tries in a quarter of an hour: guessing one case's code takes longer than any
    case lives. A number that was never given out answers as a wrong code does.
    """

    def __init__(self, code_secret: bytes, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._code_secret = code_secret
        self._monotonic = monotonic
        self._by_case = Tries(_TRIES_PER_CASE, _WINDOW_SECONDS)
        self._by_address = Tries(_TRIES_PER_ADDRESS, _WINDOW_SECONDS)
        self._wishes = Buckets()

    def admit(self, written: str, code: str | None, address: str | None) -> str:
        """Return the case number in its stored form.

        `address` is None for a channel: its calls come from one place for all citizens. Raises
        Malformed without a code, NotFound for a wrong pair, TooManyRequests.
        """
        if not code:
            raise Malformed(
                errors=[FieldError("Retrieval-Code", "缺少这个请求头：受理时给的查询码")]
            )
        now = self._monotonic()
        case_no = ids.parse_case_number(written)
        wait = max(
            self._by_case.wait_seconds(case_no, now) if case_no else 0,
            self._by_address.wait_seconds(address, now) if address else 0,
        )
        if wait:
            raise TooManyRequests(wait, "查询码多次不符，请稍后再试。")
        # Compared for a number that is none too, so that the time taken does not tell it.
        matches = ids.is_retrieval_code(self._code_secret, case_no or _NO_CASE, 0, code)
        if case_no is None or not matches:
            if case_no:
                self._by_case.fail(case_no, now)
            if address:
                self._by_address.fail(address, now)
            raise NotFound("编号或查询码不符，请核对后再试。")
        if wait := self._wishes.take(case_no, _WISHES_PER_MINUTE, now):
            raise TooManyRequests(wait)
        return case_no


class ChannelGuard:
    """Holds each channel to its profile's calls a minute, in this process."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._calls = Buckets()

    def admit(self, channel: str, per_minute: int) -> None:
        """Let a call pass. Raises TooManyRequests."""
        if wait := self._calls.take(channel, per_minute, self._monotonic()):
            raise TooManyRequests(wait, f"这个渠道每分钟最多 {per_minute} 次。")
