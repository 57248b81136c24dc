"""Erased cases in an old export: what it holds of the person is not brought back.

Case events come in as the redaction leaves them, feed documents that are not redacted yet and dead
letters not at all, replies without their words. Ask in this order: case topics, then feeds, then
all else, since hand-offs of erased cases are known by then.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

import orjson
from pydantic import ValidationError

import contracts.lifecycle  # noqa: F401 -- with it all event types are known
from contracts.dead_letters import DeadLetter
from contracts.envelope import ContractError, parse
from contracts.ids import ALPHABET, CASE_NUMBER_LENGTH, parse_case_number
from contracts.topics import CASE_TOPICS, POLICIES
from contracts.triage import CaseErased
from deploy.log_archive.errors import ArchiveError
from deploy.log_archive.lines import Line
from services.chassis.bus import repaired_headers

ERASED_MARK = CaseErased.type.encode()
"""What the line of every such event holds."""
_WORDS = ("text", "ground", "acts")
_REMOVED = "（个人信息已清除）"
_NUMBER = re.compile(rf"(?=([{ALPHABET}]{{{CASE_NUMBER_LENGTH}}}))".encode())


class Erasure:
    """What becomes of each record where some cases are erased. Counts what it changed."""

    def __init__(self, case_nos: Iterable[str]) -> None:
        self._cases = frozenset(case_nos)
        self._handoffs: set[str] = set()
        self.redacted = 0
        self.left_out = 0

    def treat(self, topic: str, line: Line) -> Line | None:
        """Return a record as it may be written, None if it may not."""
        if not self._cases or line.value is None or topic == POLICIES:
            return line
        treated = self._treated(topic, line, line.value)
        if treated is None:
            self.left_out += 1
        elif treated is not line:
            self.redacted += 1
        return treated

    def _treated(self, topic: str, line: Line, value: bytes) -> Line | None:
        if topic in CASE_TOPICS:
            return self._event(line, value)
        if topic.startswith("feed."):
            return self._feed(line, value)
        if topic.startswith("replies."):
            return self._reply(line, value)
        return self._letter(line, value)

    def _event(self, line: Line, value: bytes) -> Line | None:
        if line.header("ce_subject") not in self._cases:
            return None if self._is_broken_and_speaks(line, value) else line
        try:
            event = parse(repaired_headers(line.headers), value)
        except ContractError:
            return None
        handoff = getattr(event.data, "handoff_id", None)
        if handoff is not None:
            self._handoffs.add(handoff)
        if event.data.rev > 0 or not event.data.is_of_one_case:
            return line
        return replace(line, value=event.redacted().encoded)

    def _is_broken_and_speaks(self, line: Line, value: bytes) -> bool:
        """Whether a record under no erased case's number is no event and yet names one."""
        if not self._names_case(value):
            return False
        try:
            parse(repaired_headers(line.headers), value)
        except ContractError:
            return True
        return False

    def _feed(self, line: Line, value: bytes) -> Line | None:
        document = _object(value)
        if document.get("case_no") not in self._cases:
            return None if not document and self._names_erased(value) else line
        if line.key is not None:
            self._handoffs.add(line.key.decode("utf-8", "replace"))
        return line if document.get("erased") is True else None

    def _reply(self, line: Line, value: bytes) -> Line | None:
        document = _object(value)
        handoff = document.get("handoff_id")
        if not isinstance(handoff, str) or handoff not in self._handoffs:
            return None if self._names_erased(value) else line
        kept = {name: said for name, said in document.items() if name not in ("person", "contact")}
        kept.update({name: _REMOVED for name in _WORDS if name in kept})
        return replace(line, value=orjson.dumps(kept))

    def _letter(self, line: Line, value: bytes) -> Line | None:
        try:
            letter = DeadLetter.model_validate_json(value)
        except ValidationError:
            return None if self._names_erased(value) else line
        parts = [
            letter.key or b"",
            letter.payload or b"",
            *map(str.encode, letter.headers.values()),
        ]
        return None if any(map(self._names_erased, parts)) else line

    def _names_erased(self, data: bytes) -> bool:
        """Whether the number of an erased case, or the id of a hand-off of one, stands in it."""
        return self._names_case(data) or any(one.encode() in data for one in self._handoffs)

    def _names_case(self, data: bytes) -> bool:
        return any(found.decode() in self._cases for found in _NUMBER.findall(data))


def _object(value: bytes) -> dict[str, Any]:
    try:
        content = orjson.loads(value)
    except orjson.JSONDecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def case_numbers(text: str) -> frozenset[str]:
    """Return the case numbers of a list, one a line; what follows a number on its line is not read.

    Raises ArchiveError, which names the line and not what it holds.
    """
    numbers: set[str] = set()
    for at, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        number = parse_case_number(words[0])
        if number is None:
            raise ArchiveError(f"line {at} of the list of erased cases is no case number")
        numbers.add(number)
    return frozenset(numbers)


def erased_of(lines: Collection[Line]) -> frozenset[str]:
    """Return the cases whose erasure is decided in some of these records of triage's topic."""
    marked = (line for line in lines if line.header("ce_type").endswith(CaseErased.type))
    numbers = (parse_case_number(line.header("ce_subject")) for line in marked)
    return frozenset(number for number in numbers if number is not None)
