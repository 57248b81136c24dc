"""The documents that a batch or a command concerns, what is recorded on them, and what follows.

An event of a hand-off goes to the department (its feed, or a delivery by HTTP), to the citizen
(a delivery to the channel, or left for lookup) and to `handling.v1`; all three follow from the
event alone, so a second delivery of an input finds what was decided and repeats it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from contracts import handling as h
from contracts.envelope import Event
from contracts.feeds import HandoffState
from contracts.ids import delivery_id
from contracts.lifecycle import DeliveryDocument, HandoffDocument
from contracts.profile import Profile
from contracts.telling import Told, told_step
from contracts.topics import FEED_PARTITIONS, feed, partition_for
from contracts.triage import CaseErased
from contracts.vocabulary import Tier
from services.chassis.batches import Undecidable, outgoing
from services.chassis.bus import Outgoing
from services.chassis.documents import Unit
from services.chassis.kept import Kept
from services.notify.departments import Departments
from services.notify.domain import handoffs
from services.notify.domain.because import Because
from services.notify.domain.deliveries import (
    Patience,
    callback_id,
    leave_for_lookup,
    plan_callback,
    plan_handoff,
    settle,
)
from services.notify.domain.feed import feed_document, is_seen_by_department, notice_of
from services.notify.store import PLANNED, NotifyStore

ERASED = "erased"
"""The step of a delivery that tells a department's server to delete its copy."""
OUTCOME_STEPS = frozenset({"answered", "resolved", "not_accepted", "withdrawn"})
"""The steps of which a citizen must have been told before a round can end."""

ORDERED = "ordered"
"""The step of a delivery that brings the order itself."""

Decide = Callable[[Kept[HandoffDocument]], None]


@dataclass(frozen=True, slots=True)
class Place:
    """What all work of this service is done with."""

    profile: Profile
    departments: Departments
    documents: NotifyStore
    patience: Patience


@dataclass(slots=True)
class Work:
    """One batch or command under way. `planned` is what the sender may start with once the rest
    is saved and published."""

    place: Place
    unit: Unit
    now: datetime
    handoffs: dict[str, Kept[HandoffDocument]] = field(default_factory=dict)
    deliveries: dict[str, Kept[DeliveryDocument]] = field(default_factory=dict)
    channels: dict[str, str] = field(default_factory=dict)
    planned: list[Kept[DeliveryDocument]] = field(default_factory=list)

    def take_handoffs(self, kept: Iterable[Kept[HandoffDocument]]) -> None:
        """Take hand-offs that were read into the work."""
        for one in kept:
            self.handoffs[one.document.document_id] = one
            self.unit.add(self.place.documents.handoffs, one)

    def take_deliveries(self, kept: Iterable[Kept[DeliveryDocument]]) -> None:
        """Take deliveries that were read into the work."""
        for one in kept:
            self.deliveries[one.document.document_id] = one
            self.unit.add(self.place.documents.deliveries, one)

    def handoff(self, handoff_id: str) -> Kept[HandoffDocument]:
        """Return a hand-off that must be there. Raises Undecidable."""
        kept = self.handoffs.get(handoff_id)
        if kept is None or kept.document.seq == 0:
            raise Undecidable("names a hand-off that is not known")
        return kept

    def knows(self, event: Event) -> bool:
        """Whether anything was decided for an event already, as far as its documents are here."""
        cause = f"event:{event.id}"
        return any(one.document.has_cause(cause) for one in self.handoffs.values()) or any(
            one.document.has_cause(cause) for one in self.deliveries.values()
        )

    def new_handoff(self, handoff_id: str, case_no: str) -> Kept[HandoffDocument]:
        """Return a hand-off that begins now, unless it was read."""
        if handoff_id not in self.handoffs:
            self.take_handoffs([self.place.documents.handoffs.create(handoff_id, case_no)])
        return self.handoffs[handoff_id]

    def on(self, kept: Kept[HandoffDocument], cause: str, decide: Decide) -> list[Outgoing]:
        """Decide once for a cause, and return what the world is told of it."""
        if not kept.document.has_cause(cause):
            decide(kept)
        events = kept.of_cause(cause)
        published = self.feed_of(kept, events)
        published += [outgoing(event) for event in events]
        for event in events:
            published += self._post(kept, event)
            published += self._tell_of_handoff(kept, event)
        return published

    def feed_of(self, kept: Kept[HandoffDocument], events: Iterable[Event]) -> list[Outgoing]:
        """Return the feed record that these events call for, if the department reads a feed."""
        department = kept.document.department
        if not self.place.departments.takes_feed(department):
            return []
        if not any(is_seen_by_department(event) for event in events):
            return []
        return [feed_record(kept)]

    def tell(
        self,
        event: Event,
        told: Told,
        *,
        callback_url: str | None,
        channel: str | None,
        tier: Tier | None,
    ) -> list[Outgoing]:
        """Tell the citizen of an event: once, to the channel's address or else for lookup, where
        only outcomes need telling, since the timeline shows the rest by itself."""
        if event.data.case_no in self.place.documents.erased:
            return self._tell_of_erased(event, told)
        if callback_url is None:
            return self._left_for_lookup(event, told) if told.is_outcome else []
        kept = self._delivery(callback_id(event, callback_url), event.data.case_no)
        cause = f"event:{event.id}"
        if not kept.document.has_cause(cause):
            plan_callback(
                kept,
                event,
                told,
                self.now,
                callback_url=callback_url,
                channel=channel,
                unit=self.place.departments.name(told.department) if told.department else None,
                give_up_at=self.now + self.place.patience.of(tier),
            )
            self.planned.append(kept)
        return [outgoing(one) for one in kept.of_cause(cause)]

    def _tell_of_erased(self, event: Event, told: Told) -> list[Outgoing]:
        """What was to be told before the erasure stands as it ended; else nobody is addressed any
        more, and an outcome is left for lookup."""
        before = [
            one
            for one in self.deliveries.values()
            if one.document.tells == event.id and one.document.purpose == "callback"
        ]
        if not before:
            return self._left_for_lookup(event, told) if told.is_outcome else []
        return [outgoing(own) for one in before for own in one.of_cause(f"event:{event.id}")]

    def erase(self, event: Event) -> list[Outgoing]:
        """Let nothing personal of a case go out any more, and tell the departments that have it
        to delete their copies. An order that was not sent yet becomes a person's task."""
        case_no = event.data.case_no
        because = Because.of(event, self.now)
        published: list[Outgoing] = []
        for kept in [one for one in self.handoffs.values() if one.document.case_no == case_no]:
            if kept.document.order is None:
                continue
            published += self.on(
                kept, because.cause, lambda k: handoffs.undeliverable(because, k, ERASED)
            )
            if self.place.departments.takes_feed(kept.document.department):
                published.append(feed_record(kept))
            published += self.post_erasure(kept, event)
        waiting = [
            one
            for one in self.deliveries.values()
            if one.document.case_no == case_no and one.document.step != ERASED
        ]
        return published + self.cancel_all(because, waiting)

    def post_erasure(self, kept: Kept[HandoffDocument], event: Event) -> list[Outgoing]:
        """Plan to tell a server that was sent a hand-off to delete its copy; once for each."""
        handoff = kept.document
        url = self.place.departments.url(handoff.department)
        if url is None or handoff.sent_by != "http":
            return []
        id_ = erasure_id(handoff, url)
        delivery = self._delivery(id_, handoff.case_no)
        if delivery.document.seq == 0:
            tier = handoff.order.tier if handoff.order else None
            give_up_at = self.now + self.place.patience.of(tier)
            plan_handoff(delivery, kept, event, ERASED, self.now, url=url, give_up_at=give_up_at)
            self.planned.append(delivery)
        return [outgoing(one) for one in delivery.of_cause(f"event:{event.id}")]

    def _left_for_lookup(self, event: Event, told: Told) -> list[Outgoing]:
        """Tell an outcome by letting it stand where the citizen looks it up.

        Nothing is attempted, so nothing is kept: the one event of this delivery follows from the
        outcome alone, times included, and a second delivery of that writes the same bytes.
        """
        id_ = callback_id(event, None)
        kept = self.place.documents.deliveries.create(id_, event.data.case_no)
        leave_for_lookup(kept, event, told, event.data.recorded_at)
        return [outgoing(one) for one in kept.events]

    def cancel(self, because: Because, kept: Kept[HandoffDocument]) -> list[Outgoing]:
        """Cancel what is still to be posted about a hand-off, but for news of this very cause."""
        own = {event.id for event in kept.of_cause(because.cause)}
        waiting = [
            one
            for one in self.deliveries.values()
            if one.document.handoff_id == kept.document.document_id
            and one.document.tells not in own
        ]
        return self.cancel_all(because, waiting)

    def cancel_all(
        self, because: Because, waiting: Iterable[Kept[DeliveryDocument]]
    ) -> list[Outgoing]:
        """Cancel deliveries that are planned; one in flight finds itself cancelled afterwards."""
        published: list[Outgoing] = []
        for one in waiting:
            if one.document.state == PLANNED:
                self._let_go(one, because)
            published += [outgoing(event) for event in one.of_cause(because.cause)]
        return published

    def _let_go(self, one: Kept[DeliveryDocument], because: Because) -> None:
        """Cancel a delivery. An outcome that an erasure keeps from being posted is left for
        lookup, so that its round can end."""
        ground = because.after.type if because.after else "sent"
        if isinstance(because.after, CaseErased) and one.document.step in OUTCOME_STEPS:
            told: dict[str, Any] = {"by": "lookup", "told_at": self.now}
            attempts = one.document.attempts
            settle(one, h.CitizenTold, because.cause, self.now, attempts=attempts, **told)
        else:
            settle(one, h.DeliveryCancelled, because.cause, self.now, ground=ground)

    def _delivery(self, document_id: str, case_no: str) -> Kept[DeliveryDocument]:
        if document_id not in self.deliveries:
            self.take_deliveries([self.place.documents.deliveries.create(document_id, case_no)])
        return self.deliveries[document_id]

    def _post(self, kept: Kept[HandoffDocument], event: Event) -> list[Outgoing]:
        """Post an order, or news of one that was posted, to a department that takes HTTP."""
        handoff = kept.document
        url = self.place.departments.url(handoff.department)
        step = ORDERED if isinstance(event.data, h.HandoffQueued) else notice_of(event)
        if url is None or step is None:
            return []
        if step != ORDERED and handoff.sent_by != "http":
            return []
        return self.post_news(kept, event, step, url)

    def post_news(
        self, kept: Kept[HandoffDocument], event: Event, step: str, url: str
    ) -> list[Outgoing]:
        """Plan to post a hand-off to its department's server because of an event."""
        case_no = kept.document.case_no
        delivery = self._delivery(delivery_id(case_no, event.id, url), case_no)
        cause = f"event:{event.id}"
        if not delivery.document.has_cause(cause):
            if step == ORDERED and kept.document.state != HandoffState.QUEUED:
                return []
            order = kept.document.order
            give_up_at = self.now + self.place.patience.of(order.tier if order else None)
            plan_handoff(delivery, kept, event, step, self.now, url=url, give_up_at=give_up_at)
            self.planned.append(delivery)
        return [outgoing(one) for one in delivery.of_cause(cause)]

    def _tell_of_handoff(self, kept: Kept[HandoffDocument], event: Event) -> list[Outgoing]:
        told = told_step(event, self.place.profile)
        order = kept.document.order
        if told is None or order is None:
            return []
        return self.tell(
            event,
            told,
            callback_url=order.request.callback_url,
            channel=order.request.channel,
            tier=order.tier,
        )


def erasure_id(handoff: HandoffDocument, url: str) -> str:
    """Return the id of the delivery that tells a server to delete its copy of a hand-off."""
    return delivery_id(handoff.case_no, f"{ERASED}/{handoff.document_id}", url)


def feed_record(kept: Kept[HandoffDocument]) -> Outgoing:
    """Return the record that shows a hand-off to its department as it is now."""
    handoff = kept.document
    return Outgoing(
        topic=feed(handoff.department),
        key=handoff.document_id.encode(),
        value=feed_document(kept).model_dump_json(exclude_none=True).encode(),
        headers={"content-type": "application/json"},
        partition=partition_for(handoff.case_no, FEED_PARTITIONS),
    )
