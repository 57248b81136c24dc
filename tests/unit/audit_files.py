"""Case files as the audit would have read them, made from whole histories of the contract."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

from contracts.envelope import Event
from contracts.lifecycle import HandoffDocument
from contracts.topics import HANDLING, REQUESTS, TRIAGE
from deploy.audit.beside import FeedEntry
from deploy.audit.cases import Beyond, CaseFile, CaseReport, report_on
from deploy.audit.findings import FindingKind
from deploy.audit.log import Handled, Logged, Place
from deploy.audit.stores import PASSING, OfCase
from tests.contract.histories import START, History

NOW = datetime(2022, 1, 11, 9, tzinfo=UTC)
_TOPIC_OF = {"intake": REQUESTS, "triage": TRIAGE, "notify": HANDLING}
_ALL = 1_000_000


def logged(event: Event, offset: int, partition: int | None = None) -> Logged:
    """Return an event as it stands on its topic."""
    number = event.partition if partition is None else partition
    written_ms = int(START.timestamp() * 1_000) + offset
    place = Place(_TOPIC_OF[event.data.owner], number, offset, written_ms)
    headers = event.headers()
    needed = ("ce_specversion", "ce_type", "ce_id", "ce_subject")
    shown = tuple(headers[name] for name in needed)
    return Logged(place, event.data.case_no, shown, event.encoded, event.key)


def log_of(events: Iterable[Event]) -> list[Logged]:
    """Return events as they stand on the log, in the order given."""
    return [logged(event, offset) for offset, event in enumerate(events)]


def stored(history: History) -> OfCase:
    """Return what the stores hold of a case whose owners have lost nothing, and redacted all of an
    erased one."""
    versions = {one.document_id: one.seq for one in history.documents() if one.seq}
    accepted = [e.id for e in history.events if e.data.owner == "intake" and e.data.rev == 0]
    if not history.is_erased:
        return OfCase(versions=versions, accepted=accepted)
    return OfCase(versions, accepted, redacted={*versions, *accepted}, passed=set(PASSING))


def feed_entry(handoff: HandoffDocument, *, erased: bool = False) -> FeedEntry:
    """Return a hand-off as its department's feed shows it."""
    order = (handoff.round, handoff.role.value, handoff.department, handoff.attempt)
    return FeedEntry(
        handoff.document_id, handoff.case_no, handoff.seq, handoff.state, order, erased
    )


def file_of(history: History, events: Iterable[Event] | None = None) -> CaseFile:
    """Return the file of a case of which only these events (else all) stand on the log."""
    return CaseFile(
        history.case_no,
        log_of(_as_left(history) if events is None else events),
        feeds={
            one.document_id: feed_entry(one, erased=history.is_erased)
            for one in history.handoffs.values()
            if one.sent_by == "feed"
        },
        stored=stored(history),
    )


def _as_left(history: History) -> list[Event]:
    """Return the events of a history, each of an erased case redacted as owners leave it."""
    if not history.is_erased:
        return history.events
    newest = {event.id: event for event in history.events}
    return [*history.events, *(one.redacted() for one in newest.values() if not one.data.rev)]


def all_handled() -> Beyond:
    """Return a platform whose services have passed everything."""
    topics = (("triage", REQUESTS), ("triage", HANDLING), ("notify", TRIAGE))
    offsets = {(group, topic, n): _ALL for group, topic in topics for n in range(12)}
    return Beyond(Handled(offsets), stores_were_read=True)


def nothing_handled() -> Beyond:
    """Return a platform whose services have yet to begin."""
    return Beyond(stores_were_read=True)


def audited(file: CaseFile, beyond: Beyond | None = None) -> CaseReport:
    """Return the report on a case, at a moment of the histories' day."""
    return report_on(file, beyond or all_handled(), NOW)


def kinds(report: CaseReport) -> set[FindingKind]:
    """Return the kinds of what was found."""
    return {one.kind for one in report.findings}


def without_store(file: CaseFile) -> tuple[CaseFile, Beyond]:
    """Return the same as it is audited without the stores."""
    bare = CaseFile(file.case_no, file.records, file.feeds, None, file.dead_letters)
    return bare, replace(all_handled(), stores_were_read=False)
