"""Which cases stand still because a record of theirs lies among the dead letters.

Every instance that shows cases follows the dead letters of all services: the topics alone say what
lies aside, so a case is unblocked everywhere as soon as its letter is taken off.
"""

import asyncio
from collections.abc import Mapping
from datetime import datetime

import structlog

from contracts.dead_letters import ALARM_AFTER, Block, DeadLetter
from contracts.topics import SERVICES, dead_letters
from services.chassis import metrics
from services.chassis.bus import Record, WholeTopic
from services.chassis.clock import Clock
from services.chassis.settings import ServiceSettings

log = structlog.get_logger()

_LOOK_EVERY_SECONDS = 60.0
_ALARM_EVERY_LOOKS = 60


class BlockedCases:
    """The dead letters that lie aside, without their payloads, and the cases they belong to."""

    def __init__(self) -> None:
        self._letters: dict[tuple[str, bytes | None], tuple[Block, str | None]] = {}
        self._by_case: dict[str, set[Block]] = {}

    def following(self, settings: ServiceSettings) -> WholeTopic:
        """Return the reader that keeps this current; run it in the background."""
        return WholeTopic(settings, [dead_letters(service) for service in SERVICES], self.apply)

    async def apply(self, record: Record) -> None:
        """Take a letter in, or what takes one off. Raises ValidationError for what is neither."""
        self._take_off(record)
        if record.value is None:
            return
        letter = DeadLetter.model_validate_json(record.value)
        block = letter.block
        self._letters[record.topic, record.key] = block, letter.case_no
        if letter.case_no is not None:
            self._by_case.setdefault(letter.case_no, set()).add(block)

    def _take_off(self, record: Record) -> None:
        block, case_no = self._letters.pop((record.topic, record.key), (None, None))
        if block is None or case_no is None:
            return
        self._by_case[case_no].discard(block)
        if not self._by_case[case_no]:
            del self._by_case[case_no]

    def of(self, case_no: str) -> list[Block]:
        """Return what blocks a case, the oldest first."""
        return sorted(self._by_case.get(case_no, ()), key=lambda block: (block.at, block.origin))

    def count(self, service: str) -> int:
        """Return how many letters of a service lie aside."""
        return sum(block.service == service for block, _ in self._letters.values())

    def since(self) -> Mapping[str, datetime]:
        """Return the blocked cases, each with the time since when."""
        return {case_no: min(b.at for b in blocks) for case_no, blocks in self._by_case.items()}

    def measure(self, now: datetime) -> list[Block]:
        """Set the metrics; return the letters that nobody has seen to for too long."""
        blocks = [block for block, _ in self._letters.values()]
        for service in SERVICES:
            metrics.DEAD_LETTERS_ASIDE.labels(service).set(self.count(service))
        oldest = min((block.at for block in blocks), default=now)
        metrics.OLDEST_DEAD_LETTER_SECONDS.set(max(0.0, (now - oldest).total_seconds()))
        return [block for block in blocks if now - block.at >= ALARM_AFTER]

    async def watch(self, clock: Clock) -> None:
        """Measure for ever, and alarm once an hour; one service is enough to do it."""
        looks = 0
        while True:
            old = self.measure(clock.now())
            if old and looks % _ALARM_EVERY_LOOKS == 0:
                reason = f"not seen to for {ALARM_AFTER.days} days"
                log.critical("dead letters grow old", count=len(old), reason=reason, alarm=True)
            looks = looks + 1 if old else 0
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
