"""Which events the citizen is told, as which step, and in which words.

Pure. Notify brings these sentences to the channel, reporting shows them in the public timeline:
both read the same table, so what a citizen was told and what they look up cannot differ.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from contracts import handling as h
from contracts import triage as t
from contracts.envelope import Event, EventData
from contracts.profile import Profile, Step
from contracts.vocabulary import DeadlineKind, OutcomeKind, Role

ERASED = "（内容已清除）"
"""Stands for words of a person that were erased."""
_NO_DUE = "规定时限"
_SOME_DEPARTMENT = "承办单位"
_ASKED_FOR_RATING = frozenset({OutcomeKind.ANSWER, OutcomeKind.RESULT})


@dataclass(frozen=True, slots=True)
class Told:
    """One thing that the citizen is told. An outcome step, once told, finishes the round (办结).

    `department` is the code of the department that the sentence is about, where there is one.
    """

    step: Step
    is_outcome: bool
    text: str
    department: str | None = None


@dataclass(frozen=True, slots=True)
class _Said:
    step: Step
    fields: dict[str, str]
    is_outcome: bool = False
    department: str | None = None


def told_step(
    event: Event,
    profile: Profile,
    *,
    outcome: OutcomeKind | None = None,
    department: str | None = None,
) -> Told | None:
    """Return what the citizen is told of an event, or None for what is no business of theirs.

    `outcome` is the outcome of the round that `case.finished` ends, for events that do not carry
    it; `department` the code of the leading department, for a `withdrawal.ended` that does not
    name it. Without it the sentence speaks of the unit in charge.
    """
    data = event.data
    table = _TABLE.get(event.type)
    if table is None:
        return None
    said = table(_Context(profile, outcome, department), data)
    if said is None:
        return None
    text = profile.say(said.step, case_no=data.case_no, **said.fields)
    return Told(said.step, said.is_outcome, text, said.department)


def local_time(moment: datetime, time_zone: str) -> str:
    """Return a time as it is said to people: `1月18日 15:20` in the profile's zone."""
    local = moment.astimezone(_zone(time_zone))
    return f"{local.month}月{local.day}日 {local:%H:%M}"


@lru_cache(maxsize=8)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@dataclass(frozen=True, slots=True)
class _Context:
    profile: Profile
    outcome: OutcomeKind | None
    department: str | None

    def department_name(self, code: str | None) -> str:
        known = self.profile.departments_by_code.get(code) if code else None
        return known.name if known else _SOME_DEPARTMENT

    def category_name(self, code: str) -> str:
        known = self.profile.categories_by_code.get(code)
        return known.name if known else code

    def due(self, moment: datetime | None) -> str:
        return local_time(moment, self.profile.time_zone) if moment else _NO_DUE


_Sayer = Callable[[_Context, EventData], _Said | None]
_TABLE: dict[str, _Sayer] = {}


def _says(*types: type[EventData]) -> Callable[[_Sayer], _Sayer]:
    def enter(sayer: _Sayer) -> _Sayer:
        for data_type in types:
            _TABLE[data_type.type] = sayer
        return sayer

    return enter


def _told_by(data: t.CaseEvent) -> datetime | None:
    """Return until when the citizen is promised an answer, if the event sets that clock."""
    due = [deadline.due_at for deadline in data.sets if deadline.kind == DeadlineKind.TOLD]
    return due[0] if due else None


def _words(text: str | None) -> str:
    return text or ERASED


@_says(t.CaseOpened)
def _opened(context: _Context, data: EventData) -> _Said | None:
    if not isinstance(data, t.CaseOpened):
        return None
    category = context.category_name(data.decision.category)
    return _Said("accepted", {"category": category, "due": context.due(_told_by(data))})


@_says(t.HandoffOrdered)
def _ordered(context: _Context, data: EventData) -> _Said | None:
    if not isinstance(data, t.HandoffOrdered) or data.role != Role.LEAD:
        return None
    code = data.order.department
    fields = {
        "department": context.department_name(code),
        "due": context.due(data.order.result_due_at),
    }
    return _Said("handed_over", fields, department=code)


@_says(h.HandoffSigned, h.HandoffProgressed, h.HandoffQuestioned)
def _handled(context: _Context, data: EventData) -> _Said | None:
    """A question is passed on from assisting departments too: an unasked one helps nobody."""
    if not isinstance(data, h.HandoffEvent):
        return None
    name = context.department_name(data.department)
    if isinstance(data, h.HandoffQuestioned):
        return _Said("question", {"text": _words(data.text)}, department=data.department)
    if data.role != Role.LEAD:
        return None
    if isinstance(data, h.HandoffProgressed):
        fields = {"department": name, "text": _words(data.text)}
        return _Said("progress", fields, department=data.department)
    if isinstance(data, h.HandoffSigned) and not data.implied:
        return _Said("signed", {"department": name}, department=data.department)
    return None


@_says(t.CaseAnswered, t.CaseResolved, t.CaseGroupResolved)
def _settled(context: _Context, data: EventData) -> _Said | None:
    match data:
        case t.CaseAnswered():
            return _Said("answered", {"text": _words(data.answer.text)}, is_outcome=True)
        case t.CaseGroupResolved(outcome="answer"):
            return _Said("answered", {"text": _words(data.result.text)}, is_outcome=True)
        case t.CaseResolved() | t.CaseGroupResolved():
            name = context.department_name(data.department)
            fields = {"department": name, "text": _words(data.result.text)}
            return _Said("resolved", fields, is_outcome=True, department=data.department)
    return None


@_says(t.CaseNotAccepted)
def _not_accepted(context: _Context, data: EventData) -> _Said | None:
    if not isinstance(data, t.CaseNotAccepted):
        return None
    hotline = context.profile.hotlines_by_code.get("12345")
    elsewhere = f"{hotline.code}{hotline.name}" if hotline else _SOME_DEPARTMENT
    where = data.instead or (ERASED if data.rev else elsewhere)
    fields = {"reason": _words(data.reason), "where": where}
    return _Said("not_accepted", fields, is_outcome=True)


@_says(t.CaseWithdrawn, t.WithdrawalEnded)
def _withdrawal(context: _Context, data: EventData) -> _Said | None:
    if isinstance(data, t.CaseWithdrawn):
        return _Said("withdrawn", {}, is_outcome=True)
    if isinstance(data, t.WithdrawalEnded) and data.ground == "too_late":
        department = data.department or context.department
        name = context.department_name(department)
        return _Said("withdrawal_too_late", {"department": name}, department=department)
    return None


@_says(t.CaseFinished)
def _finished(context: _Context, data: EventData) -> _Said | None:
    """Whoever withdrew or was sent elsewhere is not asked how content they are."""
    outcome = (data.outcome if isinstance(data, t.CaseFinished) else None) or context.outcome
    return _Said("finished_ask_rating", {}) if outcome in _ASKED_FOR_RATING else None


@_says(t.CaseReopened)
def _reopened(context: _Context, data: EventData) -> _Said | None:
    if not isinstance(data, t.CaseReopened):
        return None
    return _Said("reopened", {"due": context.due(_told_by(data))})


@_says(t.CaseClosed)
def _closed(context: _Context, data: EventData) -> _Said | None:
    return _Said("closed", {})


@_says(t.CaseJoinedGroup)
def _grouped(context: _Context, data: EventData) -> _Said | None:
    """The sentence counts the others; somebody alone in a group is told nothing."""
    if not isinstance(data, t.CaseJoinedGroup) or data.size < 2:
        return None
    return _Said("grouped", {"count": str(data.size - 1)})
