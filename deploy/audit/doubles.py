"""What happened twice in one case, though it is meant to happen once."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from contracts import handling as h
from contracts import triage as t
from contracts.envelope import Event
from contracts.lifecycle import CaseState
from contracts.vocabulary import Role
from deploy.audit.beside import FeedEntry
from deploy.audit.findings import Finding, FindingKind

_ONCE_BY_CAUSE = frozenset(
    one.type
    for one in (
        t.CaseOpened,
        t.CaseConflicted,
        t.CaseSeen,
        t.CaseJudged,
        t.CaseReturned,
        t.CaseUrged,
        t.InquiryOpened,
        t.InquiryAnswered,
        t.CaseAnswered,
        t.CaseNotAccepted,
        t.CaseResolved,
        t.CaseSupplemented,
        t.CaseWithdrawing,
        t.CaseWithdrawn,
        t.WithdrawalEnded,
        t.WishDeclined,
        t.CaseFinished,
        t.CaseRated,
        t.CaseVisited,
        t.CaseContacted,
        t.CaseReopened,
        t.CaseClosed,
        t.CaseJoinedGroup,
        t.CaseLeftGroup,
        t.CaseGroupResolved,
        t.GroupFormed,
        t.GroupResolved,
        t.GroupDissolved,
        h.HandoffQueued,
        h.HandoffSent,
        h.HandoffUndeliverable,
        h.HandoffSigned,
        h.HandoffReturned,
        h.HandoffPassedOn,
        h.HandoffProgressed,
        h.HandoffQuestioned,
        h.CitizenContacted,
        h.ExtensionRequested,
        h.HandoffExtended,
        h.HandoffResolved,
        h.HandoffUrged,
        h.HandoffSupplemented,
        h.HandoffRecalled,
        h.HandoffNotNeeded,
        h.DeliveryPlanned,
        h.CitizenTold,
        h.DeliveryTaken,
        h.DeliveryExhausted,
    )
)
"""Types of which one cause has at most one event in a document: a second one is the same input
decided twice. (One command may order or recall several hand-offs, and ask the desk twice.)"""

_ONCE_BY_ROUND = (t.CaseFinished, t.CaseRated, t.CaseReopened, t.CaseClosed)
"""One end, one rating, one beginning of each round, whatever their causes. A case that is closed
and then reopened is in its next round."""
_ONCE_BY_HANDOFF = (h.HandoffSent, h.HandoffReturned, h.HandoffResolved, h.HandoffRecalled)


def doubles_of(state: CaseState, in_feeds: Iterable[FeedEntry] = ()) -> Iterator[Finding]:
    """Yield what is double in a case. `in_feeds` are its hand-offs as the feeds have them."""
    for said in state.double:
        is_content = said.endswith("has two contents")
        kind = FindingKind.TWO_CONTENTS if is_content else FindingKind.TWO_OF_ONE_SEQ
        yield Finding(kind, state.case_no, said)
    found: dict[tuple[FindingKind, str], None] = {}
    for kind, what in (
        *_by_cause(state.timeline),
        *_by_round(state.timeline),
        *_by_handoff(state.timeline),
        *_told(state.timeline),
        *_leads(state),
        *_orders(state, in_feeds),
    ):
        found[kind, what] = None
    for kind, what in found:
        yield Finding(kind, state.case_no, what)


_Found = Iterator[tuple[FindingKind, str]]


def _by_cause(events: Iterable[Event]) -> _Found:
    count = Counter(
        (event.data.document_id, event.type, event.data.caused_by)
        for event in events
        if event.type in _ONCE_BY_CAUSE
    )
    for (document_id, type_, cause), times in count.items():
        if times > 1:
            what = f"{times} × {type_} of {document_id} by {cause}"
            yield FindingKind.DECIDED_TWICE, what


def _by_round(events: Iterable[Event]) -> _Found:
    count: Counter[tuple[str, int]] = Counter()
    for event in events:
        if isinstance(event.data, _ONCE_BY_ROUND):
            count[event.type, event.data.round] += 1
        elif isinstance(event.data, t.CaseOpened):
            count[event.type, 0] += 1
    for (type_, round_), times in count.items():
        if times > 1:
            yield FindingKind.DECIDED_TWICE, f"{times} × {type_} in round {round_}"


def _by_handoff(events: Iterable[Event]) -> _Found:
    count = Counter(
        (event.data.document_id, event.type)
        for event in events
        if isinstance(event.data, _ONCE_BY_HANDOFF)
    )
    for (handoff_id, type_), times in count.items():
        if times > 1:
            yield FindingKind.DECIDED_TWICE, f"{times} × {type_} of {handoff_id}"


def _told(events: Iterable[Event]) -> _Found:
    """Two deliveries that told of one event: other ids, the same thing said twice."""
    count = Counter(event.data.tells for event in events if isinstance(event.data, h.CitizenTold))
    for told, times in count.items():
        if times > 1:
            yield FindingKind.TOLD_TWICE, f"{times} × citizen.told of {told}"


def _leads(state: CaseState) -> _Found:
    if state.case is None:
        return
    leads = [one.handoff_id for one in state.case.open_orders() if one.role == Role.LEAD]
    if len(leads) > 1:
        yield FindingKind.TWO_LEADS, " and ".join(sorted(leads))


def _orders(state: CaseState, in_feeds: Iterable[FeedEntry]) -> _Found:
    ids: dict[tuple[int, str, str, int], set[str]] = defaultdict(set)
    for order in state.case.orders.values() if state.case else ():
        key = (order.round, order.role.value, order.department, order.attempt)
        ids[key].add(order.handoff_id)
    for entry in in_feeds:
        ids[entry.order].add(entry.handoff_id)
    for (round_, role, department, attempt), handoffs in ids.items():
        if len(handoffs) > 1:
            place = f"round {round_}, {role}, {department}, attempt {attempt}"
            yield FindingKind.ORDERED_TWICE, f"{place}: {' and '.join(sorted(handoffs))}"
