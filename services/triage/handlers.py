"""What triage does with each event: the one handler loop of the service."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from contracts import handling as h
from contracts import requests as r
from contracts.envelope import Event
from contracts.lifecycle import CaseDocument
from contracts.profile import Profile
from contracts.triage import CaseErased
from contracts.vocabulary import Decision, Tier
from services.chassis.batches import Input, PutAside, outgoing, read_event, work_through
from services.chassis.bus import Outgoing, Publisher, Record
from services.chassis.clock import Clock
from services.chassis.crash_points import crash_point
from services.chassis.documents import Unit
from services.chassis.kept import Kept
from services.triage.domain.answers import react
from services.triage.domain.classify import Classifier
from services.triage.domain.decide import first_decisions
from services.triage.domain.occasion import Occasion
from services.triage.domain.opening import conflict, open_case
from services.triage.domain.wishes import answer_wish
from services.triage.erasing import erased_by
from services.triage.store import Parked, TriageStore

log = structlog.get_logger()

_ANSWERED_REPORTS = (
    h.HandoffReturned,
    h.HandoffResolved,
    h.HandoffRecalled,
    h.HandoffNotNeeded,
    h.RecallTooLate,
    h.CitizenTold,
    h.ExtensionRequested,
    h.HandoffQuestioned,
    h.HandoffUndeliverable,
    h.HandoffDeadlineFired,
    h.DeliveryExhausted,
)
_OUTCOME_STEPS = frozenset({"answered", "resolved", "not_accepted", "withdrawn"})
"""Only the telling of an outcome means something for a case; most messages tell of other steps."""


@dataclass(slots=True)
class Batch:
    """What a batch is decided with."""

    now: datetime
    cases: dict[str, Kept[CaseDocument]]
    decisions: dict[str, Decision]
    parked: list[Parked] = field(default_factory=list)
    erased: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Triage:
    """The handler of the service with its ports."""

    kept: TriageStore
    profile: Profile
    classifier: Classifier
    clock: Clock
    publisher: Publisher
    dead_letters: PutAside

    async def handle(self, records: list[Record]) -> None:
        """Decide a batch of requests, wishes and reports."""
        batches: list[Batch] = []

        async def load(inputs: Sequence[Input[Event]], unit: Unit) -> Batch:
            batch = await self._load(inputs, unit)
            batches[:] = [batch]
            return batch

        await work_through(
            records,
            read=read,
            load=load,
            decide=self._decide,
            store=self.kept.store,
            publisher=self.publisher,
            dead_letters=self.dead_letters,
        )
        if batches:
            await self.kept.erased.add(batches[0].erased)
        if batches and batches[0].parked:
            await self.kept.park(batches[0].parked)
            crash_point("triage.parked")
            log.warning("wishes parked", count=len(batches[0].parked))

    async def _load(self, inputs: Sequence[Input[Event]], unit: Unit) -> Batch:
        """Read the cases; a new submission's is not read but created, and found if it is there."""
        submitted: dict[str, Event] = {}
        known: set[str] = set()
        for one in inputs:
            case_no = one.read.data.case_no
            is_submission = isinstance(one.read.data, r.RequestSubmitted)
            if is_submission and case_no not in known and unit.attempt == 1:
                submitted.setdefault(case_no, one.read)
            elif case_no not in submitted:
                known.add(case_no)
        documents = self.kept.cases
        cases = dict(documents.remembered([*submitted, *known]))
        cases.update(await documents.load(known - cases.keys()))
        for one in inputs:
            case_no = one.read.data.case_no
            if isinstance(one.read.data, r.RequestSubmitted) and case_no not in cases:
                cases[case_no] = documents.create(case_no, case_no)
        unit.add(documents, *cases.values())
        new = [
            one.read
            for one in inputs
            if isinstance(one.read.data, r.RequestSubmitted) and cases[one.read.data.case_no].is_new
        ]
        decisions: dict[str, Decision] = {}
        if new:
            contents = [e.data.request for e in new if isinstance(e.data, r.RequestSubmitted)]
            made = await asyncio.to_thread(first_decisions, self.classifier, self.profile, contents)
            decisions = {event.id: decision for event, decision in zip(new, made, strict=True)}
        return Batch(self.clock.now(), cases, decisions)

    def _decide(self, batch: Batch, one: Input[Event]) -> list[Outgoing]:
        events = self._decided(batch, one)
        if not one.read.data.rev:  # a copy that holds the person: its owner redacts it once more
            late = erasures_of(batch.cases.get(one.read.data.case_no))
            events += [erasure for erasure in late if erasure not in events]
        batch.erased |= erased_by(events)
        return [outgoing(event) for event in events]

    def _decided(self, batch: Batch, one: Input[Event]) -> list[Event]:
        event = one.read
        cause = f"event:{event.id}"
        kept = batch.cases.get(event.data.case_no)
        if kept is None or (kept.document.seq == 0 and event.id not in batch.decisions):
            batch.parked.append(Parked(event, batch.now))
            return []
        if kept.document.has_cause(cause):
            return kept.of_cause(cause) if not event.data.rev else []
        occasion = Occasion(
            self.profile, batch.now, cause, after=event.data, traceparent=event.traceparent
        )
        return decide(occasion, kept, event, batch.decisions.get(event.id))


def read(record: Record) -> Event | None:
    """Read what concerns triage: requests and wishes, and the reports that it answers.

    What was redacted before it was ever published as it was has to be answered all the same.
    """
    event = read_event(record)
    if event is None:
        return None
    data = event.data
    if isinstance(data, r.RequestSubmitted):
        return event if data.rev == 0 else None
    if data.owner == r.OWNER:
        return event
    if isinstance(data, h.HandoffSent):
        return event if data.by != "feed" else None
    if isinstance(data, h.CitizenTold | h.DeliveryExhausted) and data.step not in _OUTCOME_STEPS:
        return None
    return event if isinstance(data, _ANSWERED_REPORTS) else None


def erasures_of(kept: Kept[CaseDocument] | None) -> list[Event]:
    """Return the event that erased a case, to be published again where a late copy came in."""
    if kept is None or not kept.document.erased:
        return []
    return [event for event in kept.events if isinstance(event.data, CaseErased)][:1]


def decide(
    occasion: Occasion, kept: Kept[CaseDocument], event: Event, first: Decision | None
) -> list[Event]:
    """Record what one event means for its case."""
    data = event.data
    if isinstance(data, r.RequestSubmitted):
        if kept.document.seq == 0:
            if first is None:
                raise ValueError("a new case without a first decision")
            if first.tier == Tier.RED:
                log.warning("red case", case_no=data.case_no, event_id=event.id, alarm=True)
            return open_case(occasion, kept, event.id, data, first)
        return conflict(occasion, kept, event.id, data)
    if data.owner == r.OWNER:
        return answer_wish(occasion, kept, event.id, data)
    return react(occasion, kept, event)
