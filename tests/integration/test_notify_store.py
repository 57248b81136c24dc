"""What notify keeps: leases, lanes, and that what follows from a change stands only with it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta

import pytest
from pydantic import SecretStr

from contracts.envelope import Event
from contracts.handling import CitizenTold
from contracts.lifecycle import DeliveryDocument
from contracts.profile import load_profile
from contracts.telling import told_step
from contracts.triage import HandoffOrdered
from services.chassis.clock import StoryClock
from services.chassis.documents import Unit, mark_all_published
from services.chassis.kept import Kept
from services.chassis.store import Stale, Store
from services.notify.departments import Departments
from services.notify.domain import handoffs
from services.notify.domain.attempts import Attempted
from services.notify.domain.because import Because
from services.notify.domain.deliveries import callback_id, plan_callback, settle
from services.notify.outcomes import Outcomes, RetryRule
from services.notify.posting import Message, Poster
from services.notify.sender import Sender
from services.notify.settings import NotifySettings
from services.notify.store import NotifyStore
from services.notify.work import Place
from tests.integration.notify_room import until
from tests.notify_story import START, CaseStory

PROFILE = load_profile("zhoukou")
URL = "https://app.example/told"


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def hand() -> Hand:
    return Hand()


@pytest.fixture
async def documents(
    mongo_url: str, unique_name: Callable[[str], str], hand: Hand
) -> AsyncIterator[NotifyStore]:
    store = Store(mongo_url, unique_name("notify"))
    made = NotifyStore(store, timedelta(seconds=20), hand)
    await made.prepare()
    yield made
    await store.drop()
    store.close()


def planned(documents: NotifyStore, event: Event) -> Kept[DeliveryDocument]:
    told = told_step(event, PROFILE)
    assert told is not None
    kept = documents.deliveries.create(callback_id(event, URL), event.data.case_no)
    plan_callback(
        kept,
        event,
        told,
        START,
        callback_url=URL,
        channel="app",
        unit=None,
        give_up_at=START + timedelta(hours=1),
    )
    return kept


async def save(documents: NotifyStore, *kept: Kept[DeliveryDocument]) -> None:
    unit = Unit(documents.store, owed_by_offset=True)
    unit.add(documents.deliveries, *kept)
    await unit.save()


async def test_a_delivery_is_leased_to_one_alone_and_only_when_its_planner_let_it_lie(
    documents: NotifyStore, hand: Hand
) -> None:
    story = CaseStory(callback_url=URL)
    await save(documents, planned(documents, story.opened()))
    assert await documents.lease_due("a", 10, []) == []
    hand.now += timedelta(seconds=21)
    assert await documents.lease_due("a", 10, ["app.example"]) == []
    [leased] = await documents.lease_due("a", 10, [])
    assert await documents.lease_due("b", 10, []) == []
    again_at = hand.now + timedelta(seconds=60)
    await documents.retry_later(leased.kept, 3, "timeout", again_at)
    hand.now += timedelta(seconds=59)
    assert await documents.lease_due("b", 10, []) == []
    hand.now += timedelta(seconds=2)
    [again] = await documents.lease_due("b", 10, [])
    assert again.attempts == 3
    [row] = await documents.delivery_rows(story.case_no)
    assert (row["last_failure"], row["host"]) == ("timeout", "app.example")
    assert "target" not in row


async def test_a_lane_shows_what_is_planned_in_the_order_of_the_case(
    documents: NotifyStore,
) -> None:
    story = CaseStory(callback_url=URL)
    first, second = planned(documents, story.opened()), planned(documents, story.answered())
    await save(documents, second, first)
    waiting = await documents.waiting_for([story.case_no, "another"])
    ids = [one.delivery_id for one in waiting[story.case_no]]
    assert ids == [first.document.document_id, second.document.document_id]
    assert set(waiting) == {story.case_no}
    assert await documents.channels_of([story.case_no]) == {story.case_no: "app"}


class Posting:
    """Stands for the network: takes everything, and notes what."""

    def __init__(self) -> None:
        self.posted: list[str] = []

    async def post(self, message: Message) -> Attempted:
        self.posted.append(json.loads(message.body)["step"])
        return Attempted()


@contextlib.asynccontextmanager
async def sending(documents: NotifyStore, poster: Poster) -> AsyncIterator[Sender]:
    settings = NotifySettings(webhook_secret=SecretStr("ab" * 32), scan_seconds=0.1)
    place = Place(PROFILE, Departments(PROFILE, {}), documents, settings.patience)

    async def publish(_: Sequence[Event]) -> None:
        """Nobody listens."""

    clock = StoryClock(START)
    outcomes = Outcomes(place, publish, clock, RetryRule(1.0, 1.0))
    sender = Sender(documents, outcomes, poster, PROFILE, clock, settings)
    tasks = [asyncio.create_task(sender.run()), asyncio.create_task(sender.settle())]
    yield sender
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_step_waits_for_an_earlier_one_that_another_process_is_sending(
    mongo_url: str, unique_name: Callable[[str], str]
) -> None:
    store = Store(mongo_url, unique_name("notify"))
    documents, poster = NotifyStore(store, timedelta(seconds=20)), Posting()
    await documents.prepare()
    story = CaseStory(callback_url=URL)
    first, second = planned(documents, story.opened()), planned(documents, story.answered())
    other = CaseStory(callback_url=URL)
    alone = planned(documents, other.answered())
    await save(documents, first, second, alone)
    async with sending(documents, poster) as sender:
        sender.offer([second])
        sender.offer([alone])
        await until(lambda: bool(poster.posted))
        await until_done(documents, other.case_no)
        assert poster.posted == ["answered"]
        settle(first, CitizenTold, "attempt:x/1", START, by="callback", told_at=START, attempts=1)
        await save(documents, first)
        await until_done(documents, story.case_no)
        assert poster.posted == ["answered", "answered"]
    await store.drop()
    store.close()


async def until_done(documents: NotifyStore, case_no: str) -> None:
    deadline = time.monotonic() + 10
    while {row["state"] for row in await documents.delivery_rows(case_no)} != {"done"}:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_what_follows_from_a_change_is_not_there_when_the_change_came_too_late(
    documents: NotifyStore,
) -> None:
    story = CaseStory(callback_url=URL)
    ordered = story.ordered()
    assert isinstance(ordered.data, HandoffOrdered)
    kept = documents.handoffs.create(ordered.data.handoff_id, story.case_no)
    handoffs.take_to_feed(Because.of(ordered, START), kept, ordered.data)
    unit = Unit(documents.store, owed_by_offset=True)
    unit.add(documents.handoffs, kept)
    await unit.save()

    mine = (await documents.handoffs.load([ordered.data.handoff_id]))[ordered.data.handoff_id]
    other = (await documents.handoffs.load([ordered.data.handoff_id]))[ordered.data.handoff_id]
    handoffs.recall(Because("event:other", START), other, "rerouted")
    unit = Unit(documents.store, owed_by_offset=True)
    unit.add(documents.handoffs, other)
    await unit.save()

    handoffs.sign(Because("reply:health/h/r", START), mine, reply_id="r")
    unit = Unit(documents.store, owed_by_offset=True)
    unit.add(documents.handoffs, mine)
    unit.add(documents.deliveries, planned(documents, mine.events[-1]))
    with pytest.raises(Stale):
        await unit.save()
    assert await documents.delivery_rows(story.case_no) == []


async def test_marking_several_as_published_leaves_alone_what_has_moved_on(
    documents: NotifyStore,
) -> None:
    story = CaseStory(callback_url=URL)
    one, two = planned(documents, story.opened()), planned(documents, story.answered())
    unit = Unit(documents.store, owed_by_offset=False)
    unit.add(documents.deliveries, one, two)
    await unit.save()
    collection = documents.deliveries.collection
    where = {"_id": two.document.document_id}
    await collection.update_one(where, {"$set": {"version": 2}})
    await mark_all_published(documents.deliveries, [one, two])
    done = await collection.find_one({"_id": one.document.document_id})
    moved = await collection.find_one(where)
    assert done is not None
    assert moved is not None
    assert (done["published_through"], done["pending_since"]) == (1, None)
    assert moved["published_through"] == 1
    assert moved["pending_since"] is not None
