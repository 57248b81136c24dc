"""The audit of one case: its events against each other, the feeds, the replies and the stores."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from contracts import handling as h
from contracts import requests as r
from contracts import triage as t
from contracts.envelope import ContractError, Event
from contracts.lifecycle import (
    CaseState,
    DeliveryDocument,
    Document,
    Phase,
    documents_of,
    state_of,
)
from deploy.audit.beside import FeedEntry, Named, Replied
from deploy.audit.doubles import doubles_of
from deploy.audit.erased import Erasure, erasure_of
from deploy.audit.findings import DeadLetter, Finding, FindingKind, Standing
from deploy.audit.log import Handled, Logged, Place
from deploy.audit.standing import NOTIFY, TRIAGE, Wait, is_overdue, left_open, wait_of
from deploy.audit.stores import OfCase

_UNSEEN_BY_DEPARTMENT = (h.HandoffQueued, h.HandoffUndeliverable, h.HandoffDeadlineFired)
_NAMED = re.compile(r"^hand-off (\S+) is not seen$")


@dataclass(slots=True)
class CaseFile:
    """All that is known of one case: what the log has, and what stands beside it."""

    case_no: str
    records: list[Logged] = field(default_factory=list)
    feeds: Mapping[str, FeedEntry] = field(default_factory=dict)
    stored: OfCase | None = None
    dead_letters: tuple[DeadLetter, ...] = ()


@dataclass(frozen=True, slots=True)
class Beyond:
    """What is known of all cases: how far the services are, and what they put aside."""

    handled: Handled = field(default_factory=Handled)
    aside: frozenset[tuple[str, str]] = frozenset()
    replies: Mapping[str, Sequence[Replied]] = field(default_factory=dict)
    """By hand-off."""
    stores_were_read: bool = False
    feeds_since_ms: int = 0
    """What Kafka took before that may have faded from the feeds."""
    given_up: frozenset[tuple[str, int]] = frozenset()
    """Origins, with times (ms), of records that a person has given up or that were written again:
    that they can't be read is settled."""
    letters_by_name: Mapping[str, Sequence[Named]] = field(default_factory=dict)

    def owes(self, service: str, places: Sequence[Place]) -> bool:
        """Whether a service has passed a record without putting it aside: then it has answered,
        and its answer stands on the log, since it commits after that."""
        if any((service, place.origin) in self.aside for place in places):
            return False
        return any(self.handled.has(service, place) for place in places)


@dataclass(frozen=True, slots=True)
class CaseReport:
    """Where a case stands. `standing` is None for a number that was never submitted."""

    case_no: str
    standing: Standing | None
    sound_standing: Standing | None
    """Where it would stand without its findings."""
    wait: Wait | None
    findings: frozenset[Finding]
    open_wishes: tuple[str, ...]
    parked: tuple[str, ...]
    is_overdue: bool
    is_erasing: bool
    events: int
    state: CaseState

    @property
    def is_erased(self) -> bool:
        """Whether what is personal of it was to go."""
        return self.state.case is not None and self.state.case.erased

    def found(self, findings: frozenset[Finding]) -> "CaseReport":
        """Return this report with other findings."""
        standing = self.sound_standing
        if findings and standing is not None:
            standing = Standing.FAULTY
        return replace(self, findings=findings, standing=standing)


def report_on(file: CaseFile, beyond: Beyond, now: datetime) -> CaseReport:
    """Audit one case."""
    events, places, unreadable = _read(file, beyond)
    state = state_of(file.case_no, events)
    wait = wait_of(state)
    seen = _Seen(file, beyond, state, places)
    unerased, is_erasing = erasure_of(
        Erasure(file.records, state, now),
        list(file.feeds.values()),
        beyond.letters_by_name,
        (file.stored or OfCase()) if beyond.stores_were_read else None,
    )
    findings = frozenset(
        [*unreadable, *unerased, *doubles_of(state, file.feeds.values()), *seen.missing()]
    )
    parked = tuple(file.stored.parked) if file.stored else ()
    standing = _standing(file, state, wait)
    report = CaseReport(
        file.case_no,
        standing,
        standing,
        wait,
        frozenset(),
        _later_words(state),
        parked,
        is_overdue(state, now),
        is_erasing,
        len(state.timeline),
        state,
    )
    return report.found(findings)


def _read(
    file: CaseFile, beyond: Beyond
) -> tuple[list[Event], dict[str, list[Place]], list[Finding]]:
    events: list[Event] = []
    places: dict[str, list[Place]] = {}
    unreadable: list[Finding] = []
    removed = {(one.place.topic, one.key) for one in file.records if one.is_removal}
    for record in file.records:
        if removed and (record.place.topic, record.key) in removed:
            continue
        try:
            event = record.event()
        except ContractError as error:
            if (record.place.origin, record.place.written_ms) in beyond.given_up:
                continue
            what = f"{record.place.origin} breaks the contract at {error.field}"
            unreadable.append(Finding(FindingKind.UNREADABLE, file.case_no, what))
            continue
        events.append(event)
        places.setdefault(event.id, []).append(record.place)
    return events, places, unreadable


def _later_words(state: CaseState) -> tuple[str, ...]:
    """Return the wishes that are open, without the submission that opens the case."""
    first = {e.id for e in state.timeline if isinstance(e.data, r.RequestSubmitted)}
    opened = state.case is not None and state.case.seq > 0
    return tuple(one for one in state.open_wishes if opened or one not in first)


def _standing(file: CaseFile, state: CaseState, wait: Wait | None) -> Standing | None:
    submitted = any(isinstance(e.data, r.RequestSubmitted) for e in state.timeline)
    accepted_by_intake = file.stored is not None and bool(file.stored.accepted)
    if not submitted and not accepted_by_intake:
        return None
    if file.dead_letters:
        return Standing.BLOCKED
    if wait is not None and wait.by_person:
        return Standing.WAITING
    phase = state.case.phase if state.case and state.case.seq else Phase.OPEN
    if phase is Phase.CLOSED:
        return Standing.CLOSED
    return Standing.FINISHED if phase is Phase.FINISHED else Standing.IN_FLIGHT


@dataclass(frozen=True, slots=True)
class _Seen:
    """One case with its places on the log; says what is missing of it."""

    file: CaseFile
    beyond: Beyond
    state: CaseState
    places: Mapping[str, Sequence[Place]]

    def missing(self) -> Iterator[Finding]:
        for kind, what in (
            *self._incomplete(),
            *self._not_logged(),
            *self._stores(),
            *self._unanswered(),
            *self._not_ended(),
            *self._replies(),
            *self._feeds(),
        ):
            yield Finding(kind, self.file.case_no, what)

    def _owes(self, service: str, event_id: str | None) -> bool:
        return event_id is not None and self.beyond.owes(service, self.places.get(event_id, ()))

    def _incomplete(self) -> Iterator[tuple[FindingKind, str]]:
        """What the fold calls incomplete, but for orders that notify has yet to take in."""
        ordered = {
            event.data.handoff_id: event.id
            for event in self.state.timeline
            if isinstance(event.data, t.HandoffOrdered)
        }
        for said in self.state.incomplete:
            named = _NAMED.match(said)
            if named is not None:
                if self._owes(NOTIFY, ordered.get(named[1])):
                    yield FindingKind.UNSEEN_DOCUMENT, said
            elif said.startswith("document "):
                yield FindingKind.GAP, said
            elif said.startswith(("cause ", "superseded event ", "submission ")):
                yield FindingKind.UNSEEN_CAUSE, said
            else:
                yield FindingKind.UNSEEN_DOCUMENT, said

    def _not_logged(self) -> Iterator[tuple[FindingKind, str]]:
        for event_id in self.file.stored.accepted if self.file.stored else ():
            if event_id not in self.places:
                yield FindingKind.NOT_LOGGED, f"event {event_id}"

    def _stores(self) -> Iterator[tuple[FindingKind, str]]:
        if not self.beyond.stores_were_read:
            return
        stored = dict(self.file.stored.versions) if self.file.stored else {}
        for document in documents_of(self.state):
            version = stored.pop(document.document_id, 0)
            if version > document.seq:
                what = f"document {document.document_id}: {version} stored, {document.seq} logged"
                yield FindingKind.STORE_AHEAD, what
            if version < document.seq and not (version == 0 and _is_left_for_lookup(document)):
                what = f"document {document.document_id}: {version} stored, {document.seq} logged"
                yield FindingKind.STORE_BEHIND, what
        for document_id, version in stored.items():
            if version:
                what = f"document {document_id}: {version} stored, 0 logged"
                yield FindingKind.STORE_AHEAD, what

    def _unanswered(self) -> Iterator[tuple[FindingKind, str]]:
        """What a service has passed must show; what nobody need move must be over."""
        state = self.state
        wait = wait_of(state)
        parked = set(self.file.stored.parked) if self.file.stored else set()
        owed = {one: TRIAGE for one in state.open_wishes if one not in parked}
        if wait is not None and wait.owed is not None and wait.service is not None:
            owed.setdefault(wait.owed, wait.service)
        for event_id, service in owed.items():
            if self._owes(service, event_id):
                yield FindingKind.UNANSWERED, f"{service} has passed event {event_id}"
        is_over = state.case is not None and state.case.phase is Phase.CLOSED
        if wait is None and not is_over and not state.incomplete:
            yield FindingKind.STRANDED, f"{state.status}, and nobody is asked"

    def _not_ended(self) -> Iterator[tuple[FindingKind, str]]:
        for handoff_id, (_, event_id) in left_open(self.state).items():
            if self._owes(NOTIFY, event_id):
                yield FindingKind.NOT_ENDED, f"hand-off {handoff_id} after event {event_id}"

    def _replies(self) -> Iterator[tuple[FindingKind, str]]:
        """A second signature changes nothing and has no event; everything else has one."""
        for handoff_id, handoff in self.state.handoffs.items():
            for reply in self.beyond.replies.get(handoff_id, ()):
                is_repeated = reply.is_signature and handoff.signed_at is not None
                if handoff.has_cause(reply.cause) or is_repeated:
                    continue
                if self.beyond.owes(NOTIFY, [reply.place]):
                    what = f"{reply.place.origin} about hand-off {handoff_id}"
                    yield FindingKind.UNANSWERED_REPLY, what

    def _feeds(self) -> Iterator[tuple[FindingKind, str]]:
        is_erased = self.state.case is not None and self.state.case.erased
        for handoff_id, handoff in self.state.handoffs.items():
            if handoff.sent_by != "feed" or is_erased:
                continue
            entry = self.file.feeds.get(handoff_id)
            version = entry.version if entry else 0
            newest, written_ms = self._shown(handoff_id)
            if version < newest and written_ms > self.beyond.feeds_since_ms:
                what = f"hand-off {handoff_id}: version {version} of {newest}"
                yield FindingKind.NOT_IN_FEED, what
        for handoff_id in self.file.feeds:
            if handoff_id not in self.state.handoffs:
                yield FindingKind.UNKNOWN_IN_FEED, f"hand-off {handoff_id}"

    def _shown(self, handoff_id: str) -> tuple[int, int]:
        """Return the version that the department must see, and when Kafka took it (ms)."""
        own = [
            event
            for event in self.state.timeline
            if event.data.document_id == handoff_id
            and isinstance(event.data, h.HandoffEvent)
            and not isinstance(event.data, _UNSEEN_BY_DEPARTMENT)
        ]
        if not own:
            return 0, 0
        newest = max(own, key=lambda e: e.data.seq or 0)
        written = min(place.written_ms for place in self.places[newest.id])
        return newest.data.seq or 0, written


def _is_left_for_lookup(document: Document) -> bool:
    """Whether notify keeps nothing of it: no attempt is made, the event says all there is."""
    return isinstance(document, DeliveryDocument) and document.by == "lookup"
