"""Who may look a case up: whoever knows its number and its retrieval code."""

import time
from collections.abc import Callable

from contracts import ids
from services.chassis.http import FieldError, Malformed, NotFound, TooManyRequests
from services.reporting.domain.limits import Tries

_NO_CASE = "0" * ids.CASE_NUMBER_LENGTH
_TRIES_PER_CASE = 10
_TRIES_PER_ADDRESS = 60
_WINDOW_SECONDS = 900.0


class CodeGuard:
    """Checks retrieval codes, and stops whoever guesses: 50 bits and 10 tries in a quarter of an
    hour. A number that was never given out is answered as a wrong code is."""

    def __init__(self, code_secret: bytes, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._code_secret = code_secret
        self._monotonic = monotonic
        self._by_case = Tries(_TRIES_PER_CASE, _WINDOW_SECONDS)
        self._by_address = Tries(_TRIES_PER_ADDRESS, _WINDOW_SECONDS)

    def number(self, written: str, code: str | None, address: str) -> str | None:
        """Return the case number as it is stored, None if it is none.

        Raises Malformed without a code, and TooManyRequests.
        """
        if not code:
            raise Malformed(
                errors=[FieldError("Retrieval-Code", "缺少这个请求头：受理时给的查询码")]
            )
        now = self._monotonic()
        case_no = ids.parse_case_number(written)
        wait = max(
            self._by_case.wait_seconds(case_no, now) if case_no else 0,
            self._by_address.wait_seconds(address, now),
        )
        if wait:
            raise TooManyRequests(wait, "查询码多次不符，请稍后再试。")
        return case_no

    def admit(self, case_no: str | None, code_n: int, code: str, address: str) -> str:
        """Return the case number if the code is its own. Raises NotFound.

        The code is compared for a number that is none too, so that the time tells nothing.
        """
        matches = ids.is_retrieval_code(self._code_secret, case_no or _NO_CASE, code_n, code)
        if case_no is not None and matches:
            return case_no
        now = self._monotonic()
        if case_no is not None:
            self._by_case.note(case_no, now)
        self._by_address.note(address, now)
        raise NotFound("编号或查询码不符，请核对后再试。")
