"""What triage itself keeps of an erased case: its document and wishes that still wait."""

from collections.abc import Iterable
from dataclasses import dataclass

from contracts.envelope import Event
from contracts.triage import CaseErased
from services.chassis.documents import Publish
from services.chassis.erasure import NotErasedYet
from services.triage.store import TriageStore


@dataclass(frozen=True, slots=True)
class Copies:
    """Redacts the copies that triage keeps. Groups stay: what they say is of all members."""

    kept: TriageStore
    publish: Publish

    async def redact(self, case_no: str) -> int:
        """Redact the case's document and parked wishes, and publish what was redacted; return how
        many copies those were. Raises NotErasedYet, StoreUnavailable, BusUnavailable."""
        found = (await self.kept.cases.load([case_no])).get(case_no)
        if found is None or not found.document.erased:
            raise NotErasedYet
        redacted = await self.kept.cases.redact({"_id": case_no})
        parked = await self.kept.redact_parked(case_no)
        await self.publish(redacted)
        return len(redacted) + parked


def erased_by(events: Iterable[Event]) -> set[str]:
    """Return the cases that these events erase."""
    return {event.data.case_no for event in events if isinstance(event.data, CaseErased)}
