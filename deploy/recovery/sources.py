"""What triage and notify are restored from, each by what it keeps."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Protocol

from contracts import handling as h
from contracts import triage as t
from contracts.envelope import TICK_KEY, TYPE_PREFIX, ContractError, Event, parse
from contracts.policies import Policy
from contracts.requests import OWNER as INTAKE
from contracts.requests import RequestSubmitted
from contracts.topics import HANDLING, REQUESTS, TRIAGE
from deploy.recovery.known_letters import Known, is_known
from deploy.recovery.own_events import OwnEvents
from services.chassis.bus import Record
from services.chassis.documents import Documents
from services.chassis.erasure import ErasedCases
from services.chassis.store import Store
from services.notify.app import DATABASE as NOTIFY_DATABASE
from services.notify.app import GROUP as NOTIFY_GROUP
from services.notify.store import NotifyStore
from services.triage.app import GROUP as TRIAGE_GROUP
from services.triage.store import DATABASE as TRIAGE_DATABASE
from services.triage.store import Parked, TriageStore

_ERASED = TYPE_PREFIX + t.CaseErased.type
_SUBMITTED = TYPE_PREFIX + RequestSubmitted.type


class Beside(Protocol):
    """What one partition of another topic tells about the cases of this one."""

    def take(self, record: Record) -> None:
        """Take a record in."""

    def erased(self, own: OwnEvents) -> set[str]:
        """Return the erased cases."""

    def waiting(self, answered: set[str], erased: set[str]) -> list[Parked]:
        """Return what is to be parked, given the causes that have events."""


class Source(Protocol):
    """A service that is restored. `topic` is its own; `beside` is read too, `is_beside_committed`:
    as far as the service has handled it, else to its end."""

    service: str
    database: str
    group: str
    topic: str
    beside: str
    is_beside_committed: bool
    erased: ErasedCases

    async def prepare(self) -> None:
        """Create the indexes."""

    def documents_of(self, events: Sequence[Event]) -> Documents[Any] | None:
        """Say of which kind a document is; None where none is kept of it."""

    def reader(self, known: Known) -> Beside:
        """Return what takes in one partition of `beside`."""

    async def park(self, parked: Sequence[Parked]) -> None:
        """Keep what waits."""

    async def keep_policies(self, policies: Iterable[bytes]) -> int:
        """Keep what stands on the topic of the policies; return how many."""


class Wishes:
    """Citizens' later words in one partition of `requests.v1`: which nobody has answered yet."""

    def __init__(self, known: Known) -> None:
        self._known = known
        self._wishes: dict[str, Event] = {}

    def take(self, record: Record) -> None:
        """Take a record in, unless it lies among the dead letters or lay there: a person has seen
        to it, or does."""
        if record.key == TICK_KEY or record.headers.get("ce_type") == _SUBMITTED:
            return
        try:
            event = parse(record.headers, record.value)
        except ContractError:
            return
        if event.data.owner != INTAKE or is_known(record, self._known):
            return
        before = self._wishes.get(event.id)
        if before is None or event.data.rev > before.data.rev:
            self._wishes[event.id] = event

    def erased(self, own: OwnEvents) -> set[str]:
        """Triage's own topic says that."""
        return own.cases_with(t.CaseErased.type)

    def waiting(self, answered: set[str], erased: set[str]) -> list[Parked]:
        """Return the wishes without an answer. Since when they wait is not known any more; they
        are taken for as old as they are."""
        return [
            Parked(
                event.redacted() if event.data.case_no in erased and not event.data.rev else event,
                event.data.recorded_at,
            )
            for event in self._wishes.values()
            if f"event:{event.id}" not in answered
        ]


class Erasures:
    """Which cases one partition of `triage.v1` erases."""

    def __init__(self) -> None:
        self._cases: set[str] = set()

    def take(self, record: Record) -> None:
        """Look at a record's headers."""
        if record.headers.get("ce_type") == _ERASED and record.value is not None:
            self._cases.add(record.headers.get("ce_subject", ""))

    def erased(self, own: OwnEvents) -> set[str]:
        """Return those cases."""
        return self._cases

    def waiting(self, answered: set[str], erased: set[str]) -> list[Parked]:
        """Notify parks nothing."""
        return []


class TriageSource:
    """Triage: cases and groups, parked wishes, policies."""

    service, database, group = "triage", TRIAGE_DATABASE, TRIAGE_GROUP
    topic, beside, is_beside_committed = TRIAGE, REQUESTS, True

    def __init__(self, store: Store, group: str) -> None:
        self.group = group
        self._kept = TriageStore(store)
        self.erased = self._kept.erased

    async def prepare(self) -> None:
        """Create the indexes."""
        await self._kept.prepare()

    def documents_of(self, events: Sequence[Event]) -> Documents[Any] | None:
        """Cases and groups. What is of a type unknown to this release decides nothing."""
        for event in events:
            if isinstance(event.data, t.GroupEvent):
                return self._kept.groups
            if isinstance(event.data, t.CaseEvent):
                return self._kept.cases
        return None

    def reader(self, known: Known) -> Beside:
        """Wishes."""
        return Wishes(known)

    async def park(self, parked: Sequence[Parked]) -> None:
        """Keep wishes until they are answered."""
        await self._kept.park(parked)

    async def keep_policies(self, policies: Iterable[bytes]) -> int:
        """Keep them as the desk's call does."""
        count = 0
        for value in policies:
            policy = Policy.model_validate_json(value)
            await self._kept.put_policy(policy.model_dump(mode="json"))
            count += 1
        return count


class NotifySource:
    """Notify: hand-offs and deliveries. What is planned is due at once: whoever planned it may
    have been about to send it."""

    service, database, group = "notify", NOTIFY_DATABASE, NOTIFY_GROUP
    topic, beside, is_beside_committed = HANDLING, TRIAGE, False

    def __init__(self, store: Store, group: str) -> None:
        self.group = group
        self._kept = NotifyStore(store, lease=timedelta(0))
        self.erased = self._kept.erased

    async def prepare(self) -> None:
        """Create the indexes."""
        await self._kept.prepare()

    def documents_of(self, events: Sequence[Event]) -> Documents[Any] | None:
        """Hand-offs, and deliveries that were planned: what was left for the citizen to look up
        is kept nowhere."""
        for event in events:
            if isinstance(event.data, h.HandoffEvent):
                return self._kept.handoffs
            if isinstance(event.data, h.DeliveryPlanned):
                return self._kept.deliveries
            if isinstance(event.data, h.CitizenTold) and event.data.by == "lookup":
                return None
            if isinstance(event.data, h.DeliveryEvent):
                return self._kept.deliveries
        return None

    def reader(self, known: Known) -> Beside:
        """Erasures."""
        return Erasures()

    async def park(self, parked: Sequence[Parked]) -> None:
        """There is nothing."""

    async def keep_policies(self, policies: Iterable[bytes]) -> int:
        """Notify keeps none."""
        return 0


SOURCES: dict[str, type[TriageSource] | type[NotifySource]] = {
    "triage": TriageSource,
    "notify": NotifySource,
}
