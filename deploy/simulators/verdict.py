"""Whether a play went as it must: figures, log and clients are held against each other."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

import orjson

from contracts.lifecycle import CaseState
from contracts.profile import Profile
from deploy.audit import Audit, Standing, run_audit
from deploy.simulators.calls import Calls
from deploy.simulators.play import Played
from services.reporting import recount
from services.reporting.domain.buckets import Figures
from services.reporting.domain.figures import Question, figures_document
from services.reporting.domain.grouping import GroupedBy

_COMPARED = ("totals", "rates", "groups")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. `differences`: where the figures are not what the log recounts to."""

    expected: int
    accepted_by_clients: int
    known_by_log: int
    """How many of the numbers that clients were given stand on the log."""
    closed: int
    """How many of them are closed, nothing of them missing or double."""
    others: int
    """Cases on the log that are not of this play: of an earlier one whose data was kept."""
    differences: tuple[str, ...]
    doubles_seen: tuple[str, ...]
    """What a client saw happen twice."""
    audit: Audit

    @property
    def lost(self) -> int:
        """What is missing from the log, and accepted requests that it does not know."""
        return self.audit.lost + self.accepted_by_clients - self.known_by_log

    @property
    def doubled(self) -> int:
        """What happened twice, by the log or before a client's eyes."""
        return len(self.audit.double) + len(self.doubles_seen)

    @property
    def are_figures_right(self) -> bool:
        """Whether the figures equal the recount."""
        return not self.differences

    @property
    def is_good(self) -> bool:
        """Whether all went as it must."""
        counts = (self.accepted_by_clients, self.known_by_log, self.closed)
        return (
            counts == (self.expected,) * len(counts)
            and self.lost == 0
            and self.doubled == 0
            and self.are_figures_right
            and self.audit.is_clean
        )


async def judge(
    kafka_url: str,
    mongo_url: str,
    reporting: Calls,
    profile: Profile,
    played: Played,
    *,
    on_case: Callable[[CaseState], None],
) -> Verdict:
    """Audit the log and the stores, recount from the log, and compare. Raises AuditError."""
    recounted: Figures = {}

    def take(state: CaseState) -> None:
        recount.add(recounted, state)
        on_case(state)

    audit = await run_audit(kafka_url, mongo_url, on_case=take)
    questions: list[GroupedBy | None] = [None, *get_args(GroupedBy)]
    differences: list[str] = []
    for by in questions:
        path = "/v1/figures" if by is None else f"/v1/figures?by={by}"
        shown = (await reporting.get(path)).document
        document = figures_document(profile, Question(by=by), recounted)
        counted = orjson.loads(orjson.dumps(document))
        await asyncio.sleep(0)
        for part in _COMPARED:
            differences += _differing(f"{by or 'all'}.{part}", shown.get(part), counted.get(part))
    accepted = played.room.accepted
    return Verdict(
        expected=len(played.room.plans),
        accepted_by_clients=len(accepted),
        known_by_log=sum(case_no in audit.standings for case_no in accepted),
        closed=sum(audit.standings.get(case_no) is Standing.CLOSED for case_no in accepted),
        others=len(audit.standings.keys() - accepted.keys()),
        differences=tuple(differences),
        doubles_seen=tuple(played.room.doubles),
        audit=audit,
    )


def _differing(where: str, shown: Any, counted: Any) -> Iterator[str]:
    """Yield each place where what is shown is not what was counted."""
    if isinstance(shown, dict) and isinstance(counted, dict):
        for name in sorted({*shown, *counted}):
            yield from _differing(f"{where}.{name}", shown.get(name), counted.get(name))
    elif isinstance(shown, list) and isinstance(counted, list) and len(shown) == len(counted):
        for number, (left, right) in enumerate(zip(shown, counted, strict=True)):
            yield from _differing(f"{where}[{number}]", left, right)
    elif shown != counted:
        yield f"{where}: shown {shown!r}, recounted {counted!r}"
