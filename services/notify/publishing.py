"""Publishing what notify has recorded, feeds first: an event that says "sent" stands on the log
only when the department's feed has the hand-off."""

from collections.abc import Sequence

from contracts.envelope import Event
from contracts.handling import HandoffEvent
from contracts.lifecycle import HandoffDocument
from services.chassis.batches import outgoing
from services.chassis.bus import Publisher
from services.chassis.kept import Kept
from services.notify.domain.feed import is_seen_by_department
from services.notify.work import Place, feed_record

_SECONDS = 10.0


class Publishing:
    """Publishes events of notify's documents, with the feed records that go with them."""

    def __init__(self, place: Place, publisher: Publisher) -> None:
        self._place = place
        self._publisher = publisher

    async def from_store(self, events: Sequence[Event]) -> None:
        """Publish events, the feed records made from the hand-offs as they are stored now: for
        the relay and the sweeper. Raises BusUnavailable and StoreUnavailable."""
        ids = {
            event.data.handoff_id
            for event in events
            if isinstance(event.data, HandoffEvent)
            and is_seen_by_department(event)
            and self._place.departments.takes_feed(event.data.department)
        }
        kept = await self._place.documents.handoffs.load(sorted(ids))
        await self._publish(list(kept.values()), events)

    async def of(self, kept: Kept[HandoffDocument], events: Sequence[Event]) -> None:
        """Publish events with the feed record of the one hand-off in hand."""
        takes_feed = self._place.departments.takes_feed(kept.document.department)
        is_seen = takes_feed and any(is_seen_by_department(event) for event in events)
        await self._publish([kept] if is_seen else [], events)

    async def _publish(
        self, shown: Sequence[Kept[HandoffDocument]], events: Sequence[Event]
    ) -> None:
        records = [feed_record(one) for one in shown]
        records += [outgoing(event) for event in events]
        await self._publisher.publish_all(records, _SECONDS)
