"""A history of one case as its three owners would write it, through the real contract models.

A `History` keeps what was written, the owners' own documents, and what each service has yet to
take in. What the owners do with it stands in `triage_rules.py` and `notify_rules.py`, what people
do in `acts.py` and the modules it names.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar

from contracts import handling as h
from contracts import ids
from contracts import triage as t
from contracts.envelope import Event, EventData
from contracts.lifecycle import (
    CaseDocument,
    DeliveryDocument,
    GroupDocument,
    HandoffDocument,
    next_lc,
)
from contracts.vocabulary import (
    Contact,
    Deadline,
    DeadlineKind,
    Location,
    OnBehalfOf,
    RequestContent,
)

T = TypeVar("T")
START = datetime(2022, 1, 11, 8, tzinfo=UTC)
DEPARTMENTS = ("health", "transport", "supplies", "education")
DESK = ("li", "wang", "zhao")

MARKER = "PERSONALMARK"
"""Stands in every personal text of a history, so that what survives an erasure can be found."""
PERSONAL_NUMBERS = (33.62471, 114.69543, 78.125)
"""Latitude, longitude and age, found in bytes like the marker."""


class Choose(Protocol):
    """Where a history gets its decisions from."""

    def __call__(self, options: Sequence[T], /) -> T:
        """Return one of the options, of which there is at least one."""


def case_number(n: int) -> str:
    """Return the number of the n-th case of these tests."""
    return ids.case_number(b"contract tests", "app", str(n))


@dataclass
class History:
    """What was written about one case, in the order of writing."""

    case_no: str
    events: list[Event] = field(default_factory=list)
    case: CaseDocument = field(init=False)
    handoffs: dict[str, HandoffDocument] = field(default_factory=dict)
    deliveries: dict[str, DeliveryDocument] = field(default_factory=dict)
    groups: dict[str, GroupDocument] = field(default_factory=dict)
    for_triage: deque[Event] = field(default_factory=deque)
    for_notify: deque[Event] = field(default_factory=deque)
    now: datetime = START
    is_erased: bool = False
    commands: int = 0
    done: list[str] = field(default_factory=list)
    """Names of the acts, for the reader of a failing example."""
    _ordinals: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.case = CaseDocument(self.case_no, self.case_no)

    def command(self) -> str:
        """Return the cause of something that a person does."""
        self.commands += 1
        return f"command:{self.commands}"

    def words(self, what: str) -> str | None:
        """Return a personal text; once the case is erased there is none any more."""
        return None if self.is_erased else f"{MARKER} {what}"

    def content(self) -> RequestContent:
        """Return the content of a request with every personal field filled."""
        if self.is_erased:
            return RequestContent(channel="app")
        lat, lon, age = PERSONAL_NUMBERS
        return RequestContent(
            channel="app",
            text=self.words("text"),
            location=Location(address=self.words("address"), lat=lat, lon=lon),
            contact=Contact(name=self.words("name"), phone=self.words("phone")),
            on_behalf_of=OnBehalfOf(
                relation=self.words("relation"), age=age, situation=self.words("situation")
            ),
            external_id=self.words("external id"),
            callback_url=self.words("callback"),
        )

    def clock(self, kind: DeadlineKind, versions: Mapping[str, int], hours: float = 3) -> Deadline:
        """Return a deadline as its owner sets it, one version after the last."""
        due = self.now + timedelta(hours=hours)
        return Deadline(
            name=str(kind),
            kind=kind,
            version=versions.get(str(kind), 0) + 1,
            due_at=due,
            near_at=due - timedelta(hours=hours / 4),
        )

    def by_intake(self, of: type[EventData], **fields: Any) -> Event:
        """Write a fact or wish of the citizen."""
        return self._write(of, None, self.command(), document_id=self.case_no, lc=1, **fields)

    def by_triage(self, of: type[t.CaseEvent], cause: Event | str, **fields: Any) -> Event:
        """Write the next event of the case document."""
        fields.setdefault("round", self.case.round)
        return self._write(of, self.case, cause, **fields)

    def by_group(
        self, of: type[t.GroupEvent], group_id: str, cause: Event | str, **fields: Any
    ) -> Event:
        """Write the next event of the document of a group whose anchor this case is."""
        group = self.groups.setdefault(group_id, GroupDocument(group_id, self.case_no))
        return self._write(of, group, cause, group_id=group_id, **fields)

    def by_handoff(
        self, of: type[h.HandoffEvent], order: t.HandoffOrder, cause: Event | str, /, **fields: Any
    ) -> Event:
        """Write the next event of the document of a hand-off."""
        handoff_id = order.handoff_id
        handoff = self.handoffs.setdefault(handoff_id, HandoffDocument(handoff_id, self.case_no))
        ordered = self.case.orders[handoff_id]
        return self._write(
            of,
            handoff,
            cause,
            handoff_id=handoff_id,
            role=order.role,
            attempt=order.attempt,
            department=order.department,
            round=ordered.round,
            **fields,
        )

    def by_delivery(
        self, of: type[h.DeliveryEvent], delivery_id: str, cause: Event | str, **fields: Any
    ) -> Event:
        """Write the next event of the document of a delivery."""
        delivery = self.deliveries.setdefault(
            delivery_id, DeliveryDocument(delivery_id, self.case_no)
        )
        fields.setdefault("tells", delivery.tells)
        fields.setdefault("step", delivery.step)
        return self._write(of, delivery, cause, delivery_id=delivery_id, **fields)

    def redact(self) -> None:
        """Every owner publishes what it wrote once more, without what is personal."""
        self.is_erased = True
        self.events.extend(event.redacted() for event in list(self.events))
        newest = {event.id: event for event in self.events}
        for document in self.documents():
            own = [e for e in newest.values() if e.data.document_id == document.document_id]
            fresh = type(document)(document.document_id, document.case_no)
            for event in sorted((e for e in own if e.data.seq), key=lambda e: e.data.seq or 0):
                fresh.apply(event)
            self._keep(fresh)

    def documents(
        self,
    ) -> list[CaseDocument | HandoffDocument | DeliveryDocument | GroupDocument]:
        """Return the owners' documents."""
        return [
            self.case,
            *self.handoffs.values(),
            *self.deliveries.values(),
            *self.groups.values(),
        ]

    def _keep(
        self, document: CaseDocument | HandoffDocument | DeliveryDocument | GroupDocument
    ) -> None:
        match document:
            case CaseDocument():
                self.case = document
            case HandoffDocument():
                self.handoffs[document.document_id] = document
            case DeliveryDocument():
                self.deliveries[document.document_id] = document
            case GroupDocument():
                self.groups[document.document_id] = document

    def _write(
        self,
        of: type[EventData],
        document: CaseDocument | HandoffDocument | DeliveryDocument | GroupDocument | None,
        cause: Event | str,
        **fields: Any,
    ) -> Event:
        self.now += timedelta(minutes=3)
        caused_by = f"event:{cause.id}" if isinstance(cause, Event) else cause
        if document is not None:
            fields["document_id"] = document.document_id
            fields["seq"] = document.seq + 1
            fields["lc"] = next_lc(document, cause.data if isinstance(cause, Event) else None)
        ordinal = self._ordinals.get((fields["document_id"], of.type, caused_by), 0)
        self._ordinals[fields["document_id"], of.type, caused_by] = ordinal + 1
        data = of(
            case_no=self.case_no,
            caused_by=caused_by,
            occurred_at=self.now,
            recorded_at=self.now,
            **fields,
        )
        id_ = ids.event_id(self.case_no, fields["document_id"], of.type, caused_by, ordinal)
        event = Event.of(id_, data)
        if document is not None:
            document.apply(event)
        self.events.append(event)
        if of.owner == t.OWNER:
            self.for_notify.append(event)
        else:
            self.for_triage.append(event)
        return event
