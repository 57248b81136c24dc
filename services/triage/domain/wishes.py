"""Citizens' later words: supplement, withdrawal, rating, erasure. Each gets an answer."""

from contracts.danger import find_danger
from contracts.envelope import Event, EventData
from contracts.lifecycle import CaseDocument, Phase
from contracts.requests import (
    ErasureRequested,
    RatingGiven,
    SupplementGiven,
    WithdrawalRequested,
)
from contracts.triage import (
    CaseLeftGroup,
    CaseSupplemented,
    CaseWithdrawing,
    CaseWithdrawn,
    DeskAsked,
    RecallOrdered,
    WishDeclined,
)
from contracts.vocabulary import DeskTask, TaskKind, Tier
from services.chassis.kept import Kept
from services.triage.domain.occasion import Occasion, running
from services.triage.domain.rounds import erase, rate

BY_OPERATOR = "operator:"
"""Begins what intake writes of an operator who asked for an erasure."""
_WORKING = (Phase.OPEN, Phase.ORDERED)
_STILL_RATABLE = ("no_answer", "not_reached", "visited")


def answer_wish(
    occasion: Occasion, kept: Kept[CaseDocument], wish: str, said: EventData
) -> list[Event]:
    """Answer a citizen's wish (its event id and content) with one event or more."""
    match said:
        case SupplementGiven():
            return supplement(occasion, kept, wish, said.text)
        case WithdrawalRequested():
            return withdrawal(occasion, kept, wish)
        case RatingGiven():
            return rating(occasion, kept, wish, said)
        case ErasureRequested():
            return erasure(occasion, kept, wish, said.by)
        case _:
            return []


def supplement(
    occasion: Occasion, kept: Kept[CaseDocument], wish: str, text: str | None
) -> list[Event]:
    """Take an addition in; every open order gets it, and the desk sees what it changes."""
    case = kept.document
    if case.erased:
        return [occasion.record(kept, WishDeclined, wish=wish, ground="erased")]
    if case.phase == Phase.CLOSED:
        return [occasion.record(kept, WishDeclined, wish=wish, ground="closed")]
    tasks: list[DeskTask] = []
    if text and case.tier != Tier.RED and find_danger(text, occasion.profile):
        tasks.append(occasion.task(case.case_no, TaskKind.JUDGE, wish=wish))
    if case.phase not in _WORKING:
        tasks.append(occasion.task(case.case_no, TaskKind.SUPPLEMENT, wish=wish))
        return [occasion.record(kept, DeskAsked, opens=tuple(tasks))]
    if not case.tasks_of() and case.phase == Phase.OPEN:
        tasks.append(occasion.task(case.case_no, TaskKind.SUPPLEMENT, wish=wish))
    return [
        occasion.record(
            kept,
            CaseSupplemented,
            text=text,
            reaches=tuple(order.handoff_id for order in case.open_orders()),
            opens=tuple(tasks),
            settles=case.tasks_of(TaskKind.QUESTION),
        )
    ]


def erasure(occasion: Occasion, kept: Kept[CaseDocument], wish: str, by: str) -> list[Event]:
    """Erase at once what the operator asks for, and what is over; else a person looks first,
    since whoever handles an open case needs to know whom it is about."""
    case = kept.document
    if case.erased:
        return [occasion.record(kept, WishDeclined, wish=wish, ground="erased")]
    if by.startswith(BY_OPERATOR) or case.phase == Phase.CLOSED:
        return [erase(occasion, kept, by)]
    task = occasion.task(case.case_no, TaskKind.ERASURE, wish=wish)
    return [occasion.record(kept, DeskAsked, opens=(task,))]


def withdrawal(occasion: Occasion, kept: Kept[CaseDocument], wish: str) -> list[Event]:
    """Withdraw, recall first what was ordered, or let a person decide (red)."""
    case = kept.document
    if case.phase not in _WORKING or case.withdrawing:
        ground = "withdrawing" if case.withdrawing else "finished"
        return [occasion.record(kept, WishDeclined, wish=wish, ground=ground)]
    if case.tier == Tier.RED and occasion.profile.rules.requires_person_for_red_withdrawal:
        task = occasion.task(case.case_no, TaskKind.WITHDRAWAL, wish=wish)
        return [occasion.record(kept, DeskAsked, opens=(task,))]
    return withdraw(occasion, kept, wish)


def withdraw(
    occasion: Occasion, kept: Kept[CaseDocument], wish: str, person: str | None = None
) -> list[Event]:
    """Withdraw the case: at once if nothing is ordered, else when all is recalled."""
    case = kept.document
    to_recall = tuple(order.handoff_id for order in case.open_orders())
    settles = case.tasks_of(TaskKind.WITHDRAWAL)
    if not to_recall:
        return withdrawn(occasion, kept, wish, person)
    events = [
        occasion.record(kept, RecallOrdered, handoff_id=handoff_id, ground="withdrawal")
        for handoff_id in to_recall
        if case.phase == Phase.ORDERED
    ]
    if not events:  # only assists are left of an order that was returned: they end with it
        return withdrawn(occasion, kept, wish, person, ends=to_recall)
    events.append(
        occasion.record(kept, CaseWithdrawing, wish=wish, handoff_ids=to_recall, settles=settles)
    )
    return events


def withdrawn(
    occasion: Occasion,
    kept: Kept[CaseDocument],
    wish: str,
    person: str | None = None,
    ends: tuple[str, ...] = (),
) -> list[Event]:
    """The withdrawal holds; a member leaves its group."""
    case = kept.document
    events: list[Event] = []
    if case.membership is not None:
        events.append(
            occasion.record(
                kept,
                CaseLeftGroup,
                group_id=case.membership.group_id,
                group_version=case.membership.version,
                ground="withdrawn",
            )
        )
    events.append(
        occasion.record(
            kept,
            CaseWithdrawn,
            wish=wish,
            person=person,
            ends=ends,
            settles=case.tasks_of(),
            clears=running(case),
        )
    )
    return events


def rating(
    occasion: Occasion, kept: Kept[CaseDocument], wish: str, given: RatingGiven
) -> list[Event]:
    """Count a rating for the last round, or say why it cannot count."""
    case = kept.document
    has_rated = any(m.round == case.round and not m.by_visit for m in case.marks)
    is_closed_for_good = case.phase == Phase.CLOSED and case.closed_ground not in _STILL_RATABLE
    if case.phase in _WORKING:
        return [occasion.record(kept, WishDeclined, wish=wish, ground="not_finished")]
    if has_rated or is_closed_for_good:
        return [occasion.record(kept, WishDeclined, wish=wish, ground="rated_or_closed")]
    return rate(occasion, kept, given.rating)
