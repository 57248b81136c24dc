"""What a department's reply means for its hand-off.

Every act is an answer to the order, so each signs it by itself. A reply that does not apply is
recorded as refused, with its reason, and a late result is kept with it.
"""

from dataclasses import replace
from datetime import datetime
from enum import StrEnum

from contracts import handling as h
from contracts.feeds import (
    AnyReply,
    ContactedReply,
    ExtensionReply,
    HandoffState,
    PassOnReply,
    ProgressReply,
    QuestionReply,
    ResultReply,
    ReturnReply,
    SignReply,
)
from contracts.lifecycle import HandoffDocument
from contracts.profile import Profile
from contracts.vocabulary import Result
from services.chassis.kept import Kept
from services.notify.domain.because import Because
from services.notify.domain.clocks import running
from services.notify.domain.feed import result_due_at
from services.notify.domain.handoffs import (
    is_signed_by_department,
    is_waiting_to_be_sent,
    sent,
    sign,
)


class Refusal(StrEnum):
    """Why a reply does not apply: the value stands in the event."""

    BINDING = "binding"
    WINDOW_OVER = "window_over"
    SIGNED_ALREADY = "signed_already"
    RETURNED_BEFORE = "returned_before"
    NAMES_ITSELF = "names_itself"
    NOT_LATER = "not_later"
    RESOLVED = "resolved"
    RETURNED = "returned"
    RECALLED = "recalled"
    NOT_NEEDED = "not_needed"


WORDS: dict[str, str] = {
    Refusal.BINDING: "这是指派件，须由贵单位办理，不能退单。",
    Refusal.WINDOW_OVER: "退单期限已过，视同签收，请继续办理。",
    Refusal.SIGNED_ALREADY: "已经签收或开始办理，不能再退单。",
    Refusal.RETURNED_BEFORE: "同一单位对同一办件只能退单一次。",
    Refusal.NAMES_ITSELF: "退单时须写明应由哪个其他单位办理。",
    Refusal.NOT_LATER: "申请的期限须晚于现在的办结期限。",
    Refusal.RESOLVED: "该交办件已有办理结果，已经结束。",
    Refusal.RETURNED: "该交办件已经退单。",
    Refusal.RECALLED: "该交办件已经撤回，不用再办。",
    Refusal.NOT_NEEDED: "该办件已有结果，这份交办不用再办。",
}
_ENDED = {
    HandoffState.RESOLVED: Refusal.RESOLVED,
    HandoffState.RETURNED: Refusal.RETURNED,
    HandoffState.RECALLED: Refusal.RECALLED,
    HandoffState.NOT_NEEDED: Refusal.NOT_NEEDED,
}


def cause_of(department: str, reply: AnyReply) -> str:
    """Return what a reply's events are caused by: the same by topic and by HTTP."""
    return f"reply:{department}/{reply.handoff_id}/{reply.reply_id}"


def time_of(handoff: HandoffDocument, said: datetime | None, now: datetime) -> datetime:
    """Return when the act happened: what the reply says, but not before the order, nor later."""
    earliest = handoff.ordered_at or now
    return min(max(said or now, earliest), now)


def take(
    because: Because,
    kept: Kept[HandoffDocument],
    reply: AnyReply,
    profile: Profile,
    *,
    came_late: bool = False,
) -> None:
    """Record what a reply means. `came_late`: it may have waited on the bus, so the window for
    returning is measured by the time it gives; over HTTP by the time it came."""
    acted_at = time_of(kept.document, reply.occurred_at, because.now)
    because = replace(because, acted_at=acted_at)
    decided_at = acted_at if came_late else because.now
    if is_waiting_to_be_sent(kept.document):
        sent(because, kept, "http")
    refusal = refusal_of(kept, reply, decided_at, profile)
    if refusal is not None:
        _refuse(because, kept, reply, refusal)
        return
    if isinstance(reply, SignReply):
        if not is_signed_by_department(kept):
            sign(because, kept, reply_id=reply.reply_id, person=reply.person)
        return
    if not isinstance(reply, ReturnReply) and not is_signed_by_department(kept):
        sign(because, kept, reply_id=reply.reply_id, person=reply.person, implied=True)
    _record(because, kept, reply, profile)


def refusal_of(
    kept: Kept[HandoffDocument], reply: AnyReply, decided_at: datetime, profile: Profile
) -> Refusal | None:
    """Return why a reply does not apply, or None if it does."""
    handoff = kept.document
    if not handoff.state.is_open:
        return _ENDED[handoff.state]
    if isinstance(reply, ReturnReply):
        return _return_refused(kept, reply, decided_at, profile)
    if isinstance(reply, ExtensionReply):
        due = result_due_at(kept)
        if due is not None and reply.result_due_at <= due:
            return Refusal.NOT_LATER
    return None


def _return_refused(
    kept: Kept[HandoffDocument], reply: ReturnReply, decided_at: datetime, profile: Profile
) -> Refusal | None:
    handoff, order = kept.document, kept.document.order
    if order is None or order.binding:
        return Refusal.BINDING
    if profile.rules.same_department_returns_once and handoff.department in order.returned_by:
        return Refusal.RETURNED_BEFORE
    if is_signed_by_department(kept):
        return Refusal.SIGNED_ALREADY
    if order.return_until is not None and decided_at > order.return_until:
        return Refusal.WINDOW_OVER
    if proper_department(profile, reply.proper_department) == handoff.department:
        return Refusal.NAMES_ITSELF
    return None


def proper_department(profile: Profile, named: str) -> str:
    """Return the code of a department that is named by code or name; else what was named."""
    codes = {one.name: one.code for one in profile.departments}
    return codes.get(named, named)


def _refuse(
    because: Because, kept: Kept[HandoffDocument], reply: AnyReply, refusal: Refusal
) -> None:
    because.record(
        kept,
        h.ReplyRefused,
        reply_id=reply.reply_id,
        person=reply.person,
        act=reply.act,
        why=refusal.value,
        result=_result(reply) if isinstance(reply, ResultReply) else None,
    )


def _result(reply: ResultReply) -> Result:
    return Result(text=reply.text, acts=reply.acts, acted_at=reply.acted_at, contact=reply.contact)


def _record(
    because: Because, kept: Kept[HandoffDocument], reply: AnyReply, profile: Profile
) -> None:
    said = {"reply_id": reply.reply_id, "person": reply.person}
    ends = running(kept.document)
    match reply:
        case ReturnReply(ground=ground, proper_department=named):
            proper = proper_department(profile, named)
            because.record(
                kept,
                h.HandoffReturned,
                ground=ground,
                proper_department=proper,
                clears=ends,
                **said,
            )
        case PassOnReply(unit=unit):
            because.record(kept, h.HandoffPassedOn, unit=unit, **said)
        case ProgressReply(text=text):
            because.record(kept, h.HandoffProgressed, text=text, **said)
        case QuestionReply(text=text):
            because.record(kept, h.HandoffQuestioned, text=text, **said)
        case ContactedReply(by=by, contacted_at=at, reached=reached):
            because.record(
                kept, h.CitizenContacted, by=by, contacted_at=at, reached=reached, **said
            )
        case ExtensionReply(ground=ground, result_due_at=due_at):
            because.record(kept, h.ExtensionRequested, ground=ground, result_due_at=due_at, **said)
        case ResultReply():
            because.record(kept, h.HandoffResolved, result=_result(reply), clears=ends, **said)


class Outcome(StrEnum):
    """What became of a reply that was not refused."""

    TAKEN = "taken"
    OTHER = "other"
    """Something else was said under the same id."""


def outcome_of(kept: Kept[HandoffDocument], cause: str, act: str) -> Outcome | Refusal | None:
    """Return what a reply came to; None if it changed nothing (signed once more)."""
    events = kept.of_cause(cause)
    if not events:
        return None
    last = events[-1].data
    if isinstance(last, h.ReplyRefused):
        return Refusal(last.why) if last.act == act else Outcome.OTHER
    return Outcome.TAKEN if isinstance(last, _TYPES[act]) else Outcome.OTHER


_TYPES: dict[str, type[h.ReplyEvent]] = {
    "sign": h.HandoffSigned,
    "return": h.HandoffReturned,
    "pass_on": h.HandoffPassedOn,
    "progress": h.HandoffProgressed,
    "question": h.HandoffQuestioned,
    "contacted": h.CitizenContacted,
    "extension": h.ExtensionRequested,
    "result": h.HandoffResolved,
}
