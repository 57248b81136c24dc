"""An audit from beginning to end.

The log is read partition by partition: the three case topics of one partition hold all events of
its cases, so one twelfth of the log is in memory at a time, and of a sound case only where it
stands is kept.

The platform may be running. What a service has committed is asked before the ends of the log are
noted, so its answers stand before them; what is on its way at that moment looks like a loss, so
cases with findings are looked at again, with what has arrived since, until the findings go or
`patience_s` is over. What two looks in a row find alike is a finding.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from aiokafka import TopicPartition

from contracts.envelope import ContractError, Event
from contracts.lifecycle import CaseState
from contracts.topics import CASE_PARTITIONS, CASE_TOPICS, partition_for
from deploy.audit.beside import Beside
from deploy.audit.cases import Beyond, CaseFile, CaseReport, report_on
from deploy.audit.findings import Audit, DeadLetter, Finding, FindingKind
from deploy.audit.log import Log, Offsets, logged
from deploy.audit.standing import NOTIFY, TRIAGE
from deploy.audit.stores import OfCase, Stores
from deploy.audit.tally import Tally
from deploy.dead_letters.ledger import Ledger, given_up
from services.chassis.bus import Record

_LOOK_EVERY_SECONDS = 0.5
_FEEDS_KEEP = timedelta(days=29)
_BREATHE_AFTER = 200
"""Cases that are folded before others get a turn of the loop."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an audit is: the stage (`beside`, `stores`, `cases`, `again`), steps done of all."""

    stage: str
    done: int
    total: int


OnProgress = Callable[[Progress], None]
OnCase = Callable[[CaseState], None]


async def run_audit(
    kafka_url: str,
    mongo_url: str | None = None,
    *,
    on_progress: OnProgress = lambda _: None,
    on_case: OnCase = lambda _: None,
    patience_s: float = 10.0,
) -> Audit:
    """Audit a platform. Without `mongo_url` the stores are left out, and with them what only they
    can show: the loss of the last event of a document, and of what intake accepted.

    `on_case` gets the state of each case once, for a recount. Raises AuditError.
    """
    stores = Stores(mongo_url) if mongo_url else None
    ledger = Ledger(mongo_url) if mongo_url else None
    try:
        async with Log(kafka_url) as log:
            return await _Run(log, stores, ledger, on_progress, on_case).audit(patience_s)
    finally:
        for opened in (stores, ledger):
            if opened is not None:
                opened.close()


async def story_of(kafka_url: str, case_no: str) -> list[Event]:
    """Return the events of one case as they stand on the log, repetitions included.

    Raises AuditError; what breaks the contract is left out.
    """
    found: list[Event] = []
    async with Log(kafka_url) as log:
        ends = _of_partition(await log.ends(CASE_TOPICS), partition_for(case_no))
        async for records in log.read(ends):
            for record in records:
                if record.headers.get("ce_subject") != case_no:
                    continue
                try:
                    one = logged(record)
                    if one is not None:
                        found.append(one.event())
                except ContractError:
                    continue
    return found


def _of_partition(ends: Offsets, number: int) -> dict[TopicPartition, int]:
    return {one: end for one, end in ends.items() if one.partition == number}


@dataclass(slots=True)
class _Run:
    log: Log
    stores: Stores | None
    ledger: Ledger | None
    on_progress: OnProgress
    on_case: OnCase
    tally: Tally = field(default_factory=Tally)
    beside: Beside = field(default_factory=Beside)
    stored: dict[str, OfCase] = field(default_factory=dict)
    letters: dict[str, list[DeadLetter]] = field(default_factory=dict)
    beyond: Beyond = field(default_factory=Beyond)
    suspects: dict[str, tuple[CaseFile, CaseReport]] = field(default_factory=dict)
    feed_ends: dict[TopicPartition, int] = field(default_factory=dict)
    case_ends: dict[TopicPartition, int] = field(default_factory=dict)

    async def audit(self, patience_s: float) -> Audit:
        began = time.monotonic()
        await self._read_beside()
        if self.stores is not None:
            self.on_progress(Progress("stores", 0, 1))
            self.stored = await self.stores.read()
        self.case_ends = await self.log.ends(CASE_TOPICS)
        partitions = sorted({one.partition for one in self.case_ends}) or range(CASE_PARTITIONS)
        for done, number in enumerate(partitions):
            self.on_progress(Progress("cases", done, len(partitions)))
            await self._audit_partition(number)
        unlogged = {*self.stored, *self.beside.feeds}
        await self._look_at({case_no: self._file(case_no) for case_no in unlogged})
        self.on_progress(Progress("cases", len(partitions), len(partitions)))
        await self._look_again(patience_s)
        return self._result(time.monotonic() - began)

    async def _read_beside(self) -> None:
        handled = await self.log.handled((TRIAGE, NOTIFY))
        takers = (
            ("dead-letters.", self.beside.take_dead_letter),
            ("replies.", self.beside.take_reply),
            ("feed.", self.beside.take_feed),
        )
        for done, (prefix, take) in enumerate(takers):
            self.on_progress(Progress("beside", done, len(takers)))
            ends = await self.log.ends(self.log.topics(prefix))
            if prefix == "feed.":
                self.feed_ends = ends
            await self._take(ends, None, take)
        settled = given_up((await self.ledger.all()).values()) if self.ledger is not None else ()
        aside = self.beside.aside() | {(service, origin) for service, origin, _ in settled}
        for letter in self.beside.dead_letters.values():
            if letter.case_no is not None:
                self.letters.setdefault(letter.case_no, []).append(letter)
        since = datetime.now(UTC) - _FEEDS_KEEP
        self.beyond = Beyond(
            handled,
            frozenset(aside),
            self.beside.replies,
            self.stores is not None,
            int(since.timestamp() * 1_000),
            frozenset((origin, written_ms) for _, origin, written_ms in settled),
            self.beside.letters_by_name(),
        )

    async def _take(
        self, ends: Offsets, starts: Offsets | None, take: Callable[[Record], None]
    ) -> None:
        async for records in self.log.read(ends, starts):
            for record in records:
                take(record)

    async def _audit_partition(self, number: int) -> None:
        files: dict[str, CaseFile] = {}
        ends = _of_partition(self.case_ends, number)
        await self._take(ends, None, lambda record: self._enter(record, files))
        await self._look_at(files)

    def _enter(self, record: Record, files: dict[str, CaseFile]) -> None:
        """Enter a record of a case topic in its case's file; what names no case is a finding."""
        try:
            one = logged(record)
        except ContractError as error:
            if (record.origin, record.timestamp_ms) in self.beyond.given_up:
                return
            what = f"{record.origin} breaks the contract at {error.field}"
            self.tally.find([Finding(FindingKind.UNREADABLE, None, what)])
            return
        if one is None:
            return
        if one.case_no not in files:
            files[one.case_no] = self._file(one.case_no)
        files[one.case_no].records.append(one)

    def _file(self, case_no: str) -> CaseFile:
        return CaseFile(
            case_no,
            feeds=self.beside.feeds.pop(case_no, {}),
            stored=self.stored.pop(case_no, None),
            dead_letters=tuple(self.letters.get(case_no, ())),
        )

    async def _look_at(self, files: Mapping[str, CaseFile]) -> None:
        now = datetime.now(UTC)
        for number, file in enumerate(files.values()):
            report = report_on(file, self.beyond, now)
            if report.findings:
                self.suspects[file.case_no] = (file, report)
            else:
                self._settle(report)
            if number % _BREATHE_AFTER == 0:
                await asyncio.sleep(0)

    def _settle(self, report: CaseReport) -> None:
        for handoff_id in report.state.handoffs:
            self.beside.replies.pop(handoff_id, None)
        self.tally.add(report)
        self.on_case(report.state)

    async def _look_again(self, patience_s: float) -> None:
        """Look at what seems to be at fault until it is not, or as long as patience lasts."""
        until = time.monotonic() + patience_s
        first, confirmed = len(self.suspects), dict[str, CaseReport]()
        while self.suspects and time.monotonic() < until:
            self.on_progress(Progress("again", first - len(self.suspects), first))
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            await self._read_on()
            now = datetime.now(UTC)
            for case_no, (file, before) in list(self.suspects.items()):
                report = report_on(file, self.beyond, now)
                twice = report.found(report.findings & before.findings)
                if twice.findings:
                    self.suspects[case_no] = (file, report)
                    confirmed[case_no] = twice
                else:
                    del self.suspects[case_no]
                    self._settle(twice)
        for case_no, (_, report) in self.suspects.items():
            self._settle(confirmed.get(case_no, report))

    async def _read_on(self) -> None:
        """Bring the suspects' files up to date."""
        if self.stores is not None:
            erased = [no for no, (_, report) in self.suspects.items() if report.is_erased]
            newer = await self.stores.read(only=self.suspects.keys(), erased=erased)
            for case_no, (file, _) in self.suspects.items():
                known = newer.get(case_no, OfCase())
                if case_no not in erased:
                    known.accepted = file.stored.accepted if file.stored else []
                file.stored = known
        feeds = Beside()
        feed_ends = await self.log.ends(self.log.topics("feed."))
        await self._take(feed_ends, self.feed_ends, feeds.take_feed)
        self.feed_ends = feed_ends
        ends = await self.log.ends(CASE_TOPICS)
        await self._take(ends, self.case_ends, self._enter_suspect)
        self.case_ends = ends
        for case_no, (file, _) in self.suspects.items():
            file.feeds = {**file.feeds, **feeds.feeds.get(case_no, {})}

    def _enter_suspect(self, record: Record) -> None:
        try:
            one = logged(record)
        except ContractError:
            return
        if one is not None and one.case_no in self.suspects:
            self.suspects[one.case_no][0].records.append(one)

    def _result(self, took_seconds: float) -> Audit:
        self.tally.find(self._replies_about_nothing())
        return self.tally.result(
            blocked={no: tuple(sorted(own)) for no, own in self.letters.items()},
            dead_letters=tuple(sorted(self.beside.dead_letters.values())),
            stores_were_read=self.stores is not None,
            took_seconds=took_seconds,
        )

    def _replies_about_nothing(self) -> Iterable[Finding]:
        """Replies that notify has passed and that name a hand-off which no case has."""
        found: list[Finding] = []
        for handoff_id, said in sorted(self.beside.replies.items()):
            for reply in said:
                if self.beyond.owes(NOTIFY, [reply.place]):
                    what = f"{reply.place.origin} about hand-off {handoff_id}"
                    found.append(Finding(FindingKind.UNANSWERED_REPLY, None, what))
        return found
