"""What happened twice in effect: hand-offs, webhooks, messages to citizens, ends of rounds.

The same delivery with the same id as often as it likes is no double: its receiver takes it once.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from contracts import handling, triage
from contracts.lifecycle import CaseState
from tests.chaos import journal

_ONCE_A_ROUND = ("answered", "resolved", "not_accepted", "finished_ask_rating")
_ENDS = (triage.CaseFinished, triage.CaseClosed, triage.CaseRated)


def on_log(state: CaseState) -> Iterator[str]:
    """What stands twice on the log of one case."""
    yield from state.double
    counts: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for event in state.timeline:
        data = event.data
        if isinstance(data, triage.CaseOpened):
            counts["opened",].add(event.id)
        elif isinstance(data, _ENDS):
            counts[event.type, data.round].add(event.id)
        elif isinstance(data, triage.HandoffOrdered):
            order = ("order", data.round, data.role, data.order.department, data.attempt)
            counts[order].add(data.handoff_id)
        elif isinstance(data, handling.HandoffSent | handling.HandoffResolved):
            counts[event.type, data.document_id].add(event.id)
    for what, ids in counts.items():
        if len(ids) > 1:
            yield f"{' '.join(map(str, what))} {len(ids)} times"


def at_departments(folder: Path) -> Iterator[str]:
    """Orders that a hotline got by webhook under two ids."""
    seen: dict[tuple[str, int], set[str]] = defaultdict(set)
    orders: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for one in journal.read(folder, journal.WEBHOOKS):
        seen[one["handoff_id"], one["version"]].add(one["webhook_id"])
        orders[one["case_no"], one["department"], *one["order"]].add(one["handoff_id"])
    yield from _more_than_one("webhook of hand-off", seen)
    yield from _more_than_one("order", orders)


def at_citizens(folder: Path) -> Iterator[str]:
    """Messages that a citizen got twice."""
    by_event: dict[tuple[str, str], set[str]] = defaultdict(set)
    by_step: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for one in journal.read(folder, journal.TOLD):
        by_event[one["case_no"], one["event_id"]].add(one["webhook_id"])
        if one["step"] in _ONCE_A_ROUND:
            by_step[one["case_no"], one["step"], one["round"]].add(one["event_id"])
    yield from _more_than_one("message about event", by_event)
    yield from _more_than_one("message", by_step)


def in_feeds(entries: Iterable[tuple[tuple[object, ...], str]]) -> Iterator[str]:
    """Orders that stand in a feed under two ids; entries are (order, hand-off)."""
    orders: dict[tuple[object, ...], set[str]] = defaultdict(set)
    for order, handoff_id in entries:
        orders[order].add(handoff_id)
    yield from _more_than_one("order in feed", orders)


def _more_than_one(what: str, found: Mapping[Any, set[str]]) -> Iterator[str]:
    for key, ids in found.items():
        if len(ids) > 1:
            yield f"{what} {' '.join(map(str, key))} under {len(ids)} ids"
