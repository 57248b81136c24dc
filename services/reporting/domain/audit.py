"""What the audit is shown of each case, and how all cases are divided into pages of like size."""

from collections.abc import Iterable, Mapping
from typing import Any

from contracts.dead_letters import Block
from contracts.ids import ALPHABET, CASE_NUMBER_LENGTH

PAGE = 500
"""About how many cases a page has."""


def audited(case: Mapping[str, Any], blocks: Iterable[Block]) -> dict[str, Any]:
    """Return what is to be known of a case: complete, waiting where, missing or double what, and
    what blocks it."""
    return {
        "case_no": case["_id"],
        "status": case.get("status", "submitted"),
        "accepted_at": case.get("accepted_at"),
        "is_opened": bool(case.get("is_opened")),
        "incomplete": case.get("incomplete", []),
        "double": case.get("double", []),
        "unknown_types": case.get("unknown_types", []),
        "open_wishes": case.get("open_wishes", 0),
        "tasks": case.get("tasks", []),
        "blocked": [
            {"service": one.service, "origin": one.origin, "reason": one.reason, "since": one.at}
            for one in blocks
        ],
        "erased": bool(case.get("erased")),
    }


def page_end(start: str, cases: int) -> str | None:
    """Return where a page that starts at `start` ends; None for the last page.

    Case numbers are spread evenly, so pages are equal spans of numbers: no page needs a sort over
    all cases. `cases` is how many there are; the length of the spans may change between calls.
    """
    length = 0
    while cases > PAGE * len(ALPHABET) ** length and length < CASE_NUMBER_LENGTH:
        length += 1
    if length == 0:
        return None
    digits = [ALPHABET.index(character) for character in start[:length].ljust(length, ALPHABET[0])]
    for place in reversed(range(length)):
        if digits[place] < len(ALPHABET) - 1:
            digits[place] += 1
            return "".join(ALPHABET[digit] for digit in digits[: place + 1])
        digits[place] = 0
    return None
