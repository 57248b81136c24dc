"""Why and when something is decided: what all decisions of notify are recorded with."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from contracts.envelope import Event, EventData
from contracts.handling import HandoffEvent
from contracts.lifecycle import HandoffDocument
from contracts.triage import HandoffOrder
from services.chassis.kept import Kept


@dataclass(frozen=True, slots=True)
class Because:
    """What a decision is made with. `after` is the event that it answers, if one did;
    `acted_at` when it happened in the world, if not now."""

    cause: str
    now: datetime
    after: EventData | None = None
    acted_at: datetime | None = None
    traceparent: str | None = None

    @classmethod
    def of(cls, event: Event, now: datetime) -> "Because":
        """Because of an event of the same case."""
        return cls(f"event:{event.id}", now, event.data, traceparent=event.traceparent)

    def record(
        self, kept: Kept[HandoffDocument], data_type: type[HandoffEvent], **fields: Any
    ) -> Event:
        """Record an event of a hand-off that exists."""
        handoff = kept.document
        return kept.record(
            data_type,
            cause=self.cause,
            now=self.now,
            after=self.after,
            occurred_at=self.acted_at or self.now,
            traceparent=self.traceparent,
            round=handoff.round,
            handoff_id=handoff.document_id,
            role=handoff.role,
            attempt=handoff.attempt,
            department=handoff.department,
            **fields,
        )

    def record_first(
        self,
        kept: Kept[HandoffDocument],
        data_type: type[HandoffEvent],
        order: HandoffOrder,
        round_: int,
        **fields: Any,
    ) -> Event:
        """Record the event that a hand-off begins with."""
        return kept.record(
            data_type,
            cause=self.cause,
            now=self.now,
            after=self.after,
            occurred_at=self.now,
            traceparent=self.traceparent,
            round=round_,
            handoff_id=order.handoff_id,
            role=order.role,
            attempt=order.attempt,
            department=order.department,
            order=order,
            **fields,
        )
