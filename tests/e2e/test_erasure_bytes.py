"""An erased person is in no file any more: not in Kafka's segments, no store, no log file."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from contracts.topics import HANDLING, REQUESTS, partition_for
from deploy.local.folders import PlatformFolder
from services.chassis.redaction import read_partition
from tests.e2e.erasure_place import Person, Place, callback_url, found_in, started, stored, until

GONE, STAYS = Person.of("泥鳅绿萝", "12345678"), Person.of("芦笋白鹭", "87654321")


def jieyou(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("JIEYOU_")}
    return subprocess.run(
        [sys.executable, "-m", "deploy.cli", *arguments],
        env={**environment, "JIEYOU_HOME": str(home)},
        text=True,
        capture_output=True,
        timeout=200,
        check=False,
    )


async def poison(place: Place, case_no: str) -> None:
    """A record of the case that nobody can read: it ends among the dead letters, words and all."""
    headers = {
        "ce_specversion": "1.0",
        "ce_type": "jieyou.handoff.signed",
        "ce_id": "5f0e2c1a-0000-5000-8000-000000000001",
        "ce_subject": case_no,
    }
    async with AIOKafkaProducer(bootstrap_servers=place.addresses.kafka_url) as producer:
        await producer.send_and_wait(
            HANDLING,
            f"{{{GONE.text}".encode(),
            headers["ce_id"].encode(),
            partition_for(case_no),
            headers=[(name, text.encode()) for name, text in headers.items()],
        )


async def late_copy(place: Place, case_no: str) -> list[Any]:
    """The submission as it was accepted, to be written again when it is late."""
    number = partition_for(case_no)
    return [
        record
        async for record in read_partition(place.addresses.kafka_url, REQUESTS, number)
        if record.headers.get("ce_subject") == case_no
    ]


async def write_again(place: Place, records: list[Any]) -> None:
    async with AIOKafkaProducer(bootstrap_servers=place.addresses.kafka_url) as producer:
        for record in records:
            headers = [(name, text.encode()) for name, text in record.headers.items()]
            await producer.send_and_wait(
                record.topic, record.value, record.key, record.partition, headers=headers
            )


async def compacted(place: Place, seconds: float = 120) -> dict[str, list[str]]:
    """Wait until no segment holds the person; return what is left."""
    end = time.monotonic() + seconds
    while left := found_in(place.folder.data / "kafka", GONE, "*.log"):
        if time.monotonic() > end:
            return left
        await place.roll()
        await asyncio.sleep(1)
    return {}


def letters(home: Path) -> list[str]:
    listed = jieyou(home, "dead-letters", "list", "--json")
    assert listed.returncode == 0, listed.stderr
    return [one["service"] for one in json.loads(listed.stdout)]


@pytest.mark.local_platform
@pytest.mark.timeout(400)
async def test_no_byte_of_an_erased_person_is_left(tmp_path: Path) -> None:
    home = tmp_path / "platform"
    folder = PlatformFolder(home)
    with started(folder) as place, callback_url() as callback:
        await place.shorten()
        gone = place.submit(GONE, "of-gone", callback)
        stays = place.submit(STAYS, "of-stays", callback)
        for case, person in ((gone, GONE), (stays, STAYS)):
            await asyncio.to_thread(place.bring_to_its_end, case, person)
        case_no = gone["case_no"]
        figures = await asyncio.to_thread(
            until, "the figures are there", lambda: settled_figures(place)
        )
        await poison(place, case_no)
        aside = await asyncio.to_thread(
            until, "it is put aside", lambda: len(letters(home)) >= 2 and letters(home)
        )
        assert set(aside) == {"triage", "reporting"}
        copies = await late_copy(place, case_no)
        kafka = folder.data / "kafka"
        everywhere = {m for found in found_in(kafka, GONE, "*.log").values() for m in found}
        assert everywhere == set(GONE.markers), "the search can fail"
        assert {m for found in stored(place.addresses.mongo_url, GONE).values() for m in found} == (
            everywhere
        )

        await asyncio.to_thread(erase, home, case_no)
        assert found_in(folder.logs, GONE) == {}
        assert stored(place.addresses.mongo_url, GONE) == {}
        assert await compacted(place) == {}

        # A copy that was spooled long ago comes late.
        await write_again(place, copies)
        assert found_in(kafka, GONE, "*.log") != {}
        assert await compacted(place) == {}
        assert stored(place.addresses.mongo_url, GONE) == {}
        assert place.submit(GONE, "of-gone", callback) == gone
        assert place.say(gone, "supplements", {"text": GONE.supplement}, "late") == 410

        after = await asyncio.to_thread(place.figures)
        for before, now in zip(figures, after, strict=True):
            assert now["totals"] == before["totals"]
            assert now == before
        audit = jieyou(home, "audit", "--json")
        assert audit.returncode == 0, audit.stdout + audit.stderr
        listed = jieyou(home, "erase", "--list")
        assert [line.split()[0] for line in listed.stdout.splitlines()] == [case_no]
        for marker in STAYS.markers:
            found = [*found_in(kafka, STAYS, "*.log").values()]
            assert any(marker in own for own in found), marker


def settled_figures(place: Place) -> Any:
    """The figures once they count both cases as closed and change no more."""
    figures = place.figures()
    time.sleep(1)
    is_settled = figures[0]["totals"]["closed"] == 2 and place.figures() == figures
    return figures if is_settled else None


def erase(home: Path, case_no: str) -> None:
    unknown = jieyou(home, "erase", "0CRJD9Z9PJ0F2", "--yes")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)
    dry = jieyou(home, "erase", case_no, "--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert "dead-letters.reporting.v1" in dry.stdout
    done = jieyou(home, "erase", case_no, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["is_done"]
    assert not any(told["left"].values())
