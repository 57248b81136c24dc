"""What the audit of one case finds, and that it finds nothing where nothing is wrong."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from contracts import handling as h
from contracts import requests as r
from contracts import triage as t
from contracts.envelope import Event
from contracts.feeds import HandoffState
from contracts.lifecycle import Phase
from contracts.vocabulary import Rating, Role, TaskKind
from deploy.audit.beside import FeedEntry, Replied
from deploy.audit.cases import CaseFile, CaseReport
from deploy.audit.findings import DeadLetter, Finding, FindingKind, Standing
from deploy.audit.log import Handled, Place
from tests.contract.acts import submit
from tests.contract.histories import History, case_number
from tests.contract.stories import SCRIPTS, follow, history_from, rest
from tests.unit.audit_files import (
    all_handled,
    audited,
    file_of,
    kinds,
    log_of,
    logged,
    nothing_handled,
    without_store,
)


def closed(script: str = "nothing special") -> History:
    """Return a history that has come to its end."""
    for seed in range(200):
        history = history_from(seed, script, steps=0)
        if history.case.phase is Phase.CLOSED and not history.is_erased:
            return history
    raise AssertionError("no history closes")


def ordered_by_feed() -> History:
    """Return a case whose leading department has it in its feed, and nothing more."""
    for seed in range(200):
        history = history_from(seed, "lead and assists", steps=0)
        if all(one.sent_by == "feed" for one in history.handoffs.values()) and history.handoffs:
            return history
    raise AssertionError("no history has feeds alone")


def without(history: History, *unwanted: Event) -> list[Event]:
    ids = {event.id for event in unwanted}
    return [event for event in history.events if event.id not in ids]


def last(history: History, type_: type) -> Event:
    return next(e for e in reversed(history.events) if isinstance(e.data, type_))


# --- what is sound

_FREE_IN_HISTORIES = ("case.rated in round", "case.group_resolved of", "case.joined_group of")
"""What the histories' citizens and groups may do twice, and the real triage declines."""


def some_histories(count: int) -> Iterator[History]:
    """Yield histories of every script, some long, some of a citizen who was erased."""
    for seed in range(count):
        script = sorted(SCRIPTS)[seed % len(SCRIPTS)]
        yield history_from(seed, script, steps=seed % 50, erased=seed % 9 == 0)


def test_a_whole_history_is_sound_whatever_happened_in_it() -> None:
    ends = Counter[Phase]()
    for history in some_histories(200):
        report = audited(file_of(history))
        found = {
            one.kind
            for one in report.findings
            if not any(what in one.what for what in _FREE_IN_HISTORIES)
        }
        if history.case.phase is Phase.CLOSED:
            assert found == set(), history.done
            assert report.sound_standing in (Standing.CLOSED, Standing.WAITING)
        else:
            assert found <= {FindingKind.STRANDED, FindingKind.UNANSWERED}, history.done
        ends[history.case.phase] += 1
    assert ends[Phase.CLOSED] > 100


def lost_or_double(report: CaseReport) -> set[Finding]:
    """What was found, but for what compaction leaves of an erased person: the last of each key."""
    return {one for one in report.findings if one.kind is not FindingKind.UNERASED}


def test_order_and_repetition_do_not_matter() -> None:
    for history in some_histories(40):
        twice = [*history.events, *history.events]
        random.Random(7).shuffle(twice)
        once, again = audited(file_of(history)), audited(file_of(history, twice))
        assert lost_or_double(once) == lost_or_double(again)


def test_a_closed_case_is_closed_and_is_counted_once() -> None:
    history = closed()
    report = audited(file_of(history))
    assert report.standing is Standing.CLOSED
    assert report.events == len({event.id for event in history.events})


# --- what is missing


def test_any_event_that_is_lost_is_found() -> None:
    for number, history in enumerate(some_histories(100)):
        events = {event.id: event for event in history.events}
        lost = list(events.values())[number * 31 % len(events)]
        report = audited(file_of(history, without(history, lost)))
        new = report.findings - audited(file_of(history)).findings
        assert any(not one.kind.is_double for one in new), lost.type


def test_the_loss_of_the_last_event_only_the_store_shows() -> None:
    history = closed()
    lost = last(history, t.CaseClosed)
    file = file_of(history, without(history, lost))
    assert FindingKind.STORE_AHEAD in kinds(audited(file))
    bare, beyond = without_store(file)
    assert FindingKind.STORE_AHEAD not in kinds(audited(bare, beyond))


def test_the_store_keeps_every_document_but_what_is_left_for_lookup() -> None:
    history = next(
        one
        for one in some_histories(200)
        if any(delivery.by == "lookup" for delivery in one.deliveries.values())
        and one.case.phase is Phase.CLOSED
    )
    file = file_of(history)
    assert file.stored is not None
    for delivery in history.deliveries.values():
        if delivery.by == "lookup":
            del file.stored.versions[delivery.document_id]
    assert FindingKind.STORE_BEHIND not in kinds(audited(file))
    del file.stored.versions[history.case_no]
    assert FindingKind.STORE_BEHIND in kinds(audited(file))


def test_a_gap_names_the_document_and_the_place() -> None:
    history = closed()
    second = next(e for e in history.events if e.data.document_id == history.case_no and e.data.seq)
    report = audited(file_of(history, without(history, second)))
    gaps = [one.what for one in report.findings if one.kind is FindingKind.GAP]
    assert f"document {history.case_no} lacks seq {second.data.seq}" in gaps


def test_what_intake_accepted_and_the_log_lacks_is_found() -> None:
    history = History(case_number(7))
    submit(history, None, lambda options: options[0])
    report = audited(file_of(history, []))
    assert kinds(report) == {FindingKind.NOT_LOGGED}
    assert report.standing is Standing.FAULTY


def test_a_submission_that_triage_has_passed_without_opening_is_lost() -> None:
    history = History(case_number(7))
    submit(history, None, lambda options: options[0])
    assert audited(file_of(history)).standing is Standing.FAULTY
    waiting = audited(file_of(history), nothing_handled())
    assert waiting.standing is Standing.IN_FLIGHT
    assert waiting.wait is not None
    assert waiting.wait.queue == "triage"


def test_an_order_that_notify_has_passed_without_a_handoff_is_lost() -> None:
    history = ordered_by_feed()
    order = next(e for e in history.events if isinstance(e.data, t.HandoffOrdered))
    assert isinstance(order.data, t.HandoffOrdered)
    handoff_id = order.data.handoff_id
    before = history.events[: history.events.index(order) + 1]
    file = CaseFile(history.case_no, log_of(before))
    bare = replace(all_handled(), stores_were_read=False)
    assert FindingKind.UNSEEN_DOCUMENT in kinds(audited(file, bare))
    waiting = audited(file, replace(nothing_handled(), stores_were_read=False))
    assert not any(handoff_id in one.what for one in waiting.findings)


def test_what_a_service_put_aside_is_blocked_and_not_lost() -> None:
    history = History(case_number(7))
    submit(history, None, lambda options: options[0])
    file = file_of(history)
    origin = file.records[0].place.origin
    file.dead_letters = (DeadLetter("triage", origin, "could not be decided", history.case_no),)
    beyond = replace(all_handled(), aside=frozenset({("triage", origin)}))
    report = audited(file, beyond)
    assert report.findings == frozenset()
    assert report.standing is Standing.BLOCKED


def test_a_wish_that_triage_has_passed_without_an_answer_is_found() -> None:
    history = closed()
    wish = history.by_intake(r.SupplementGiven, text=None)
    assert FindingKind.UNANSWERED in kinds(audited(file_of(history)))
    report = audited(file_of(history), nothing_handled())
    assert report.open_wishes == (wish.id,)
    assert FindingKind.UNANSWERED not in kinds(report)


def test_a_parked_wish_waits() -> None:
    history = closed()
    wish = history.by_intake(r.SupplementGiven, text=None)
    file = file_of(history)
    assert file.stored is not None
    file.stored.parked.append(wish.id)
    report = audited(file)
    assert report.findings == frozenset()
    assert report.parked == (wish.id,)


def test_a_reply_that_notify_has_passed_without_an_event_is_found() -> None:
    history = ordered_by_feed()
    handoff_id, handoff = next(iter(history.handoffs.items()))
    place = Place(f"replies.{handoff.department}.v1", 1, 5)
    cause = f"reply:{handoff.department}/{handoff_id}/r-1"
    reply = Replied(cause, handoff_id, is_signature=False, place=place)
    passed = Handled({("notify", place.topic, 1): 6})
    beyond = replace(all_handled(), handled=passed, replies={handoff_id: [reply]})
    assert FindingKind.UNANSWERED_REPLY in kinds(audited(file_of(history), beyond))
    known = replace(reply, cause=next(iter(handoff.causes)))
    beyond = replace(beyond, replies={handoff_id: [known]})
    assert FindingKind.UNANSWERED_REPLY not in kinds(audited(file_of(history), beyond))


def test_a_feed_that_lacks_a_handoff_or_its_newest_version_is_found() -> None:
    history = ordered_by_feed()
    file = file_of(history)
    assert FindingKind.NOT_IN_FEED not in kinds(audited(file))
    handoff_id, entry = next(iter(file.feeds.items()))
    older = replace(entry, version=entry.version - 1)
    file.feeds = {**file.feeds, handoff_id: older}
    found = kinds(audited(file))
    is_seen = history.handoffs[handoff_id].state is not HandoffState.UNDELIVERABLE
    assert (FindingKind.NOT_IN_FEED in found) == is_seen
    file.feeds = {}
    assert FindingKind.NOT_IN_FEED in kinds(audited(file))
    faded = replace(all_handled(), feeds_since_ms=file.records[-1].place.written_ms + 1)
    assert FindingKind.NOT_IN_FEED not in kinds(audited(file, faded))


def test_a_feed_with_a_handoff_that_the_log_lacks_is_found() -> None:
    history = closed()
    file = file_of(history)
    entry = FeedEntry("h-1", history.case_no, 1, HandoffState.SENT, (0, "lead", "health", 1))
    file.feeds = {"h-1": entry}
    assert kinds(audited(file)) == {FindingKind.UNKNOWN_IN_FEED}


def test_a_case_that_nobody_is_asked_about_is_stranded() -> None:
    history = History(case_number(7))
    submit(history, None, lambda options: options[0])
    rest(history, lambda options: options[0])
    history.by_triage(
        t.DeskSettled, history.command(), person="li", settles=history.case.tasks_of()
    )
    assert history.case.phase is Phase.OPEN
    assert FindingKind.STRANDED in kinds(audited(file_of(history)))


def test_a_handoff_left_open_after_its_end_is_found() -> None:
    history = ordered_by_feed()
    lead = history.case.lead_order()
    handoff_id = lead.handoff_id if lead else next(iter(history.handoffs))
    open_ids = [i for i, one in history.handoffs.items() if one.state.is_open]
    if not open_ids:
        pytest.fail("the history has no open hand-off")
    handoff_id = open_ids[0]
    history.by_triage(t.DeskSettled, history.command(), person="li", ends=(handoff_id,))
    assert FindingKind.NOT_ENDED in kinds(audited(file_of(history)))
    assert FindingKind.NOT_ENDED not in kinds(audited(file_of(history), nothing_handled()))


def test_a_record_that_breaks_the_contract_is_found() -> None:
    history = closed()
    file = file_of(history)
    file.records[1] = replace(file.records[1], value=b"{}")
    assert FindingKind.UNREADABLE in kinds(audited(file))
    place = file.records[1].place
    settled = replace(all_handled(), given_up=frozenset({(place.origin, place.written_ms)}))
    assert FindingKind.UNREADABLE not in kinds(audited(file, settled)), "a person gave it up"
    of_another_log = replace(settled, given_up=frozenset({(place.origin, place.written_ms + 1)}))
    assert FindingKind.UNREADABLE in kinds(audited(file, of_another_log))
    other = (history.events[0].partition + 1) % 12
    file.records[1] = logged(history.events[1], 1, partition=other)
    assert FindingKind.UNREADABLE in kinds(audited(file))


# --- what is double


def _two_contents(history: History) -> list[Event]:
    event = last(history, t.CaseClosed)
    other = event.data.model_copy(update={"ground": "not_reached"})
    changed = other.model_copy(update={"lc": event.data.lc + 1})
    return [*history.events, Event.of(event.id, changed)]


def _two_of_one_seq(history: History) -> list[Event]:
    event = last(history, t.CaseClosed)
    other = event.data.model_copy(update={"caused_by": "command:other"})
    return [*history.events, Event.of(case_id(99), other)]


def case_id(n: int) -> str:
    return f"00000000-0000-4000-8000-{n:012d}"


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (_two_contents, FindingKind.TWO_CONTENTS),
        (_two_of_one_seq, FindingKind.TWO_OF_ONE_SEQ),
    ],
)
def test_two_events_in_one_place_are_found(
    change: Callable[[History], list[Event]], kind: FindingKind
) -> None:
    history = closed()
    report = audited(file_of(history, change(history)))
    assert kind in kinds(report)
    assert kind.is_double


def test_a_round_that_ends_twice_is_found() -> None:
    history = closed()
    history.by_triage(t.CaseClosed, history.command(), ground="visited")
    assert FindingKind.DECIDED_TWICE in kinds(audited(file_of(history)))


def test_one_cause_that_is_decided_twice_is_found() -> None:
    history = closed()
    told = f"event:{last(history, t.CaseClosed).id}"
    for _ in range(2):
        history.by_triage(
            t.CaseContacted,
            told,
            person="li",
            by="telephone",
            contacted_at=history.now,
            reached=True,
        )
    assert FindingKind.DECIDED_TWICE in kinds(audited(file_of(history)))


def test_a_round_that_is_rated_twice_is_found() -> None:
    history = closed()
    rating = Rating(level=5, solved=True)
    for _ in range(2):
        history.by_triage(t.CaseRated, history.command(), rating=rating)
    assert FindingKind.DECIDED_TWICE in kinds(audited(file_of(history)))


def test_something_that_is_told_twice_is_found() -> None:
    history = closed()
    told = last(history, t.CaseOpened)
    for name in ("first", "second"):
        history.by_delivery(
            h.CitizenTold,
            case_id(ord(name[0])),
            told,
            by="lookup",
            told_at=history.now,
            attempts=0,
            tells=told.id,
            step="accepted",
        )
    assert FindingKind.TOLD_TWICE in kinds(audited(file_of(history)))


def _order_again(history: History, handoff_id: str) -> None:
    known = next(e.data for e in history.events if isinstance(e.data, t.HandoffOrdered))
    assert isinstance(known, t.HandoffOrdered)
    again = known.order.model_copy(update={"handoff_id": handoff_id, "role": Role.LEAD})
    history.by_triage(
        t.HandoffOrdered,
        history.command(),
        handoff_id=handoff_id,
        role=Role.LEAD,
        attempt=known.attempt,
        order=again,
    )


def test_two_open_leads_and_one_order_under_two_ids_are_found() -> None:
    history = History(case_number(7))
    submit(history, None, lambda options: options[0])
    rest(history, lambda options: options[0])
    follow(history, "nothing special", lambda options: options[0])
    source = ordered_by_feed()
    order = next(e.data for e in source.events if isinstance(e.data, t.HandoffOrdered))
    assert isinstance(order, t.HandoffOrdered)
    for handoff_id in (case_id(1), case_id(2)):
        given = order.order.model_copy(update={"handoff_id": handoff_id, "role": Role.LEAD})
        history.by_triage(
            t.HandoffOrdered,
            history.command(),
            handoff_id=handoff_id,
            role=Role.LEAD,
            attempt=1,
            order=given,
        )
    found = kinds(audited(file_of(history), nothing_handled()))
    assert {FindingKind.TWO_LEADS, FindingKind.ORDERED_TWICE} <= found


def test_one_order_under_two_ids_in_a_feed_is_found() -> None:
    history = ordered_by_feed()
    file = file_of(history)
    entry = next(iter(file.feeds.values()))
    file.feeds = {**file.feeds, "other": replace(entry, handoff_id="other")}
    assert FindingKind.ORDERED_TWICE in kinds(audited(file))


# --- where a case stands


def test_a_case_with_a_task_waits_in_the_queue_of_its_oldest() -> None:
    history = History(case_number(7))
    submit(history, None, lambda options: options[0])
    rest(history, lambda options: options[0])
    assert history.case.tasks
    report = audited(file_of(history))
    assert report.standing is Standing.WAITING
    assert report.wait is not None
    assert report.wait.queue in {kind.value for kind in TaskKind}


def test_a_number_that_was_never_submitted_is_no_accepted_case() -> None:
    history = closed()
    submissions = [e for e in history.events if isinstance(e.data, r.RequestSubmitted)]
    file = CaseFile(history.case_no, log_of(without(history, *submissions)))
    report = audited(file, replace(all_handled(), stores_were_read=False))
    assert report.standing is None
    assert FindingKind.UNSEEN_CAUSE in kinds(report)


def test_every_script_is_sound_to_its_end() -> None:
    for script in SCRIPTS:
        report = audited(file_of(closed(script)))
        assert report.findings == frozenset(), script
