"""The composition root of reporting: the one place where bus, store, handlers and HTTP meet."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import FastAPI

from contracts.profile import Profile, ProfileError, load_profile
from contracts.topics import dead_letters
from services.chassis.blocked import BlockedCases
from services.chassis.bus import Publisher, make_broker, start_when_available, stop_within
from services.chassis.clock import Clock, SystemClock
from services.chassis.http import Health, make_app
from services.chassis.keys import KeyFile, KeyFileError
from services.chassis.process import Background, run_service
from services.chassis.settings import PREFIX, load, refuse
from services.chassis.store import Store, store_trouble
from services.chassis.ticker import roll
from services.reporting import api
from services.reporting.erasing import LettersOfErased
from services.reporting.generations import FIRST, Generation, Generations
from services.reporting.live import LiveApplying, LiveReads
from services.reporting.log_ends import LogEnds
from services.reporting.lookup import CodeGuard
from services.reporting.settings import ReportingSettings

_BUS_STOP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Reporting:
    """The service, wired."""

    app: FastAPI
    health: Health
    background: Background


def make_reporting(
    settings: ReportingSettings,
    profile: Profile,
    keys: KeyFile,
    *,
    database: str = FIRST.database,
    group: str = FIRST.group,
    clock: Clock | None = None,
) -> Reporting:
    """Wire the service; nothing is connected before the application's lifespan begins."""
    store = Store(settings.mongo_url.get_secret_value(), database)
    generations = Generations(store, Generation(1, database, group))
    reads = LiveReads(generations, store)
    live = LiveApplying(settings, generations, reads)
    ends = LogEnds(settings.kafka_url)
    clock = clock or SystemClock()
    blocked = BlockedCases()
    letters = blocked.following(settings)
    background, health = Background(), Health()
    broker = make_broker(settings)
    publisher = Publisher(broker, settings.publish_timeout_seconds)
    of_erased = LettersOfErased(settings.kafka_url, publisher, blocked, reads)

    async def connect() -> None:
        await start_when_available(broker, settings, [dead_letters("reporting")])
        background.start("letters of erased cases", of_erased.run)
        background.start("rolling", lambda: roll(publisher, {dead_letters("reporting"): 1}))

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        background.start("applying", live.run)
        background.start("bus", connect, once=True)
        background.start("dead letters", letters.run)
        background.start("dead letter watch", lambda: blocked.watch(clock))
        try:
            yield
        finally:
            await background.stop()
            await stop_within(broker, _BUS_STOP_SECONDS)
            await ends.stop()
            await live.stop()
            store.close()

    health.must_live("consumer", live.dead)
    health.must_be_ready("begun", live.begun)
    health.must_be_ready("bus", live.bus)
    health.must_be_ready("store", lambda: store_trouble(store))
    health.must_be_ready("applying", live.waiting)
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
        reads,
        clock,
        blocked,
        CodeGuard(settings.code_key),
        ends.read,
    )
    for routes in (api.case_routes, api.figure_routes, api.operator_routes):
        app.include_router(routes(views))
    return Reporting(app, health, background)


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
