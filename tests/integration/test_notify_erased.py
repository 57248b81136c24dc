"""What notify does with an erased case, whatever it reads first and however often, on a real
store. The order of the log is not given: a batch comes again, a redaction overtakes its event."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import orjson
import pytest

from contracts import triage as t
from contracts.envelope import Event
from contracts.profile import load_profile
from contracts.topics import HANDLING
from services.chassis.bus import Outgoing
from services.chassis.clock import StoryClock
from services.chassis.store import Store
from services.notify.departments import Departments
from services.notify.domain.deliveries import Patience
from services.notify.erasing import Copies
from services.notify.handlers import Handler
from services.notify.loading import Loading
from services.notify.store import NotifyStore
from services.notify.work import Place
from tests.integration.test_notify_redelivery import Bus, Letters, of_triage
from tests.notify_story import NAME, PHONE, START, TEXT, CaseStory

PROFILE = load_profile("zhoukou")
HOUR = timedelta(hours=1)
CALLBACK = "http://127.0.0.1:9/of-the-citizen"
HOTLINE = {"hotline-12345": "http://127.0.0.1:9/hotline"}


@pytest.fixture
async def store(mongo_url: str) -> AsyncIterator[Store]:
    opened = Store(mongo_url, f"test_{uuid4().hex[:12]}")
    yield opened
    await opened.drop()
    opened.close()


class Process:
    """A notify that has just started: it remembers nothing."""

    def __init__(self, store: Store) -> None:
        self.bus, self.letters = Bus(), Letters()
        documents = NotifyStore(store, timedelta(seconds=20))
        self.place = Place(
            PROFILE, Departments(PROFILE, HOTLINE), documents, Patience(HOUR, HOUR, HOUR)
        )
        clock = StoryClock(START + timedelta(minutes=1))
        self.handler = Handler(
            self.place, Loading(self.place, clock), self.bus, self.letters, lambda planned: None
        )

    async def read(self, *events: Event) -> list[Outgoing]:
        """Handle events in one batch; return what was published."""
        await self.place.documents.erased.refresh()
        self.bus.published.clear()
        await self.handler.handle([of_triage(event) for event in events])
        assert self.letters.reasons == []
        return list(self.bus.published)


def holds_person(records: list[Outgoing]) -> bool:
    marks = [mark.encode() for mark in (TEXT, NAME, PHONE, CALLBACK)]
    return any(mark in (one.value or b"") for one in records for mark in marks)


def events_of(records: list[Outgoing], kind: str) -> list[dict[str, Any]]:
    return [
        orjson.loads(one.value or b"")
        for one in records
        if one.topic == HANDLING and one.headers["ce_type"] == f"jieyou.{kind}"
    ]


def feeds_of(records: list[Outgoing]) -> list[dict[str, Any]]:
    return [orjson.loads(one.value or b"") for one in records if one.topic.startswith("feed.")]


async def test_an_order_that_is_read_only_after_its_redaction_reaches_the_department(
    store: Store,
) -> None:
    story = CaseStory(at=START, callback_url=CALLBACK)
    opened, ordered = story.opened(), story.ordered("health")
    erased = story.write(t.CaseErased, by="operator:ops")
    published = await Process(store).read(opened.redacted(), ordered.redacted(), erased)
    assert len(events_of(published, "handoff.sent")) == 1
    assert feeds_of(published)[-1]["erased"] is True
    assert not holds_person(published)
    again = await Process(store).read(opened.redacted(), ordered.redacted())
    assert events_of(again, "handoff.sent") == []


async def test_what_is_first_read_after_the_erasure_addresses_nobody_and_tells_by_lookup(
    store: Store,
) -> None:
    story = CaseStory(at=START, callback_url=CALLBACK)
    opened, ordered, answered = story.opened(), story.ordered("health"), story.answered(TEXT)
    erased = story.write(t.CaseErased, by="operator:ops")
    await Process(store).read(opened, erased)
    published = await Process(store).read(ordered, answered)
    assert events_of(published, "delivery.planned") == []
    [told] = events_of(published, "citizen.told")
    assert (told["by"], told["step"], told["rev"]) == ("lookup", "answered", 1)
    assert not holds_person(published)


async def test_a_batch_of_before_that_comes_again_holds_nothing_personal_any_more(
    store: Store,
) -> None:
    story = CaseStory(at=START, callback_url=CALLBACK)
    batch = [story.opened(), story.ordered("health"), story.answered(TEXT)]
    process = Process(store)
    first = await process.read(*batch)
    assert holds_person(first)
    erased = story.write(t.CaseErased, by="operator:ops")
    published = await process.read(erased)
    assert not holds_person(published)
    assert [one["step"] for one in events_of(published, "citizen.told")] == ["answered"]
    assert await Process(store).read(erased) == published  # before its offset was committed

    copies = Copies(process.place, process.bus)
    assert await copies.redact(story.case_no) > 0
    assert not holds_person(process.bus.published)
    assert await copies.redact(story.case_no) == 0
    for one in (process, Process(store)):
        again = await one.read(*batch, erased)
        assert not holds_person(again)
        assert keys(again) <= keys(first) | keys(published)


def keys(records: list[Outgoing]) -> set[bytes | None]:
    return {one.key for one in records}


async def test_an_order_by_http_that_was_not_sent_yet_becomes_a_persons_task(
    store: Store,
) -> None:
    story = CaseStory(at=START)
    process = Process(store)
    await process.read(story.opened(), story.ordered("hotline-12345"))
    erased = story.write(t.CaseErased, by="operator:ops")
    published = await process.read(erased)
    assert [one["why"] for one in events_of(published, "handoff.undeliverable")] == ["erased"]
    assert len(events_of(published, "delivery.cancelled")) == 1
    assert events_of(published, "delivery.planned") == []
    assert await Process(store).read(erased) == published


async def test_what_a_process_remembers_from_before_the_erasure_is_read_again(
    store: Store,
) -> None:
    story = CaseStory(at=START)
    here, there = Process(store), Process(store)
    await here.read(story.opened(), story.ordered("health"))
    urged = story.write(t.CaseUrged, handoff_id=story.kept.document.lead)
    assert holds_person(await here.read(urged))
    await there.read(story.write(t.CaseErased, by="operator:ops"))
    assert not holds_person(await here.read(urged))


async def test_a_recall_that_comes_again_after_a_crash_publishes_what_it_cancelled(
    store: Store,
) -> None:
    story = CaseStory(at=START)
    ordered = story.ordered("hotline-12345")
    await Process(store).read(ordered)
    recalled = story.recalled(story.kept.document.lead or "")
    published = await Process(store).read(recalled)
    assert len(events_of(published, "delivery.cancelled")) == 1
    assert await Process(store).read(recalled) == published
