"""A batch that comes again after a crash, with what its first delivery has led to beside it."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from uuid import uuid4

import orjson
import pytest

from contracts.envelope import Event
from contracts.profile import load_profile
from contracts.topics import HANDLING, TRIAGE, replies
from services.chassis.bus import Outgoing, Publisher, Record
from services.chassis.clock import StoryClock
from services.chassis.store import Store
from services.notify.departments import Departments
from services.notify.domain.deliveries import Patience
from services.notify.handlers import Handler
from services.notify.loading import Loading
from services.notify.store import NotifyStore
from services.notify.work import Place
from tests.notify_story import START, CaseStory

PROFILE = load_profile("zhoukou")
HOUR = timedelta(hours=1)


class Bus(Publisher):
    """Keeps what is published."""

    def __init__(self) -> None:
        self.published: list[Outgoing] = []

    async def publish_all(
        self, outgoing: Sequence[Outgoing], timeout_seconds: float | None = None
    ) -> None:
        self.published.extend(outgoing)

    def types(self) -> list[str]:
        handled = [one for one in self.published if one.topic == HANDLING]
        return [one.headers["ce_type"].removeprefix("jieyou.") for one in handled]


class Letters:
    """Keeps the reasons for which records are put aside."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    async def put(self, record: Record, reason: str, error: BaseException | None = None) -> None:
        self.reasons.append(reason)


@pytest.fixture
async def store(mongo_url: str) -> AsyncIterator[Store]:
    opened = Store(mongo_url, f"test_{uuid4().hex[:12]}")
    yield opened
    await opened.drop()
    opened.close()


def process(store: Store, bus: Bus, letters: Letters) -> Handler:
    """The handler of a process that has just started: it remembers nothing."""
    documents = NotifyStore(store, timedelta(seconds=20))
    place = Place(PROFILE, Departments(PROFILE, {}), documents, Patience(HOUR, HOUR, HOUR))
    clock = StoryClock(START + timedelta(minutes=1))
    return Handler(place, Loading(place, clock), bus, letters, lambda planned: None)


def of_triage(event: Event) -> Record:
    return record(TRIAGE, event.partition, event.encoded, event.headers())


def signature(department: str, handoff_id: str) -> Record:
    said = {"act": "sign", "reply_id": "sign", "handoff_id": handoff_id}
    return record(replies(department), 0, orjson.dumps(said), {})


def record(topic: str, partition: int, value: bytes, headers: dict[str, str]) -> Record:
    return Record(
        topic=topic,
        partition=partition,
        offset=0,
        timestamp_ms=0,
        key=b"k",
        value=value,
        headers=headers,
    )


async def test_a_reply_that_is_read_before_the_order_that_comes_again_is_taken(
    store: Store,
) -> None:
    story = CaseStory(at=START)
    opened, ordered = story.opened(), story.ordered("health")
    bus, letters = Bus(), Letters()
    await process(store, bus, letters).handle([of_triage(opened), of_triage(ordered)])
    assert bus.types() == ["handoff.sent"]
    sent = bus.published.copy()

    handoff_id = orjson.loads(ordered.encoded)["handoff_id"]
    again = [signature("health", handoff_id), of_triage(opened), of_triage(ordered)]
    bus.published.clear()
    await process(store, bus, letters).handle(again)
    assert letters.reasons == []
    assert sorted(bus.types()) == ["handoff.sent", "handoff.signed"]
    first = next(one for one in sent if one.topic == HANDLING)
    assert first in bus.published, "the second delivery must not decide anew"


async def test_a_reply_to_an_order_that_nobody_gave_is_put_aside_alone(store: Store) -> None:
    story = CaseStory(at=START)
    opened, ordered = story.opened(), story.ordered("health")
    bus, letters = Bus(), Letters()
    stray = signature("health", str(uuid4()))
    await process(store, bus, letters).handle([stray, of_triage(opened), of_triage(ordered)])
    assert letters.reasons == ["names a hand-off that is not known"]
    assert bus.types() == ["handoff.sent"]
