"""Adding the reports on single cases up to the audit of all."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from deploy.audit.cases import CaseReport
from deploy.audit.findings import Audit, DeadLetter, Finding, Standing


@dataclass(slots=True)
class Tally:
    """What is kept of the cases that were looked at."""

    standings: dict[str, Standing] = field(default_factory=dict)
    waiting: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    in_flight: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    findings: set[Finding] = field(default_factory=set)
    parked: list[str] = field(default_factory=list)
    open_wishes: list[str] = field(default_factory=list)
    overdue: list[str] = field(default_factory=list)
    erasing: list[str] = field(default_factory=list)
    events: int = 0

    def add(self, report: CaseReport) -> None:
        """Add the report on one case."""
        self.events += report.events
        self.find(report.findings)
        self.parked += report.parked
        self.open_wishes += report.open_wishes
        if report.is_overdue:
            self.overdue.append(report.case_no)
        if report.is_erasing:
            self.erasing.append(report.case_no)
        if report.standing is None:
            return
        self.standings[report.case_no] = report.standing
        queue = report.wait.queue if report.wait else ""
        if report.standing is Standing.WAITING:
            self.waiting[queue].append(report.case_no)
        elif report.standing is Standing.IN_FLIGHT:
            self.in_flight[queue].append(report.case_no)

    def find(self, findings: Iterable[Finding]) -> None:
        """Add findings that belong to no case, or to one that is added beside."""
        self.findings.update(findings)

    def result(
        self,
        *,
        blocked: Mapping[str, tuple[DeadLetter, ...]],
        dead_letters: tuple[DeadLetter, ...],
        stores_were_read: bool,
        took_seconds: float,
    ) -> Audit:
        """Return the audit of all cases."""
        ordered = sorted(self.findings, key=lambda f: (f.kind, f.case_no or "", f.what))
        return Audit(
            standings=self.standings,
            waiting={queue: tuple(sorted(nos)) for queue, nos in sorted(self.waiting.items())},
            in_flight={queue: tuple(sorted(nos)) for queue, nos in sorted(self.in_flight.items())},
            missing=tuple(one for one in ordered if not one.kind.is_double),
            double=tuple(one for one in ordered if one.kind.is_double),
            blocked=blocked,
            dead_letters=dead_letters,
            parked=tuple(sorted(self.parked)),
            open_wishes=tuple(sorted(self.open_wishes)),
            overdue=tuple(sorted(self.overdue)),
            erasing=tuple(sorted(self.erasing)),
            events=self.events,
            stores_were_read=stores_were_read,
            took_seconds=took_seconds,
        )
