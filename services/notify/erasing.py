"""What notify itself keeps of an erased case: hand-offs, deliveries, and the feeds it wrote."""

from collections.abc import Collection
from dataclasses import dataclass

from services.chassis.batches import outgoing
from services.chassis.bus import Publisher
from services.notify.work import Place, feed_record

_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Copies:
    """Redacts the copies that notify keeps."""

    place: Place
    publisher: Publisher

    async def redact(self, case_no: str) -> int:
        """Redact a case's documents, and publish them and its feed records as they are then.

        The feed records are written whether or not anything was redacted now: an earlier one may
        have landed late. Returns how many events were redacted. Raises StoreUnavailable and
        BusUnavailable.
        """
        documents = self.place.documents
        of_case = {"case_no": case_no}
        redacted = await documents.handoffs.redact(of_case)
        redacted += await documents.deliveries.redact(of_case)
        feeds = [
            feed_record(kept)
            for kept in await documents.handoffs_of([case_no])
            if self.place.departments.takes_feed(kept.document.department)
        ]
        records = [*feeds, *map(outgoing, redacted)]
        await self.publisher.publish_all(records, _SECONDS)
        return len(redacted)

    async def handoff_ids(self, case_no: str) -> Collection[str]:
        """Return a case's hand-offs: departments' replies name the case by these alone."""
        return [
            one.document.document_id for one in await self.place.documents.handoffs_of([case_no])
        ]
