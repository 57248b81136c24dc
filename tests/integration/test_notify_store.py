"""What notify keeps: leases, lanes, and that what follows from a change stands only with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta

import pytest

from contracts.envelope import Event
from contracts.lifecycle import DeliveryDocument
from contracts.profile import load_profile
from contracts.telling import told_step
from contracts.triage import HandoffOrdered
from services.chassis.documents import Unit, mark_all_published
from services.chassis.kept import Kept
from services.chassis.store import Stale, Store
from services.notify.domain import handoffs
from services.notify.domain.because import Because
from services.notify.domain.deliveries import callback_id, plan_callback
from services.notify.store import NotifyStore
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
