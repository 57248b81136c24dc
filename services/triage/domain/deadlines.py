"""What the citizen's clocks mean when they come near their end or run out."""

from datetime import datetime

from contracts.lifecycle import CaseDocument, Phase
from contracts.profile import Profile
from contracts.triage import CaseDeadlineFired
from contracts.vocabulary import DeadlineKind, DeskTask, Firing, TaskKind
from services.chassis.due import Due, Fire
from services.chassis.kept import Kept
from services.triage.domain.occasion import Occasion
from services.triage.domain.rounds import close


def fire_for(profile: Profile) -> Fire[CaseDocument]:
    """Return what the sweeper does with a due clock of a case."""

    def fire(kept: Kept[CaseDocument], due: Due, now: datetime) -> None:
        case = kept.document
        occasion = Occasion(
            profile, now, due.cause(case.document_id), occurred_at=max(due.at, _opened(case, now))
        )
        occasion.record(
            kept,
            CaseDeadlineFired,
            name=due.deadline.name,
            firing=due.firing,
            due_at=due.deadline.due_at,
            opens=_tasks(occasion, case, due),
        )
        is_unanswered = due.deadline.kind == DeadlineKind.VISIT_ANSWER
        if is_unanswered and due.firing == Firing.MISSED and case.phase == Phase.FINISHED:
            close(occasion, kept, "no_answer")

    return fire


def _opened(case: CaseDocument, now: datetime) -> datetime:
    return case.accepted_at or now


def _tasks(occasion: Occasion, case: CaseDocument, due: Due) -> tuple[DeskTask, ...]:
    if due.firing != Firing.MISSED or due.deadline.kind == DeadlineKind.VISIT_ANSWER:
        return ()
    if due.deadline.kind == DeadlineKind.INQUIRY:
        inquiry_id = due.deadline.name.partition(":")[2]
        return (occasion.task(case.case_no, TaskKind.INQUIRY, inquiry_id=inquiry_id),)
    if case.tasks_of(TaskKind.OVERDUE):
        return ()
    return (occasion.task(case.case_no, TaskKind.OVERDUE),)
