"""The composition root of intake: the one place where bus, store, handlers and HTTP meet."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from fastapi import FastAPI
from faststream.kafka import KafkaBroker
from starlette.requests import Request
from starlette.responses import Response

from contracts.danger import DangerMatcher
from contracts.envelope import Event
from contracts.profile import Profile, ProfileError, load_profile
from contracts.topics import REQUESTS, TRIAGE, dead_letters
from services.chassis.batches import outgoing
from services.chassis.bus import (
    Publisher,
    bus_trouble,
    make_broker,
    start_when_available,
    stop_within,
    subscribe_batch,
)
from services.chassis.clock import Clock, StoreClock, SystemClock
from services.chassis.dead_letters import DeadLetters
from services.chassis.erasure import ErasedCases, Eraser
from services.chassis.http import Health, Problem, make_app
from services.chassis.keys import KeyFile, KeyFileError
from services.chassis.process import Background, run_service
from services.chassis.settings import PREFIX, load, refuse
from services.chassis.store import Store, StoreUnavailable, store_trouble
from services.chassis.ticker import roll, tick
from services.intake import api, catalogue, erasing, metrics
from services.intake.guards import ChannelGuard, CodeGuard
from services.intake.handlers import Ports
from services.intake.ledger import Breaker, Ledger
from services.intake.settings import IntakeSettings
from services.intake.spool import Caretaker, drain
from services.intake.store import Records, Runs

GROUP = "intake"
# Longer than a round of the drain, so that it and not a citizen asks whether the bus is back.
_BUS_PAUSE_SECONDS = 3.0
_STORE_PAUSE_SECONDS = 1.0
_BUS_STOP_SECONDS = 5.0
_PING_SECONDS = 1.0
_PATIENT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Intake:
    """The service, wired."""

    app: FastAPI
    health: Health
    background: Background
    ports: Ports


def make_intake(
    settings: IntakeSettings,
    profile: Profile,
    keys: KeyFile,
    *,
    database: str = "jieyou_intake",
    group: str = GROUP,
    clock: Clock | None = None,
) -> Intake:
    """Wire the service; nothing is connected before the application's lifespan begins."""
    broker = make_broker(settings)
    # A connection of its own: a group that has no coordinator must not keep requests waiting.
    listening = make_broker(settings)
    publisher = Publisher(broker, settings.publish_timeout_seconds)
    url = settings.mongo_url.get_secret_value()
    store = Store(url, database, settings.store_timeout_seconds)
    # Nobody waits for what a dead process left, and it can be much.
    patient_store = Store(url, database, _PATIENT_SECONDS)
    records, runs = Records(store), Runs(store)
    store_clock = StoreClock(store.time)
    erased = ErasedCases(patient_store)

    async def publish(events: Sequence[Event]) -> None:
        told = erasing.without_erased(events, erased)
        await publisher.publish_all([outgoing(event) for event in told])

    ports = Ports(
        records=records,
        publish=publish,
        ledger=Ledger(),
        bus=Breaker(_BUS_PAUSE_SECONDS),
        store=Breaker(_STORE_PAUSE_SECONDS),
        clock=clock or store_clock,
        spool_limit=settings.spool_limit,
        spool_limit_seconds=settings.spool_limit_minutes * 60,
        erased=erased,
    )
    patient_records = Records(patient_store)
    caretaker = Caretaker(ports, patient_records, runs, settings.instance)
    letters = DeadLetters(publisher, "intake")
    listener = erasing.Listener(erased, letters)
    consumer = subscribe_batch(
        listening, TRIAGE, group_id=group, handler=listener.handle, dead_letters=letters
    )
    eraser = Eraser(
        "intake",
        erased,
        patient_records.redact,
        topic=REQUESTS,
        kafka_url=settings.kafka_url,
        publisher=publisher,
    )
    background = Background()

    async def connect_bus() -> None:
        await start_when_available(broker, settings, publishes_to=[REQUESTS])
        ports.bus.succeeded()  # who failed before it was there need not keep others from it
        background.start("ticks", lambda: tick(publisher, REQUESTS, SystemClock()))
        background.start("rolling", lambda: roll(publisher, {dead_letters("intake"): 1}))

    async def listen() -> None:
        await start_when_available(listening, settings, [dead_letters("intake")])
        background.start("consumer watch", consumer.watch)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        background.start("bus", connect_bus, once=True)
        with contextlib.suppress(StoreUnavailable):
            await asyncio.gather(caretaker.beat(), store_clock.measure())
        background.start("beat", caretaker.keep_beating)
        background.start("look after", caretaker.keep_looking)
        background.start("spool", lambda: drain(ports))
        background.start("clock", store_clock.keep_measured)
        background.start("erased cases", lambda: erasing.keep_known(erased))
        background.start("eraser", eraser.run)
        background.start("listen", listen, once=True)
        try:
            yield
        finally:
            await background.stop()
            await asyncio.gather(
                stop_within(listening, _BUS_STOP_SECONDS), stop_within(broker, _BUS_STOP_SECONDS)
            )
            await caretaker.stop()
            store.close()
            patient_store.close()

    health = _health(broker, store, ports)
    health.must_live("consumer", consumer.trouble)
    app = make_app(
        "解忧 · 求助受理",
        lifespan,
        health=health,
        keys=keys,
        body_limit_bytes=settings.body_limit_bytes,
    )
    app.exception_handler(Problem)(_counted)
    matcher = DangerMatcher(profile)
    matcher.find("您好")  # loads its dictionaries now and not at the first request
    desk = api.Desk(settings, profile, matcher, ports, CodeGuard(settings.code_key), ChannelGuard())
    app.include_router(api.routes(desk))
    app.include_router(catalogue.routes(profile))
    return Intake(app, health, background, ports)


def _health(broker: KafkaBroker, store: Store, ports: Ports) -> Health:
    async def trouble() -> str | None:
        """Ready as long as one of bus and spool takes requests: taken out of service for a bus
        that is away, nobody would reach the spool that is there for it."""
        bus, records = await asyncio.gather(
            bus_trouble(broker, _PING_SECONDS), store_trouble(store)
        )
        if bus is None:
            return None
        if ports.spool_is_full:
            return f"bus: {bus}; the spool is full"
        return f"bus: {bus}; store: {records}" if records else None

    async def spooled() -> str | None:
        return ports.spool_note

    health = Health()
    health.must_be_ready("accepting", trouble)
    health.shows("spool", spooled)
    return health


async def _counted(_: Request, problem: Problem) -> Response:
    metrics.REFUSED.labels(problem.slug).inc()
    return problem.response()


def main() -> int:
    """Run the service; returns the exit code."""
    settings = load(IntakeSettings)
    keys = KeyFile(settings.keys_file)
    try:
        profile = load_profile(settings.profile)
        keys.load()
    except ProfileError as error:
        refuse(f"{PREFIX}PROFILE: {error}")
    except KeyFileError as error:
        refuse(f"{PREFIX}KEYS_FILE: {error}")
    intake = make_intake(settings, profile, keys)
    return run_service(intake.app, settings, health=intake.health, background=intake.background)
