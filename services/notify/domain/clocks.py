"""The department's clock: it runs from dispatch and waits for no signature."""

from datetime import datetime

from contracts.lifecycle import HandoffDocument, deadline_name
from contracts.triage import HandoffOrder
from contracts.vocabulary import Deadline, DeadlineKind

SIGNED = deadline_name(DeadlineKind.SIGNED)
RETURN_WINDOW = deadline_name(DeadlineKind.RETURN_WINDOW)
RESULT = deadline_name(DeadlineKind.RESULT)


def clocks_of(order: HandoffOrder, sent_at: datetime) -> tuple[Deadline, ...]:
    """Return the clocks that start with the dispatch. A binding order has no return window."""
    clocks = []
    if order.sign_due_at is not None:
        clocks.append(_clock(DeadlineKind.SIGNED, 1, sent_at, order.sign_due_at, order.near_share))
    if order.return_until is not None and not order.binding:
        window = DeadlineKind.RETURN_WINDOW
        clocks.append(
            Deadline(name=deadline_name(window), kind=window, version=1, due_at=order.return_until)
        )
    if order.result_due_at is not None:
        result = DeadlineKind.RESULT
        clocks.append(_clock(result, 1, sent_at, order.result_due_at, order.near_share))
    return tuple(clocks)


def extended(handoff: HandoffDocument, now: datetime, due_at: datetime) -> Deadline:
    """Return the clock for the result as the desk has extended it, one version higher."""
    share = handoff.order.near_share if handoff.order else 1.0
    version = handoff.versions.get(RESULT, 0) + 1
    return _clock(DeadlineKind.RESULT, version, now, due_at, share)


def running(handoff: HandoffDocument, *names: str) -> tuple[str, ...]:
    """Return those of the named clocks (of all, if none is named) that run."""
    return tuple(name for name in handoff.deadlines if not names or name in names)


def _clock(
    kind: DeadlineKind, version: int, start: datetime, due_at: datetime, near_share: float
) -> Deadline:
    near_at = start + (due_at - start) * near_share
    return Deadline(
        name=deadline_name(kind),
        kind=kind,
        version=version,
        due_at=due_at,
        near_at=near_at if start < near_at < due_at else None,
    )
