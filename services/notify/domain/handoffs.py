"""What becomes of a hand-off by what triage, the sender, the desk and the clock do."""

from datetime import datetime

from contracts import handling as h
from contracts import triage as t
from contracts.envelope import Event
from contracts.feeds import HandoffState
from contracts.lifecycle import HandoffDocument
from contracts.vocabulary import Firing
from services.chassis.due import Due
from services.chassis.kept import Kept
from services.notify.domain.because import Because
from services.notify.domain.clocks import RETURN_WINDOW, SIGNED, clocks_of, extended, running

_NOT_SENT = (HandoffState.QUEUED, HandoffState.UNDELIVERABLE)


def take_to_feed(because: Because, kept: Kept[HandoffDocument], data: t.HandoffOrdered) -> None:
    """The order goes to the department's feed, and its clock starts."""
    because.record_first(
        kept,
        h.HandoffSent,
        data.order,
        data.round,
        by="feed",
        sets=clocks_of(data.order, because.now),
    )


def take_to_queue(because: Because, kept: Kept[HandoffDocument], data: t.HandoffOrdered) -> None:
    """The order waits for its delivery by HTTP; the clock starts with the receipt."""
    because.record_first(kept, h.HandoffQueued, data.order, data.round)


def sent(
    because: Because, kept: Kept[HandoffDocument], by: str, receipt: str | None = None
) -> Event | None:
    """The department has it: its server gave a receipt, or a person rang. Once."""
    handoff = kept.document
    if handoff.sent_at is not None or handoff.order is None or not handoff.state.is_open:
        return None
    clocks = clocks_of(handoff.order, because.now)
    return because.record(kept, h.HandoffSent, by=by, receipt=receipt, sets=clocks)


def undeliverable(because: Because, kept: Kept[HandoffDocument], why: str) -> None:
    """Nobody took it: a person must ring."""
    if kept.document.state == HandoffState.QUEUED:
        because.record(kept, h.HandoffUndeliverable, why=why)


def recall(because: Because, kept: Kept[HandoffDocument], ground: str) -> None:
    """Take an order back, unless there is a result already."""
    handoff = kept.document
    if handoff.state == HandoffState.RESOLVED:
        because.record(kept, h.RecallTooLate)
    elif handoff.state.is_open:
        because.record(kept, h.HandoffRecalled, ground=ground, clears=running(handoff))


def end(because: Because, kept: Kept[HandoffDocument]) -> None:
    """The case has its outcome without this hand-off."""
    if kept.document.state.is_open:
        because.record(kept, h.HandoffNotNeeded, clears=running(kept.document))


def supplement(because: Because, kept: Kept[HandoffDocument], text: str | None) -> None:
    """The citizen's addition reaches an open hand-off."""
    if kept.document.state.is_open:
        because.record(kept, h.HandoffSupplemented, text=text)


def urge(because: Because, kept: Kept[HandoffDocument]) -> None:
    """A reminder (催办) reaches an open hand-off."""
    if kept.document.state.is_open:
        because.record(kept, h.HandoffUrged, urgings=kept.document.urgings + 1)


def extend(
    because: Because, kept: Kept[HandoffDocument], granted: bool, due_at: datetime | None
) -> None:
    """The desk's word on an extension (延期) reaches an open hand-off."""
    handoff = kept.document
    if not handoff.state.is_open:
        return
    sets = (extended(handoff, because.now, due_at),) if granted and due_at else ()
    because.record(kept, h.HandoffExtended, granted=granted, result_due_at=due_at, sets=sets)


def fire(kept: Kept[HandoffDocument], due: Due, now: datetime) -> None:
    """A clock came near its end or ran out.

    The end of the return window signs by itself (视同签收), which is no timely signature: the clock
    for signing goes on.
    """
    because = Because(due.cause(kept.document.document_id), now)
    name = due.deadline.name
    window_is_over = name == RETURN_WINDOW and due.firing == Firing.MISSED
    if window_is_over and kept.document.signed_at is None:
        because.record(kept, h.HandoffSigned, implied=True, clears=(name,))
        return
    because.record(
        kept,
        h.HandoffDeadlineFired,
        name=name,
        firing=due.firing,
        due_at=due.deadline.due_at,
    )


def is_signed_by_department(kept: Kept[HandoffDocument]) -> bool:
    """Whether the department signed, itself or by acting; the end of the window is not its word."""
    return any(
        isinstance(event.data, h.HandoffSigned) and event.data.reply_id is not None
        for event in kept.events
    )


def sign(because: Because, kept: Kept[HandoffDocument], *, reply_id: str, **said: object) -> None:
    """The department signs (签收), which ends its right to return."""
    because.record(
        kept,
        h.HandoffSigned,
        reply_id=reply_id,
        clears=running(kept.document, SIGNED, RETURN_WINDOW),
        **said,
    )


def is_waiting_to_be_sent(handoff: HandoffDocument) -> bool:
    """Whether nobody at the department has it yet."""
    return handoff.state in _NOT_SENT
