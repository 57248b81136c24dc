"""Documents and their events against the real store: written together, published in the end."""

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from contracts.envelope import Event
from contracts.ids import case_number
from contracts.lifecycle import CaseDocument
from contracts.triage import (
    CaseContacted,
    CaseDeadlineFired,
    CaseOpened,
    CaseSeen,
    DeskAsked,
)
from contracts.vocabulary import (
    Deadline,
    DeadlineKind,
    DecidedBy,
    Decision,
    Firing,
    Kind,
    RequestContent,
    Tier,
)
from services.chassis.clock import StoryClock
from services.chassis.documents import GRACE, Documents, Unit
from services.chassis.due import Due, next_due
from services.chassis.kept import Kept
from services.chassis.relay import relay_once
from services.chassis.store import Stale, Store
from services.chassis.sweeper import sweep_once

NOW = datetime(2022, 1, 18, 8, 0, tzinfo=UTC)
DUE = Deadline(
    name="told",
    kind=DeadlineKind.TOLD,
    version=1,
    due_at=NOW + timedelta(hours=3),
    near_at=NOW + timedelta(hours=2),
)


class Bus:
    """Keeps what was published; refuses while it is down."""

    def __init__(self) -> None:
        self.published: list[Event] = []
        self.is_down = False

    async def publish(self, events: Sequence[Event]) -> None:
        """Take events, or fail."""
        if self.is_down:
            raise ConnectionError
        self.published.extend(events)


@pytest.fixture
async def store(mongo_url: str) -> AsyncIterator[Store]:
    opened = Store(mongo_url, f"test_{uuid4().hex[:12]}")
    yield opened
    await opened.drop()
    opened.close()


@pytest.fixture
async def cases(store: Store) -> Documents[CaseDocument]:
    documents: Documents[CaseDocument] = Documents(store, "cases", CaseDocument, next_due)
    await documents.prepare()
    return documents


def opened(documents: Documents[CaseDocument], name: str = "a") -> Kept[CaseDocument]:
    case_no = case_number(b"s" * 32, "app", name)
    kept = documents.create(case_no, case_no)
    decision = Decision(
        category="policy",
        category_confidence=0.9,
        tier=Tier.BLUE,
        kind=Kind.CONSULT,
        decided_by=DecidedBy.RULES,
        profile="test",
    )
    kept.record(
        CaseOpened,
        cause="event:00000000-0000-0000-0000-000000000001",
        now=NOW,
        submission_id="00000000-0000-0000-0000-000000000001",
        accepted_at=NOW,
        request=RequestContent(channel="app", text="问一下"),
        decision=decision,
        sets=(DUE,),
    )
    return kept


async def saved(
    documents: Documents[CaseDocument], *kept: Kept[CaseDocument], owed: bool = True
) -> Unit:
    unit = Unit(documents.store, owed_by_offset=owed)
    unit.add(documents, *kept)
    await unit.save()
    return unit


def ask(kept: Kept[CaseDocument], cause: str) -> Event:
    return kept.record(DeskAsked, cause=cause, now=NOW)


async def test_what_is_stored_comes_back_byte_for_byte(cases: Documents[CaseDocument]) -> None:
    kept = opened(cases)
    await saved(cases, kept)
    back = (await cases.load([kept.document.case_no]))[kept.document.case_no]
    assert [e.encoded for e in back.events] == [e.encoded for e in kept.events]
    assert back.document == kept.document


async def test_a_document_that_is_there_already_is_not_written_over(
    cases: Documents[CaseDocument],
) -> None:
    await saved(cases, opened(cases))
    second, other = opened(cases), opened(cases, "b")
    with pytest.raises(Stale):
        await saved(cases, second, other)
    assert other.document.case_no in await cases.load([other.document.case_no])


async def test_of_two_that_decide_on_one_state_one_wins(cases: Documents[CaseDocument]) -> None:
    kept = opened(cases)
    await saved(cases, kept)
    number = kept.document.case_no
    first = (await cases.load([number]))[number]
    second = (await cases.load([number]))[number]
    ask(first, "command:1")
    ask(second, "command:2")
    await saved(cases, first)
    with pytest.raises(Stale):
        await saved(cases, second)
    assert (await cases.load([number]))[number].document.seq == 2


async def test_a_stale_document_rolls_back_the_whole_batch(
    cases: Documents[CaseDocument],
) -> None:
    several = [opened(cases, str(n)) for n in range(5)]
    await saved(cases, *several)
    behind = (await cases.load([several[3].document.case_no]))[several[3].document.case_no]
    ask(several[3], "command:first")
    await saved(cases, several[3])
    for number, kept in enumerate([several[0], several[1], behind]):
        ask(kept, f"command:{number}")
    with pytest.raises(Stale):
        await saved(cases, several[0], several[1], behind)
    found = await cases.load([k.document.case_no for k in several])
    assert [found[k.document.case_no].document.seq for k in several] == [1, 1, 1, 2, 1]


async def test_events_of_a_handler_are_owed_by_its_offset_and_not_pending(
    cases: Documents[CaseDocument],
) -> None:
    kept = opened(cases)
    await saved(cases, kept)
    bus, clock = Bus(), StoryClock(NOW + GRACE * 10)
    assert await relay_once(cases, bus.publish, clock) == 0


async def test_the_relay_publishes_what_a_command_left_once_and_in_order(
    cases: Documents[CaseDocument],
) -> None:
    kept = opened(cases)
    await saved(cases, kept)
    ask(kept, "command:1")
    await saved(cases, kept, owed=False)
    ask(kept, "command:2")
    await saved(cases, kept, owed=False)
    bus, clock = Bus(), StoryClock(NOW + GRACE * 2)
    assert await relay_once(cases, bus.publish, clock) == 1
    assert [event.data.seq for event in bus.published] == [2, 3]
    assert await relay_once(cases, bus.publish, clock) == 0


async def test_a_handler_that_writes_over_pending_events_leaves_them_to_the_relay(
    cases: Documents[CaseDocument],
) -> None:
    kept = opened(cases)
    await saved(cases, kept)
    ask(kept, "command:1")
    await saved(cases, kept, owed=False)
    ask(kept, "event:00000000-0000-0000-0000-000000000002")
    unit = Unit(cases.store, owed_by_offset=True)
    unit.add(cases, kept)
    before = unit.pending_before()
    assert [event.data.seq for event in before] == [2], "the handler publishes it before its own"
    await unit.save()
    bus, clock = Bus(), StoryClock(NOW + GRACE * 2)
    await relay_once(cases, bus.publish, clock)
    assert [event.data.seq for event in bus.published] == [2, 3]


async def test_a_handler_publishes_nothing_twice_where_nothing_is_pending(
    cases: Documents[CaseDocument],
) -> None:
    kept = opened(cases)
    unit = Unit(cases.store, owed_by_offset=True)
    unit.add(cases, kept)
    assert unit.pending_before() == []
    await unit.save()
    ask(kept, "event:00000000-0000-0000-0000-000000000002")
    unit = Unit(cases.store, owed_by_offset=True)
    unit.add(cases, kept)
    assert unit.pending_before() == []


async def test_a_command_whose_publication_fails_stays_pending(
    cases: Documents[CaseDocument],
) -> None:
    kept = opened(cases)
    await saved(cases, kept)
    ask(kept, "command:1")
    unit = await saved(cases, kept, owed=False)
    bus = Bus()
    bus.is_down = True
    with pytest.raises(ConnectionError):
        await unit.publish_pending(bus.publish)
    bus.is_down = False
    assert await relay_once(cases, bus.publish, StoryClock(NOW + GRACE * 2)) == 1
    assert len(bus.published) == 1


def fire(kept: Kept[CaseDocument], due: Due, now: datetime) -> None:
    kept.record(
        CaseDeadlineFired,
        cause=due.cause(kept.document.document_id),
        now=now,
        name=due.deadline.name,
        firing=due.firing,
        due_at=due.deadline.due_at,
    )


async def test_a_deadline_fires_near_and_missed_each_once(
    cases: Documents[CaseDocument],
) -> None:
    await saved(cases, opened(cases), opened(cases, "b"))
    bus, clock = Bus(), StoryClock(NOW + timedelta(hours=1))
    assert await sweep_once(cases, fire, bus.publish, clock) == 0
    clock.advance(timedelta(hours=1, seconds=1))
    assert await sweep_once(cases, fire, bus.publish, clock) == 2
    assert await sweep_once(cases, fire, bus.publish, clock) == 0
    clock.advance(timedelta(hours=1))
    assert await sweep_once(cases, fire, bus.publish, clock) == 2
    clock.advance(timedelta(days=9))
    assert await sweep_once(cases, fire, bus.publish, clock) == 0
    fired = [e.data for e in bus.published if isinstance(e.data, CaseDeadlineFired)]
    assert sorted(f.firing for f in fired) == [Firing.MISSED] * 2 + [Firing.NEAR] * 2


async def test_what_fell_due_while_nobody_swept_fires_in_its_order(
    cases: Documents[CaseDocument],
) -> None:
    await saved(cases, opened(cases))
    bus, clock = Bus(), StoryClock(NOW + timedelta(days=1))
    await sweep_once(cases, fire, bus.publish, clock)
    fired = [e.data.firing for e in bus.published if isinstance(e.data, CaseDeadlineFired)]
    assert fired == [Firing.NEAR, Firing.MISSED]


async def test_no_deadline_fires_by_a_clock_that_is_not_trusted(
    cases: Documents[CaseDocument],
) -> None:
    class Doubtful(StoryClock):
        trusted = False

    await saved(cases, opened(cases))
    bus = Bus()
    assert await sweep_once(cases, fire, bus.publish, Doubtful(NOW + timedelta(days=1))) == 0


async def test_two_sweepers_at_once_fire_nothing_twice(cases: Documents[CaseDocument]) -> None:
    await saved(cases, *[opened(cases, str(n)) for n in range(30)])
    clock = StoryClock(NOW + timedelta(days=1))
    bus, second = Bus(), Bus()
    import asyncio

    await asyncio.gather(
        sweep_once(cases, fire, bus.publish, clock),
        sweep_once(cases, fire, second.publish, clock),
    )
    await sweep_once(cases, fire, bus.publish, clock)
    found = await cases.find({}, 100)
    assert {kept.document.seq for kept in found} == {3}
    ids = {e.id for e in bus.published} | {e.id for e in second.published}
    assert len(ids) == 60


async def test_the_clock_of_the_store_is_near_ours(store: Store) -> None:
    assert abs(await store.time() - datetime.now(UTC)) < timedelta(seconds=5)


async def test_ids_of_events_tell_documents_and_causes_apart(
    cases: Documents[CaseDocument],
) -> None:
    kept = opened(cases)
    twice = [
        kept.record(
            CaseContacted,
            cause="command:1",
            now=NOW,
            person="a",
            by="telephone",
            contacted_at=NOW,
            reached=True,
        )
        for _ in range(2)
    ]
    assert twice[0].id != twice[1].id
    again = opened(cases)
    assert again.events[0].id == kept.events[0].id


async def test_a_remembered_document_that_was_changed_elsewhere_is_stale_though_nothing_was_decided(
    store: Store, cases: Documents[CaseDocument]
) -> None:
    kept = opened(cases)
    handler = Unit(store, owed_by_offset=True)
    handler.add(cases, kept)
    await handler.save()
    case_no = kept.document.case_no
    elsewhere: Documents[CaseDocument] = Documents(store, "cases", CaseDocument, next_due)
    changed = (await elsewhere.load([case_no]))[case_no]
    changed.record(CaseSeen, cause="command:1", now=NOW, person="a")
    command = Unit(store, owed_by_offset=False)
    command.add(elsewhere, changed)
    await command.save()

    later = Unit(store, owed_by_offset=True)
    later.add(cases, cases.remembered([case_no])[case_no])
    with pytest.raises(Stale):
        await later.save()
    assert cases.remembered([case_no]) == {}


async def test_a_command_makes_its_own_process_forget_what_it_changed(
    store: Store, cases: Documents[CaseDocument]
) -> None:
    kept = opened(cases)
    handler = Unit(store, owed_by_offset=True)
    handler.add(cases, kept)
    await handler.save()
    case_no = kept.document.case_no
    changed = (await cases.load([case_no]))[case_no]
    changed.record(CaseSeen, cause="command:1", now=NOW, person="a")
    command = Unit(store, owed_by_offset=False)
    command.add(cases, changed)
    await command.save()
    assert cases.remembered([case_no]) == {}
