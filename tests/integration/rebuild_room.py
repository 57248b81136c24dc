"""A log and a store of their own, reporting as a process runs it, and a log that grows."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr

from contracts import topics
from contracts.envelope import Event
from contracts.profile import load_profile
from deploy.recovery.rebuild import rebuilding
from deploy.recovery.rebuilt import Outcome, Step
from deploy.topics import ensure_topics
from services.chassis.keys import KeyFile, new_key
from services.chassis.store import Store
from services.reporting.app import make_reporting
from services.reporting.domain.buckets import Figures
from services.reporting.generations import FIRST, Generation, Generations
from services.reporting.settings import ReportingSettings
from services.reporting.store import Projection
from tests.unit.reporting_room import TOPIC_OF

PROFILE = load_profile("zhoukou")
CODE_SECRET = "c0" * 32
START = datetime(2021, 3, 1, tzinfo=UTC)


@dataclass
class Running:
    """A reporting that runs."""

    client: httpx.AsyncClient
    token: str

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path, headers={"Authorization": f"Bearer {self.token}"})

    async def accepted(self) -> int:
        """How many cases the figures count."""
        answer = await self.get("/v1/figures")
        assert answer.status_code == 200, answer.text
        counted: int = answer.json()["totals"]["accepted"]
        return counted

    async def until_current(self) -> dict[str, Any]:
        """The figures once nothing is unread."""
        async with asyncio.timeout(60):
            while True:
                answer = await self.get("/v1/figures")
                figures: dict[str, Any] = answer.json()
                if answer.status_code == 200 and figures["as_of"]["is_current"]:
                    return figures
                await asyncio.sleep(0.05)


@dataclass
class Room:
    """The platform as far as reporting needs it."""

    kafka_url: str
    mongo_url: str
    keys: KeyFile
    token: str
    producer: AIOKafkaProducer
    store: Store
    generations: Generations
    steps: list[Step] = field(default_factory=list)

    async def write(self, events: Iterable[Event]) -> None:
        """Put events on the log, acknowledged."""
        waits = [
            await self.producer.send(
                TOPIC_OF[event.data.owner],
                event.encoded,
                event.key,
                event.partition,
                headers=[(name, text.encode()) for name, text in event.headers().items()],
            )
            for event in events
        ]
        await asyncio.gather(*waits)

    @asynccontextmanager
    async def running(self, instance: str = "reporting-1") -> AsyncIterator[Running]:
        """A reporting that is ready."""
        settings = ReportingSettings(
            kafka_url=self.kafka_url,
            mongo_url=SecretStr(self.mongo_url),
            keys_file=Path("unused"),
            instance=instance,
            code_secret=SecretStr(CODE_SECRET),
            batch_pause_seconds=0.0,
            batch_records=200,
        )
        service = make_reporting(settings, PROFILE, self.keys)
        async with (
            service.app.router.lifespan_context(service.app),
            httpx.AsyncClient(
                transport=httpx.ASGITransport(service.app), base_url="http://reporting"
            ) as client,
        ):
            async with asyncio.timeout(60):
                while (await client.get("/health/ready")).status_code != 200:
                    await asyncio.sleep(0.05)
            yield Running(client, self.token)

    async def rebuild(
        self, on_step: Callable[[Step], None] | None = None, *, keeps_old: bool = False
    ) -> Outcome:
        """What `jieyou rebuild reporting` does."""
        async with rebuilding(self.kafka_url, self.mongo_url, is_local=True) as rebuild:
            return await rebuild.run(on_step or self.steps.append, keeps_old=keeps_old)

    async def live(self) -> Generation:
        """The live generation."""
        return (await self.generations.live()).generation

    async def projection(self) -> Projection:
        """What the live generation holds."""
        return Projection(self.store.beside((await self.live()).database))

    async def figures(self) -> Figures:
        """All figures of the live generation."""
        return await (await self.projection()).figures(None, None)

    async def command(self, *words: str) -> tuple[int, str, str]:
        """Exit code, output and errors of `jieyou rebuild reporting`."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", "rebuild", "reporting", *words),
            env={
                **os.environ,
                "JIEYOU_KAFKA_URL": self.kafka_url,
                "JIEYOU_MONGO_URL": self.mongo_url,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(90):
            output, errors = await process.communicate()
        return process.returncode or 0, output.decode(), errors.decode()

    async def killed_when(self, script: str) -> None:
        """Rebuild in a process of its own that kills itself as the script says."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _KILLED + script, self.kafka_url, self.mongo_url
        )
        async with asyncio.timeout(90):
            assert await process.wait() == -9


_KILLED = """
import asyncio, os, signal, sys
from deploy.recovery import turning
from deploy.recovery.rebuild import rebuilding
from deploy.recovery.rebuilt import Stage
from services.reporting.generations import Generations

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

on_step = lambda step: None

async def rebuild():
    async with rebuilding(sys.argv[1], sys.argv[2]) as one:
        await one.run(on_step)
"""


@asynccontextmanager
async def room(kafka_url: str, mongo_url: str, folder: Path) -> AsyncIterator[Room]:
    """The room of a module."""
    token, record = new_key("operator", "operator-1")
    keys = KeyFile(folder / "keys.json")
    keys.save([record])
    specs = topics.all_topics(department.code for department in PROFILE.departments)
    await ensure_topics(kafka_url, specs)
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url, acks="all")
    await producer.start()
    store = Store(mongo_url, FIRST.database)
    generations = Generations(store)
    try:
        yield Room(kafka_url, mongo_url, keys, token, producer, store, generations)
    finally:
        await producer.stop()
        store.close()
