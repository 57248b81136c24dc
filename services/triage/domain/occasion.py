"""The occasion of a decision: what caused it, when, under which profile."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from contracts.envelope import Event, EventData
from contracts.ids import derived_id
from contracts.lifecycle import CaseDocument, Phase, deadline_name, refusal
from contracts.profile import Profile
from contracts.triage import CaseEvent
from contracts.vocabulary import Deadline, DeadlineKind, DeskTask, TaskKind, Tier
from services.chassis.kept import Kept

TOLD_TYPES = frozenset(
    {
        "case.opened",
        "case.answered",
        "case.resolved",
        "case.group_resolved",
        "case.not_accepted",
        "case.withdrawn",
        "withdrawal.ended",
        "case.finished",
        "case.reopened",
        "case.closed",
        "case.joined_group",
    }
)
"""The events of which the citizen's channel is told: they carry its address."""


PHASE_NAMES = {
    Phase.OPEN: "待办",
    Phase.ORDERED: "部门办理中",
    Phase.SETTLED: "正在告知市民",
    Phase.FINISHED: "已办结",
    Phase.CLOSED: "已归档",
}


class NotPossible(Exception):
    """A decision that the case's state does not allow; the text (中文) says why."""


@dataclass(frozen=True, slots=True)
class Occasion:
    """What a decision is made with. `after` is the event that it answers, if one did."""

    profile: Profile
    now: datetime
    cause: str
    after: EventData | None = None
    occurred_at: datetime | None = None
    traceparent: str | None = None

    def record(self, kept: Kept[CaseDocument], data_type: type[CaseEvent], **fields: Any) -> Event:
        """Record an event on a case. Raises NotPossible if its state does not allow it."""
        case = kept.document
        if refusal(case, data_type.type) is not None:
            raise NotPossible(f"办件现在是“{PHASE_NAMES[case.phase]}”，不能做这一步")
        fields.setdefault("round", case.round)
        if data_type.type in TOLD_TYPES and case.request is not None:
            fields.setdefault("callback_url", case.request.callback_url)
            fields.setdefault("tier", case.tier)
        return kept.record(
            data_type,
            cause=self.cause,
            now=self.now,
            after=self.after,
            occurred_at=self.occurred_at or self.now,
            traceparent=self.traceparent,
            **fields,
        )

    def task(self, case_no: str, kind: TaskKind, **fields: Any) -> DeskTask:
        """Return a task of the desk; its id is the same whenever this cause opens it."""
        of = fields.get("handoff_id") or fields.get("inquiry_id") or fields.get("wish") or ""
        task_id = derived_id("task", case_no, self.cause, kind, of)
        return DeskTask(task_id=task_id, kind=kind, since=self.now, **fields)

    def caused_by(self, cause: str) -> "Occasion":
        """Return the same occasion with another cause."""
        return replace(self, cause=cause)


def clock(
    case: CaseDocument,
    kind: DeadlineKind,
    start: datetime,
    minutes: float,
    near_share: float,
    of: str | None = None,
) -> Deadline:
    """Return a deadline that begins at `start`, one version above the one it replaces."""
    name = deadline_name(kind, of)
    span = timedelta(minutes=minutes)
    return Deadline(
        name=name,
        kind=kind,
        version=case.versions.get(name, 0) + 1,
        due_at=start + span,
        near_at=start + span * near_share,
    )


def citizens_clocks(
    case: CaseDocument, profile: Profile, tier: Tier, start: datetime, *, waits_for_desk: bool
) -> tuple[Deadline, ...]:
    """Return the citizen's clocks of a tier, from acceptance or from a reopening.

    A case that waits for the desk has also the time in which a person must have seen it, and a
    red one that in which it must have been judged.
    """
    clocks = profile.tier(tier.value).clocks
    minutes: dict[DeadlineKind, int | None] = {
        DeadlineKind.HANDED_OVER: clocks.handed_over,
        DeadlineKind.TOLD: clocks.told,
    }
    if waits_for_desk:
        minutes[DeadlineKind.SEEN] = clocks.seen
    if tier == Tier.RED:
        minutes[DeadlineKind.JUDGED] = clocks.judged
    return tuple(
        clock(case, kind, start, length, clocks.near_share)
        for kind, length in minutes.items()
        if length is not None
    )


def running(case: CaseDocument, *kinds: DeadlineKind) -> tuple[str, ...]:
    """Return the names of the clocks of these kinds that run now (of all, if none is named)."""
    return tuple(name for name, d in case.deadlines.items() if not kinds or d.kind in kinds)
