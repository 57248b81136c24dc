"""Groups: 并案, 同类合办, and the same person asking again.

A group is decided in its own document. Each event of it is then fanned out to the members, as
one event in each member's case with the group's version; only these touch a member.
"""

from contracts.envelope import Event
from contracts.lifecycle import CaseDocument, GroupDocument, Phase
from contracts.triage import (
    CaseGroupResolved,
    CaseJoinedGroup,
    CaseLeftGroup,
    GroupChanged,
    GroupDissolved,
    GroupFormed,
    GroupResolved,
)
from contracts.vocabulary import DeadlineKind, DeskTask, GroupKind, OutcomeKind, Result, TaskKind
from services.chassis.kept import Kept
from services.triage.domain.occasion import NotPossible, Occasion, running

SMALLEST = 2


def form(
    occasion: Occasion,
    group: Kept[GroupDocument],
    kind: GroupKind,
    members: list[CaseDocument],
    person: str,
    reasons: tuple[str, ...],
) -> Event:
    """Form a group; the first member is its anchor, whose result will be the group's."""
    if len(members) < SMALLEST:
        raise NotPossible("一组至少要有两件")
    for case in members:
        require_free(case)
    return group.record(
        GroupFormed,
        cause=occasion.cause,
        now=occasion.now,
        group_id=group.document.document_id,
        kind=kind,
        members=tuple(case.case_no for case in members),
        person=person,
        reasons=reasons,
    )


def require_free(case: CaseDocument) -> None:
    """Raise NotPossible unless a case can join a group."""
    if case.membership is not None:
        raise NotPossible(f"{case.case_no} 已在另一组里")
    if case.phase != Phase.OPEN:
        raise NotPossible(f"{case.case_no} 已在办理，不能再并入")


def change(
    occasion: Occasion,
    group: Kept[GroupDocument],
    joined: list[CaseDocument],
    left: tuple[str, ...],
    person: str | None,
) -> Event:
    """Let members come and go. The anchor cannot leave: dissolve the group instead."""
    document = group.document
    if document.resolved or document.dissolved:
        raise NotPossible("这一组已经结束")
    if document.case_no in left:
        raise NotPossible("牵头件不能退出，请解散整组")
    for case in joined:
        require_free(case)
    return group.record(
        GroupChanged,
        cause=occasion.cause,
        now=occasion.now,
        group_id=document.document_id,
        joined=tuple(case.case_no for case in joined),
        left=left,
        person=person,
    )


def dissolve(occasion: Occasion, group: Kept[GroupDocument], person: str | None) -> Event:
    """End a group without a result; each member goes its own way."""
    if group.document.resolved or group.document.dissolved:
        raise NotPossible("这一组已经结束")
    return group.record(
        GroupDissolved,
        cause=occasion.cause,
        now=occasion.now,
        group_id=group.document.document_id,
        person=person,
    )


def follow_anchor(
    occasion: Occasion, group: Kept[GroupDocument], anchor: CaseDocument
) -> Event | None:
    """Resolve the group when its anchor has a result, dissolve it when the anchor went away."""
    document = group.document
    outcome = anchor.outcome
    if document.resolved or document.dissolved or outcome is None:
        return None
    by_anchor = occasion.caused_by(f"event:{outcome.event_id}")
    if outcome.kind in (OutcomeKind.WITHDRAWN, OutcomeKind.NOT_ACCEPTED):
        return dissolve(by_anchor, group, None)
    return group.record(
        GroupResolved,
        cause=by_anchor.cause,
        now=occasion.now,
        group_id=document.document_id,
        outcome="answer" if outcome.kind == OutcomeKind.ANSWER else "result",
        department=outcome.department,
        result=Result(text=outcome.text),
        members=tuple(document.members),
    )


def fan_out(
    occasion: Occasion, member: Kept[CaseDocument], group: GroupDocument, event: Event
) -> None:
    """Record on a member what one event of its group means for it; once, and only if it may."""
    case = member.document
    cause = f"group:{event.id}"
    if case.has_cause(cause):
        return
    here = occasion.caused_by(cause)
    version = event.data.seq or 0
    match event.data:
        case GroupFormed(members=members) if case.case_no in members:
            _join(here, member, group, version, len(members))
        case GroupChanged(joined=joined) if case.case_no in joined:
            _join(here, member, group, version, len(group.members))
        case GroupChanged(left=left) if case.case_no in left:
            _leave(here, member, group.document_id, version, "split_off")
        case GroupDissolved():
            _leave(here, member, group.document_id, version, "dissolved")
        case GroupResolved() as resolved:
            _resolve(here, member, group, version, resolved)
        case _:
            return


def _join(
    occasion: Occasion,
    member: Kept[CaseDocument],
    group: GroupDocument,
    version: int,
    size: int,
) -> None:
    case = member.document
    if case.phase != Phase.OPEN or case.membership is not None:
        return
    is_anchor = case.case_no == group.case_no
    occasion.record(
        member,
        CaseJoinedGroup,
        group_id=group.document_id,
        group_version=version,
        kind=group.kind,
        anchor=group.case_no,
        size=size,
        settles=() if is_anchor else case.tasks_of(),
        clears=() if is_anchor else running(case, DeadlineKind.SEEN, DeadlineKind.JUDGED),
    )


def _leave(
    occasion: Occasion, member: Kept[CaseDocument], group_id: str, version: int, ground: str
) -> None:
    case = member.document
    if case.membership is None or case.membership.group_id != group_id:
        return
    tasks: tuple[DeskTask, ...] = ()
    if case.phase == Phase.OPEN and not case.tasks_of():
        tasks = (occasion.task(case.case_no, TaskKind.ROUTE),)
    occasion.record(
        member,
        CaseLeftGroup,
        group_id=group_id,
        group_version=version,
        ground=ground,
        opens=tasks,
    )


def _resolve(
    occasion: Occasion,
    member: Kept[CaseDocument],
    group: GroupDocument,
    version: int,
    resolved: GroupResolved,
) -> None:
    case = member.document
    is_follower = (
        case.membership is not None
        and case.membership.group_id == group.document_id
        and case.case_no != group.case_no
    )
    if not is_follower or case.phase != Phase.OPEN:
        return
    occasion.record(
        member,
        CaseGroupResolved,
        group_id=group.document_id,
        group_version=version,
        department=resolved.department,
        outcome=resolved.outcome,
        result=resolved.result,
        ends=tuple(order.handoff_id for order in case.open_orders()),
        settles=case.tasks_of(),
        clears=running(case, DeadlineKind.SEEN, DeadlineKind.JUDGED, DeadlineKind.HANDED_OVER),
    )
