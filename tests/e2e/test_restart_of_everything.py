"""Everything is killed at once under load, supervisor, broker and store included; `jieyou up` again
carries on, and every accepted case completes."""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from contracts.profile import Profile, load_profile
from deploy.local.credentials import WEBHOOK_SECRET
from deploy.local.folders import PlatformFolder
from deploy.local.state import Identity, read_state
from deploy.simulators.calls import Calls
from deploy.simulators.receiver import ReceiverServer
from services.notify.domain.webhooks import printed, receiver_key
from tests.chaos import journal
from tests.chaos.check import Check, Found
from tests.chaos.crowd import CHANNEL, Crowd
from tests.chaos.load import Load
from tests.chaos.stage import PROFILE, Stage, until
from tests.chaos.watch import Watch

RATE = 8.0
ASKED_IN_VAIN_S = 1.5
WITHIN_S = 120.0
PROCESSES = {"kafka", "store", "intake-1", "triage-1", "notify-1", "reporting-1"}


@dataclass(frozen=True)
class City:
    """A platform in a folder of its own, as an operator has it, and those who use it."""

    folder: PlatformFolder
    profile: Profile
    server: ReceiverServer

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run `jieyou …`; return its exit code and all that it said."""
        hotlines = [one.code for one in self.profile.departments if one.kind == "hotline"]
        told = {
            "JIEYOU_HOME": str(self.folder.root),
            "JIEYOU_PROFILE": PROFILE,
            "JIEYOU_DEPARTMENT_URLS": json.dumps({one: self.server.url(one) for one in hotlines}),
        }
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **told},
        )
        output, _ = await process.communicate()
        return process.returncode or 0, output.decode()

    def everybody(self) -> dict[str, Identity]:
        """Who runs now, the supervisor included."""
        state = read_state(self.folder.state_file)
        assert state is not None
        running = {one.name: one.identity for one in state.processes if one.identity is not None}
        return {**running, "supervisor": state.supervisor}

    def webhook_keys(self) -> dict[str, str]:
        """The keys by which receivers check what they get."""
        secret = bytes.fromhex((self.folder.secrets / WEBHOOK_SECRET).read_text("ascii").strip())
        codes = [one.code for one in self.profile.departments]
        keys = {code: printed(receiver_key(secret, "department", code)) for code in codes}
        return {**keys, CHANNEL: printed(receiver_key(secret, "channel", CHANNEL))}


@dataclass(frozen=True)
class People:
    """Who asks, and what is seen of it. `over` ends the asking."""

    load: Load
    watch: Watch
    asking: asyncio.Task[None]
    over: asyncio.Event


@asynccontextmanager
async def people(city: City, journals: journal.Journals) -> AsyncIterator[People]:
    """Citizens, desk, departments and a hotline at work."""
    stage = Stage(city.folder, [], {}, None)
    address = city.server.url(CHANNEL)
    token = stage.tokens["channel"][CHANNEL]
    load = Load(stage.url("intake"), token, RATE, 1, address, journals)
    crowd = Crowd(stage, city.profile, load, city.server, city.webhook_keys(), journals)
    watch = Watch(stage.addresses.kafka_url)
    over = asyncio.Event()
    working = [asyncio.create_task(watch.run()), asyncio.create_task(crowd.work())]
    asking = asyncio.create_task(load.run(over))
    try:
        yield People(load, watch, asking, over)
    finally:
        for task in (asking, *working):
            task.cancel()
        ends = await asyncio.gather(asking, *working, return_exceptions=True)
        await load.close()
    assert not [one for one in ends if isinstance(one, Exception)]


async def kill_all(city: City) -> Mapping[str, Identity]:
    """kill -9 everybody at once, and return when nobody is left."""
    killed = city.everybody()
    assert killed.keys() >= PROCESSES | {"supervisor"}
    for identity in killed.values():
        os.kill(identity.pid, signal.SIGKILL)
    assert await until(lambda: all(one.process() is None for one in killed.values()), 10.0)
    return killed


async def checked(city: City, journals: Path) -> Found:
    """Check journals against the log until all is well, or for a while: figures come last."""
    stage = Stage(city.folder, [], {}, None)
    token = stage.tokens["operator"]["operator-1"]
    give_up = time.monotonic() + 20.0
    async with Calls(stage.url("reporting"), token=token) as reporting:
        while True:
            totals = (await reporting.get("/v1/figures")).document["totals"]
            check = Check(stage.addresses.kafka_url, journals)
            found = await check.run({**totals, **totals["handoffs"]})
            if found.is_good or time.monotonic() > give_up:
                return found
            await asyncio.sleep(0.5)


@pytest.mark.long
@pytest.mark.timeout(300)
async def test_after_kill_9_of_everything_under_load_up_carries_on_and_every_case_completes(
    tmp_path: Path,
) -> None:
    server = ReceiverServer()
    city = City(PlatformFolder(tmp_path / "city"), load_profile(PROFILE), server)
    journals_folder = tmp_path / "clients"
    try:
        assert (await city.command("up"))[0] == 0
        with journal.Journals(journals_folder) as journals:
            async with people(city, journals) as all_:
                assert await until(lambda: len(all_.load.accepted_at) > RATE, WITHIN_S)
                await asyncio.sleep(random.uniform(0.0, 4.0))
                killed_at = time.time()
                killed = await kill_all(city)
                await asyncio.sleep(ASKED_IN_VAIN_S)
                all_.over.set()  # those who have no answer go on asking

                code, output = await city.command("up")
                assert code == 0, output
                again = city.everybody()
                assert again.keys() == killed.keys()
                assert all(again[name] != old for name, old in killed.items())

                await asyncio.wait_for(all_.asking, WITHIN_S)
                load, ended = all_.load, all_.watch.ended
                assert await until(lambda: load.codes.keys() <= ended, WITHIN_S), (
                    f"{len(load.codes.keys() - ended)} of {len(load.codes)} cases do not end"
                )

        found = await checked(city, journals_folder)
        assert found.is_good, found
        assert found.accepted == found.asked == load.asked
        assert min(load.accepted_at) < killed_at < max(load.accepted_at)
        assert repeated_over(journals_folder, killed_at), "no client was left without an answer"
        code, output = await city.command("audit")
        assert code == 0, output
        assert (await city.command("status"))[0] == 0
    finally:
        code, output = await city.command("down")
        server.close()
    assert code == 0, output


def repeated_over(journals: Path, killed_at: float) -> list[str]:
    """The keys of requests that were asked in vain when everything was dead, and then accepted."""
    in_vain = {
        one["key"]
        for one in journal.read(journals, journal.ANSWERS)
        if one["what"] == "requests" and one["began"] >= killed_at - 1 and one["status"] != 202
    }
    return sorted(in_vain & {one["key"] for one in journal.read(journals, journal.ACCEPTED)})
