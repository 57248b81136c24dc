"""Orders to departments: giving them, and taking them back."""

from datetime import timedelta

from contracts.envelope import Event
from contracts.ids import handoff_id
from contracts.lifecycle import CaseDocument
from contracts.triage import HandoffOrder, HandoffOrdered, RecallOrdered
from contracts.vocabulary import DeadlineKind, Decision, RequestContent, Role, TaskKind
from services.chassis.kept import Kept
from services.triage.domain.occasion import NotPossible, Occasion, running

CONFIDENTIAL_CATEGORY = "report"
"""防疫线索举报: who reported never reaches a department."""

SETTLED_BY_ORDER = (TaskKind.ROUTE, TaskKind.RETURNED, TaskKind.REOPENED, TaskKind.CLASSIFY)


def hand_off(
    occasion: Occasion,
    kept: Kept[CaseDocument],
    lead: str,
    assists: tuple[str, ...] = (),
    *,
    person: str | None = None,
    note: str | None = None,
    binding: bool = False,
    settles: tuple[str, ...] = (),
) -> list[Event]:
    """Order a leading and any assisting departments. An order that leads already is recalled.

    Raises NotPossible for a department that the profile does not have, or for one that returned
    the case before, unless the order binds (指派).
    """
    case = kept.document
    for department in (lead, *assists):
        if department not in occasion.profile.departments_by_code:
            raise NotPossible(f"本市没有代码为 {department} 的部门")
    if lead in case.returned_by and not binding:
        raise NotPossible(f"{lead} 已退过这件，只有指派才能再交给它")
    events: list[Event] = []
    current = case.lead_order()
    if current is not None:
        events.append(
            occasion.record(kept, RecallOrdered, handoff_id=current.handoff_id, ground="rerouted")
        )
    settled = (*settles, *case.tasks_of(*SETTLED_BY_ORDER))
    events.append(_order(occasion, kept, Role.LEAD, lead, note, binding, person, settled))
    open_assists = {o.department for o in case.open_orders() if o.role == Role.ASSIST}
    events.extend(
        _order(occasion, kept, Role.ASSIST, department, note, False, person, ())
        for department in assists
        if department not in open_assists and department != lead
    )
    return events


def _order(
    occasion: Occasion,
    kept: Kept[CaseDocument],
    role: Role,
    department: str,
    note: str | None,
    binding: bool,
    person: str | None,
    settles: tuple[str, ...],
) -> Event:
    case = kept.document
    decision, tier = case.decision, case.tier
    if decision is None or tier is None or case.request is None:
        raise NotPossible("个人信息已删除的办件不能交办")
    attempt = case.next_attempt(role, department)
    clocks = occasion.profile.tier(tier.value).clocks
    order = HandoffOrder(
        handoff_id=handoff_id(case.case_no, case.round, role, department, attempt),
        department=department,
        role=role,
        attempt=attempt,
        binding=binding,
        category=decision.category,
        tier=tier,
        cause=decision.cause,
        region=decision.region,
        accepted_at=case.accepted_at,
        request=_as_department_sees(case.request, decision),
        confidential=is_confidential(decision),
        note=note,
        supplements=tuple(case.supplements),
        sign_due_at=occasion.now + timedelta(minutes=clocks.signed),
        result_due_at=occasion.now + timedelta(minutes=clocks.result),
        near_share=clocks.near_share,
        return_until=None if binding else occasion.now + timedelta(minutes=clocks.return_window),
        returned_by=tuple(case.returned_by),
    )
    is_lead = role == Role.LEAD
    handed_over = running(case, DeadlineKind.HANDED_OVER, DeadlineKind.SEEN) if is_lead else ()
    return occasion.record(
        kept,
        HandoffOrdered,
        handoff_id=order.handoff_id,
        role=role,
        attempt=attempt,
        order=order,
        person=person,
        settles=settles,
        clears=handed_over,
    )


def is_confidential(decision: Decision) -> bool:
    """Whether the reporter must stay unknown to departments."""
    return decision.category == CONFIDENTIAL_CATEGORY


def _as_department_sees(request: RequestContent, decision: Decision) -> RequestContent:
    """Leave out what a department may not see: who reported a breach.

    The callback address stays for notify alone, which puts it into no feed.
    """
    if not is_confidential(decision):
        return request
    return request.model_copy(update={"contact": None, "on_behalf_of": None, "external_id": None})
