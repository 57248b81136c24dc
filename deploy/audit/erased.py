"""What still holds the person of an erased case."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from contracts.envelope import ContractError
from contracts.handling import HandoffEvent
from contracts.lifecycle import CaseState
from contracts.triage import CaseErased
from deploy.audit.beside import FeedEntry, Named
from deploy.audit.findings import Finding, FindingKind
from deploy.audit.log import Logged
from deploy.audit.stores import PASSING, OfCase
from deploy.erasure.personal import event_holds_person
from services.chassis.erasure import SECOND_PASS_AFTER

_GRACE_MS = 60_000
UNDER_WAY_MS = int(SECOND_PASS_AFTER.total_seconds() * 1_000) + _GRACE_MS
"""So long after its erasure was decided, or a late copy written, a case may hold its person."""


def erasure_of(
    erasure: "Erasure",
    feeds: Sequence[FeedEntry],
    letters_by_name: Mapping[str, Sequence[Named]],
    stored: OfCase | None,
) -> tuple[list[Finding], bool]:
    """Return what ought to be gone of an erased case, and whether some of it is yet to go; of
    another case nothing."""
    if not erasure.is_decided:
        return [], False
    letters = [one for name in erasure.names() for one in letters_by_name.get(name, ())]
    found: set[Finding] = set()
    is_under_way = False
    for what, written_ms in erasure.left(feeds, letters, stored):
        if erasure.is_old(written_ms):
            found.add(Finding(FindingKind.UNERASED, erasure.case_no, what))
        else:
            is_under_way = True
    return sorted(found), is_under_way


class Erasure:
    """One case's erasure, as the log tells it."""

    def __init__(self, records: Sequence[Logged], state: CaseState, now: datetime) -> None:
        self._records = records
        self._state = state
        self._now_ms = int(now.timestamp() * 1_000)
        self.case_no = state.case_no
        self.is_decided = state.case is not None and state.case.erased
        decided = {e.id for e in state.timeline if isinstance(e.data, CaseErased)}
        self._since_ms = min(
            (
                one.place.written_ms
                for one in records
                if one.key.decode("utf-8", "replace") in decided
            ),
            default=0,
        )

    def is_old(self, written_ms: int) -> bool:
        """Whether what was written then ought to be gone."""
        return self._now_ms - max(self._since_ms, written_ms) > UNDER_WAY_MS

    def left(
        self, feeds: Sequence[FeedEntry], named: Sequence[Named], stored: OfCase | None
    ) -> Iterator[tuple[str, int]]:
        """Yield what holds the person, with the time of its writing (ms; 0 where none is known)."""
        yield from self._on_the_log()
        for entry in feeds:
            if not entry.erased:
                yield f"hand-off {entry.handoff_id} in its feed", entry.written_ms
        for letter in named:
            yield f"dead letter {letter.service}/{letter.origin}", letter.written_ms
        if stored is not None:
            for name in stored.unredacted:
                yield f"{name} in the store", 0
            for service in sorted(PASSING - stored.passed):
                yield f"{service} has not gone through what it keeps", 0

    def names(self) -> set[str]:
        """Return the names under which dead letters may speak of the case."""
        handoffs = {
            event.data.document_id
            for event in self._state.timeline
            if isinstance(event.data, HandoffEvent)
        }
        return {self._state.case_no, *handoffs}

    def _on_the_log(self) -> Iterator[tuple[str, int]]:
        newest: dict[tuple[str, bytes], Logged] = {}
        for one in self._records:
            key = (one.place.topic, one.key)
            if key not in newest or newest[key].place.offset < one.place.offset:
                newest[key] = one
        for one in newest.values():
            if one.value is None:
                continue
            try:
                holds_person = event_holds_person(one.event())
            except ContractError:
                holds_person = True
            if holds_person:
                yield f"record {one.place.origin}", one.place.written_ms
