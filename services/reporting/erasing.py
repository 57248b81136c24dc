"""Erasure at reporting: what it holds of a case it takes from the log, redactions too. Its dead
letters alone hold records whole; those of erased cases are taken off.
"""

import asyncio

import structlog

from contracts.topics import dead_letters
from contracts.triage import CaseErased
from services.chassis.blocked import BlockedCases
from services.chassis.bus import Publisher
from services.chassis.letters_of import drop_letters, names_in
from services.chassis.redaction import read_partition
from services.chassis.telemetry import error_fields
from services.reporting.live import LiveReads
from services.reporting.store import Projection

_LOOK_EVERY_SECONDS = 5.0

log = structlog.get_logger()


class LettersOfErased:
    """Takes reporting's dead letters of erased cases off; run it in every process.

    That a letter lies aside is known to each process anyway, so without one nothing is read.
    """

    def __init__(
        self, kafka_url: str, publisher: Publisher, blocked: BlockedCases, reads: LiveReads
    ) -> None:
        self._kafka_url = kafka_url
        self._publisher = publisher
        self._blocked = blocked
        self._reads = reads

    async def run(self) -> None:
        """Look for ever; trouble with store or bus is passing."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            try:
                await self.run_once()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next look comes
                log.warning("dead letters not looked through", **error_fields(error))

    async def run_once(self) -> int:
        """Look once; return how many letters were taken off."""
        if not self._blocked.count("reporting"):
            return 0
        by_letter: dict[bytes | None, frozenset[str]] = {}  # one that was taken off names nobody
        async for record in read_partition(self._kafka_url, dead_letters("reporting"), 0):
            by_letter[record.key] = names_in(record.value or b"")
        names = {name for named in by_letter.values() for name in named}
        dropped = 0
        for case_no in sorted(await self._reads.ask(lambda held: _erased(held, names))):
            publish = self._publisher.publish_all
            dropped += await drop_letters(self._kafka_url, "reporting", case_no, publish)
        if dropped:
            log.info("dead letters of erased cases taken off", count=dropped)
        return dropped


async def _erased(held: Projection, names: set[str]) -> set[str]:
    known = await held.known(names)
    return {
        case_no
        for case_no, one in known.items()
        if any(isinstance(event.data, CaseErased) for event in one.events.values())
    }
