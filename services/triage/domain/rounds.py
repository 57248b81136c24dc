"""The end of a round: told, rated, visited, closed, or not solved and opened again."""

from contracts.envelope import Event
from contracts.lifecycle import CaseDocument, Phase
from contracts.triage import (
    CaseClosed,
    CaseErased,
    CaseEscalated,
    CaseFinished,
    CaseLeftGroup,
    CaseRated,
    CaseReopened,
    DeskAsked,
)
from contracts.vocabulary import (
    Deadline,
    DeadlineKind,
    DeskTask,
    OutcomeKind,
    Rating,
    TaskKind,
    Tier,
)
from services.chassis.kept import Kept
from services.triage.domain.occasion import Occasion, citizens_clocks, clock, running

CONTENT_FROM = 3
"""A rating of 3 (基本满意) or more is content (满意率: the top three of five)."""

_ONE_UP = {Tier.BLUE: Tier.ORANGE, Tier.ORANGE: Tier.RED, Tier.RED: Tier.RED}
_NO_VISIT = (OutcomeKind.NOT_ACCEPTED, OutcomeKind.WITHDRAWN)


def finish(occasion: Occasion, kept: Kept[CaseDocument], told: str) -> list[Event]:
    """办结: the citizen was told the outcome. What follows is the return visit."""
    case = kept.document
    outcome = case.outcome
    if case.phase != Phase.SETTLED or outcome is None:
        return []
    ends_here = outcome.kind in _NO_VISIT
    visit: tuple[Deadline, ...] = ()
    tasks: tuple[DeskTask, ...] = ()
    if not ends_here and case.tier == Tier.RED:
        tasks = (occasion.task(case.case_no, TaskKind.VISIT),)
    elif not ends_here:
        hours = occasion.profile.rules.visit_no_answer_closes_after_hours
        visit = (clock(case, DeadlineKind.VISIT_ANSWER, occasion.now, hours * 60, 0.75),)
    events = [
        occasion.record(
            kept,
            CaseFinished,
            told=told,
            finished_at=occasion.occurred_at or occasion.now,
            outcome=outcome.kind,
            clears=running(case),
            settles=case.tasks_of(TaskKind.OVERDUE, TaskKind.UNDELIVERABLE),
            sets=visit,
            opens=tasks,
        )
    ]
    if ends_here:
        events += close(occasion, kept, outcome.kind.value)
    else:
        rated = [mark.rating for mark in case.marks if mark.round == case.round]
        if rated:
            events += after_word(occasion, kept, rated[-1], by_person=False)
    return events


def rate(occasion: Occasion, kept: Kept[CaseDocument], rating: Rating) -> list[Event]:
    """Take the citizen's rating of the last round; before it is told, it waits for that."""
    case = kept.document
    credited = case.outcome.department if case.outcome else None
    events = [occasion.record(kept, CaseRated, rating=rating, credited=credited)]
    if case.phase in (Phase.FINISHED, Phase.CLOSED):
        events += after_word(occasion, kept, rating, by_person=False)
    return events


def after_word(
    occasion: Occasion, kept: Kept[CaseDocument], rating: Rating, *, by_person: bool
) -> list[Event]:
    """Do what follows from the citizen's word: open again, look at it, or close."""
    case = kept.document
    if not rating.solved:
        return reopen(occasion, kept, "not_solved")
    if case.phase == Phase.CLOSED:
        return []
    if rating.level < CONTENT_FROM:
        task = occasion.task(case.case_no, TaskKind.DISSATISFIED)
        return [
            occasion.record(
                kept,
                DeskAsked,
                opens=(task,),
                clears=running(case, DeadlineKind.VISIT_ANSWER),
            )
        ]
    if case.tier == Tier.RED and not by_person:
        return []
    return close(occasion, kept, "visited" if by_person else "rated")


def close(occasion: Occasion, kept: Kept[CaseDocument], ground: str) -> list[Event]:
    """归档. No task and no clock outlives it, and an erasure that was asked for is done."""
    case = kept.document
    events = [
        occasion.record(
            kept, CaseClosed, ground=ground, settles=case.tasks_of(), clears=running(case)
        )
    ]
    asked = [task.wish for task in case.tasks.values() if task.kind == TaskKind.ERASURE]
    if asked:
        events.append(erase(occasion, kept, f"wish:{asked[0]}"))
    return events


def erase(occasion: Occasion, kept: Kept[CaseDocument], by: str) -> Event:
    """清除个人信息: from here on nothing personal is recorded of the case. `by` says who asked for
    it: `channel:` or `operator:` and the name, `desk:` who decided, `wish:` the event that did."""
    settles = kept.document.tasks_of(TaskKind.ERASURE)
    return occasion.record(kept, CaseErased, by=by, settles=settles)


def reopen(occasion: Occasion, kept: Kept[CaseDocument], ground: str) -> list[Event]:
    """Begin the next round, one tier up (red stays red), with working deadlines from now.

    The first deadlines keep counting for 按时办结率. A member of a group splits off; a second
    reopening goes to 提级督办.
    """
    case = kept.document
    events: list[Event] = []
    if case.membership is not None:
        events.append(
            occasion.record(
                kept,
                CaseLeftGroup,
                group_id=case.membership.group_id,
                group_version=case.membership.version,
                ground="split_off",
            )
        )
    tier = _ONE_UP[case.tier or Tier.BLUE]
    kinds = [TaskKind.REOPENED] + ([TaskKind.JUDGE] if tier == Tier.RED else [])
    clocks = citizens_clocks(case, occasion.profile, tier, occasion.now, waits_for_desk=True)
    events.append(
        occasion.record(
            kept,
            CaseReopened,
            round=case.round + 1,
            tier=tier,
            ground=ground,
            settles=case.tasks_of(),
            opens=tuple(occasion.task(case.case_no, kind) for kind in kinds),
            clears=tuple(n for n in running(case) if n not in {c.name for c in clocks}),
            sets=clocks,
        )
    )
    if case.round >= 2:
        events.append(
            occasion.record(kept, CaseEscalated, level=case.level + 1, ground="a second reopening")
        )
    return events
