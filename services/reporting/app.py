"""The composition root of reporting: the one place where bus, store, handlers and HTTP meet."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog
from fastapi import FastAPI

from contracts.profile import Profile, ProfileError, load_profile
from contracts.topics import CASE_TOPICS
from services.chassis.backoff import backoff_seconds
from services.chassis.blocked import BlockedCases
from services.chassis.bus import (
    Consumer,
    Publisher,
    Record,
    bus_trouble,
    make_broker,
    start_when_available,
    stop_within,
    subscribe_batch,
)
from services.chassis.clock import Clock, SystemClock
from services.chassis.dead_letters import DeadLetters
from services.chassis.http import Health, make_app
from services.chassis.keys import KeyFile, KeyFileError
from services.chassis.process import Background, run_service
from services.chassis.settings import PREFIX, load, refuse
from services.chassis.store import Store, StoreUnavailable
from services.reporting import api
from services.reporting.alignment import AnotherLog, align
from services.reporting.handlers import Applier
from services.reporting.log_ends import LogEnds
from services.reporting.lookup import CodeGuard
from services.reporting.settings import ReportingSettings
from services.reporting.store import Projection

GROUP = "reporting"
_BUS_STOP_SECONDS = 5.0
_LONGEST_WAIT_SECONDS = 5.0

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Reporting:
    """The service, wired."""

    app: FastAPI
    health: Health
    background: Background
    consumer: Consumer


def make_reporting(
    settings: ReportingSettings,
    profile: Profile,
    keys: KeyFile,
    *,
    database: str = "jieyou_reporting",
    group: str = GROUP,
    clock: Clock | None = None,
) -> Reporting:
    """Wire the service; nothing is connected before the application's lifespan begins."""
    broker = make_broker(settings)
    publisher = Publisher(broker, settings.publish_timeout_seconds)
    store = Store(settings.mongo_url.get_secret_value(), database)
    projection = Projection(store)
    dead_letters = DeadLetters(publisher, settings.service)
    applier = Applier(projection, dead_letters, settings.cached_cases)
    ends = LogEnds(settings.kafka_url)
    clock = clock or SystemClock()
    blocked = BlockedCases()
    letters = blocked.following(settings)
    background, health = Background(), Health()
    trouble: list[str] = ["not begun"]

    async def handle(records: list[Record]) -> None:
        await applier.apply(records)
        if len(records) < settings.batch_records:
            await asyncio.sleep(settings.batch_pause_seconds)

    consumer = subscribe_batch(
        broker,
        *CASE_TOPICS,
        group_id=group,
        handler=handle,
        dead_letters=dead_letters,
        max_records=settings.batch_records,
    )

    async def begin() -> None:
        await _prepared(projection)
        try:
            await align(settings.kafka_url, group, projection.progress)
        except AnotherLog as error:
            trouble[:] = [str(error)]
            log.critical("not the log that was applied", reason=str(error), alarm=True)
            return
        await start_when_available(broker, settings)
        trouble.clear()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        background.start("bus", begin, once=True)
        background.start("watch", consumer.watch)
        background.start("dead letters", letters.run)
        background.start("dead letter watch", lambda: blocked.watch(clock))
        try:
            yield
        finally:
            await background.stop()
            await ends.stop()
            await stop_within(broker, _BUS_STOP_SECONDS)
            store.close()

    async def begun() -> str | None:
        return trouble[0] if trouble else None

    health.must_live("consumer", consumer.trouble)
    health.must_be_ready("begun", begun)
    health.must_be_ready("bus", lambda: bus_trouble(broker))
    health.must_be_ready("store", lambda: store_trouble(store))
    health.must_be_ready("applying", consumer.waiting)
    health.must_be_ready("dead letters", letters.trouble)
    app = make_app(
        "解忧 · 查询与数据",
        lifespan,
        health=health,
        keys=keys,
        body_limit_bytes=settings.body_limit_bytes,
    )
    views = api.Views(
        profile,
        projection,
        clock,
        blocked,
        CodeGuard(settings.code_key),
        ends.read,
    )
    for routes in (api.case_routes, api.figure_routes, api.operator_routes):
        app.include_router(routes(views))
    return Reporting(app, health, background, consumer)


async def store_trouble(store: Store) -> str | None:
    """Why the store cannot be used right now, or None; for readiness."""
    try:
        await store.ping()
    except StoreUnavailable as error:
        return str(error)
    return None


async def _prepared(projection: Projection) -> None:
    """Wait for the store as long as it takes; the port is open meanwhile and says not ready."""
    attempt = 0
    while True:
        try:
            await projection.prepare()
        except StoreUnavailable as error:
            attempt += 1
            wait = backoff_seconds(attempt, first=0.3, longest=_LONGEST_WAIT_SECONDS)
            log.warning("store not available yet", attempt=attempt, reason=str(error), seconds=wait)
            await asyncio.sleep(wait)
        else:
            return


def main() -> int:
    """Run the service; returns the exit code."""
    settings = load(ReportingSettings)
    keys = KeyFile(settings.keys_file)
    try:
        profile = load_profile(settings.profile)
        keys.load()
    except ProfileError as error:
        refuse(f"{PREFIX}PROFILE: {error}")
    except KeyFileError as error:
        refuse(f"{PREFIX}KEYS_FILE: {error}")
    reporting = make_reporting(settings, profile, keys)
    return run_service(
        reporting.app, settings, health=reporting.health, background=reporting.background
    )
