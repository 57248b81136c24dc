"""The composition root of notify: the one place where bus, store, HTTP and handlers meet."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from fastapi import FastAPI
from faststream.kafka import KafkaBroker
from starlette.requests import Request
from starlette.responses import Response

from contracts.profile import Profile, ProfileError, load_profile
from contracts.topics import FEED_PARTITIONS, HANDLING, TRIAGE, dead_letters, feed, replies
from services.chassis.bus import (
    Consumer,
    Publisher,
    bus_trouble,
    has_worked_before,
    make_broker,
    start_when_available,
    stop_within,
    subscribe_batch,
)
from services.chassis.clock import StoreClock, SystemClock
from services.chassis.documents import Documents
from services.chassis.erasure import SECOND_PASS_AFTER, Eraser
from services.chassis.fence import Fence
from services.chassis.http import Health, Unavailable, make_app
from services.chassis.keys import KeyFile, KeyFileError
from services.chassis.process import Background, run_service
from services.chassis.relay import relay
from services.chassis.settings import PREFIX, load, refuse
from services.chassis.store import (
    Store,
    StoreUnavailable,
    prepare_when_available,
    store_trouble,
)
from services.chassis.sweeper import TrustedClock, sweep
from services.chassis.ticker import roll, tick
from services.notify.api import Api
from services.notify.aside import AsideByOrigin
from services.notify.commands import Commands
from services.notify.departments import Departments
from services.notify.domain.handoffs import fire
from services.notify.erasing import Copies
from services.notify.handlers import Handler
from services.notify.loading import Loading
from services.notify.outcomes import Outcomes, RetryRule
from services.notify.posting import HttpPoster
from services.notify.publishing import Publishing
from services.notify.sender import Sender
from services.notify.settings import NotifySettings
from services.notify.store import NotifyStore
from services.notify.work import Place

GROUP = "notify"
DATABASE = "jieyou_notify"
_BROKER_STOP_SECONDS = 8.0
_RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Notify:
    """The service, wired and ready for `run_service`, or to be run inside a test."""

    app: FastAPI
    health: Health
    background: Background
    documents: NotifyStore
    sender: Sender


def make_notify(
    settings: NotifySettings,
    profile: Profile,
    keys: KeyFile,
    *,
    database: str = DATABASE,
    group: str = GROUP,
    clock: TrustedClock | None = None,
    second_erasure_after: timedelta = SECOND_PASS_AFTER,
) -> Notify:
    """Wire the service; nothing is connected before the application's lifespan begins.

    `clock` is the store's unless a story or a test brings its own.
    """
    store = Store(settings.mongo_url.get_secret_value(), database)
    fence = Fence(store, "notify")
    documents = NotifyStore(store, timedelta(seconds=settings.lease_seconds), fence=fence)
    store_clock = StoreClock(store.time)
    clock = clock or store_clock
    broker = make_broker(settings)
    publisher = Publisher(broker, settings.publish_timeout_seconds)
    departments = Departments(profile, settings.department_urls)
    place = Place(profile, departments, documents, settings.patience)
    publish = Publishing(place, publisher)
    poster = HttpPoster(
        settings.secret,
        timeout_seconds=settings.send_timeout_seconds,
        connections=settings.sends_at_once,
    )
    retry = RetryRule(settings.first_retry_seconds, settings.longest_retry_seconds)
    outcomes = Outcomes(place, publish.from_store, clock, retry)
    sender = Sender(documents, outcomes, poster, profile, clock, settings)
    aside = AsideByOrigin(publisher)
    handler = Handler(place, Loading(place, clock), publisher, aside, sender.offer)
    topics = [TRIAGE, *(replies(code) for code in departments.codes)]
    consumer = subscribe_batch(
        broker, *topics, group_id=group, handler=handler.handle, dead_letters=aside
    )
    copies = Copies(place, publisher)
    eraser = Eraser(
        "notify",
        documents.erased,
        copies.redact,
        topic=HANDLING,
        kafka_url=settings.kafka_url,
        publisher=publisher,
        mentions=copies.handoff_ids,
        second_after=second_erasure_after,
    )
    background = Background()

    async def start() -> None:
        """Take the work up once the indexes stand and the bus is there."""
        await prepare_when_available(documents.prepare)
        await fence.opened(partial(has_worked_before, settings, group, HANDLING))
        background.start("fence", fence.watch)
        feeds = [feed(code) for code in departments.codes if departments.takes_feed(code)]
        await start_when_available(broker, settings, [HANDLING, dead_letters("notify"), *feeds])
        kinds: list[Documents[Any]] = [documents.handoffs, documents.deliveries]
        background.start("relay", lambda: relay(kinds, publish.from_store, clock))
        background.start(
            "sweeper", lambda: sweep(documents.handoffs, fire, publish.from_store, clock)
        )
        background.start("ticks", lambda: tick(publisher, HANDLING, SystemClock()))
        quiet = {dead_letters("notify"): 1, **dict.fromkeys(feeds, FEED_PARTITIONS)}
        background.start("rolling", lambda: roll(publisher, quiet))
        background.start("sender", sender.run)
        background.start("outcomes", sender.settle)
        background.start("erased cases", documents.erased.keep_fresh)
        background.start("eraser", eraser.run)
        background.start("consumer watch", consumer.watch)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        background.start("clock", store_clock.keep_measured)
        background.start("start", start, once=True)
        try:
            yield
        finally:
            await stop_within(broker, _BROKER_STOP_SECONDS)
            await background.stop()
            await poster.close()
            store.close()

    health = _health(broker, consumer, store)
    health.must_be_ready("database", fence.trouble)
    limit = settings.body_limit_bytes
    app = make_app("Jieyou notify", lifespan, health=health, keys=keys, body_limit_bytes=limit)
    app.exception_handler(StoreUnavailable)(_store_unavailable)
    app.include_router(Api(place, Commands(place, publish, sender, clock)).router())
    return Notify(app, health, background, documents, sender)


def _health(broker: KafkaBroker, consumer: Consumer, store: Store) -> Health:
    health = Health()
    health.must_live("consumer", consumer.trouble)
    health.must_be_ready("bus", partial(bus_trouble, broker))
    health.must_be_ready("store", partial(store_trouble, store))
    health.must_be_ready("handling", consumer.waiting)
    return health


async def _store_unavailable(_: Request, __: Exception) -> Response:
    return Unavailable(_RETRY_AFTER_SECONDS).response()


def main() -> int:
    """Run notify as a process; returns its exit code."""
    settings = load(NotifySettings)
    keys = KeyFile(settings.keys_file)
    try:
        profile = load_profile(settings.profile)
        keys.load()
    except ProfileError as error:
        refuse(f"{PREFIX}PROFILE: {error}")
    except KeyFileError as error:
        refuse(f"{PREFIX}KEYS_FILE: {error}")
    service = make_notify(settings, profile, keys)
    return run_service(service.app, settings, health=service.health, background=service.background)
