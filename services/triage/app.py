"""The composition root of triage: the one place where it is wired."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

from fastapi import FastAPI

from contracts.envelope import Event
from contracts.profile import ProfileError, load_profile
from contracts.topics import HANDLING, POLICIES, REQUESTS, TRIAGE, dead_letters
from services.chassis.batches import publish_events
from services.chassis.blocked import BlockedCases
from services.chassis.bus import (
    Publisher,
    bus_trouble,
    has_worked_before,
    make_broker,
    start_when_available,
    stop_within,
    subscribe_batch,
)
from services.chassis.clock import StoreClock, SystemClock
from services.chassis.dead_letters import DeadLetters
from services.chassis.erasure import SECOND_PASS_AFTER, Eraser
from services.chassis.fence import Fence
from services.chassis.http import Health, make_app
from services.chassis.keys import KeyFile
from services.chassis.process import Background, run_service
from services.chassis.relay import relay
from services.chassis.settings import load, refuse
from services.chassis.store import Store, prepare_when_available, store_trouble
from services.chassis.sweeper import sweep
from services.chassis.ticker import roll, tick
from services.triage.api import desk_routes
from services.triage.commands import Commands
from services.triage.domain.classify import Classifier
from services.triage.domain.deadlines import fire_for
from services.triage.erasing import Copies
from services.triage.followers import Followers
from services.triage.handlers import Triage
from services.triage.settings import TriageSettings
from services.triage.store import DATABASE, TriageStore

GROUP = "triage"
_STOP_SECONDS = 10.0


def build(
    settings: TriageSettings,
    *,
    database: str = DATABASE,
    group: str = GROUP,
    second_erasure_after: timedelta = SECOND_PASS_AFTER,
) -> tuple[FastAPI, Health, Background]:
    """Wire the service. Nothing connects before the application's lifespan begins."""
    try:
        profile = load_profile(settings.profile)
    except ProfileError as error:
        refuse(str(error))
    classifier = Classifier.load(settings.model_folder, profile)
    store = Store(settings.mongo_url.get_secret_value(), database)
    fence = Fence(store, "triage")
    kept = TriageStore(store, fence)
    clock = StoreClock(store.time)
    broker = make_broker(settings)
    publisher = Publisher(broker, settings.publish_timeout_seconds)
    letters = DeadLetters(publisher, "triage", clock=clock)
    triage = Triage(kept, profile, classifier, clock, publisher, letters)
    consumer = subscribe_batch(
        broker,
        REQUESTS,
        HANDLING,
        group_id=group,
        handler=triage.handle,
        dead_letters=letters,
    )
    blocked = BlockedCases()
    health, background = Health(), Background()
    health.must_live("consumer", consumer.trouble)
    health.must_be_ready("consumer", consumer.waiting)
    health.must_be_ready("bus", partial(bus_trouble, broker))
    health.must_be_ready("store", partial(store_trouble, store))
    health.must_be_ready("database", fence.trouble)

    async def publish(events: Sequence[Event]) -> None:
        await publish_events(publisher, events)

    followers = Followers(
        kept, profile, clock, publish, timedelta(minutes=settings.parked_alarm_minutes)
    )

    eraser = Eraser(
        "triage",
        kept.erased,
        Copies(kept, publish).redact,
        topic=TRIAGE,
        kafka_url=settings.kafka_url,
        publisher=publisher,
        second_after=second_erasure_after,
    )

    async def start() -> None:
        await fence.opened(partial(has_worked_before, settings, group, TRIAGE))
        background.start("fence", fence.watch)
        await start_when_available(broker, settings, [TRIAGE, POLICIES, dead_letters("triage")])
        background.start("ticks", partial(tick, publisher, TRIAGE, SystemClock()))
        background.start("rolling", partial(roll, publisher, {dead_letters("triage"): 1}))
        background.start("consumer watch", consumer.watch)
        background.start("relay", partial(relay, [kept.cases, kept.groups], publish, clock))
        background.start("groups", followers.follow_groups)
        background.start("parked", followers.unpark)
        background.start("erased cases", kept.erased.keep_fresh)
        background.start("eraser", eraser.run)
        fire = fire_for(profile)
        background.start("sweeper", partial(sweep, kept.cases, fire, publish, clock))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        background.start("clock", clock.keep_measured)
        background.start("indexes", partial(prepare_when_available, kept.prepare), once=True)
        background.start("dead letters", blocked.following(settings).run)
        background.start("start", start, once=True)
        yield
        await background.stop()
        await stop_within(broker, _STOP_SECONDS)
        store.close()

    app = make_app(
        "Jieyou triage",
        lifespan,
        health=health,
        keys=KeyFile(settings.keys_file),
        body_limit_bytes=settings.body_limit_bytes,
    )
    commands = Commands(kept, profile, clock, publish)
    app.include_router(desk_routes(commands, settings, publisher, blocked))
    return app, health, background


def main() -> int:
    """Run the service; returns the exit code."""
    settings = load(TriageSettings)
    app, health, background = build(settings)
    return run_service(app, settings, health=health, background=background)
