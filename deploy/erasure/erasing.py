"""Asking intake for an erasure, and following it until every owner is done."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError

from contracts.envelope import TYPE_PREFIX, ContractError, parse
from contracts.topics import TRIAGE
from contracts.triage import CaseErased
from deploy.audit.log import Log
from deploy.erasure.copies import Copies
from deploy.erasure.watch import Look, Watch
from deploy.local.errors import PlatformError

_LOOK_EVERY_SECONDS = 0.5
_ASK_AGAIN_SECONDS = 1.0
_ASK_WITHIN_SECONDS = 30.0
_CALL_SECONDS = 10.0
_SERVER_ERROR, _TOO_MANY = 500, 429
_DAY_MS = 86_400_000
_SEGMENT_MS = 7 * _DAY_MS
"""Kafka's own default for how long a segment is written to."""

OnLook = Callable[[Look], None]


@dataclass(frozen=True, slots=True)
class Entrance:
    """Where intake answers, and an operator's key."""

    intake_url: str
    token: str


@asynccontextmanager
async def watching(kafka_url: str, mongo_url: str, case_no: str) -> AsyncIterator[Watch]:
    """Open log and stores for one case. Raises PlatformError."""
    copies = Copies(mongo_url)
    try:
        async with Log(kafka_url) as log:
            yield Watch(log, copies, case_no)
    finally:
        copies.close()


def key_of(look: Look) -> str:
    """Return the key under which intake is asked. Asked again before the erasure is decided it is
    the same wish; where something has come up after it, another one, which begins it anew."""
    asked = 0
    if look.erased is not None:
        asked = sum(event.type == "erasure.requested" for event in look.state.timeline)
    return f"jieyou-erase-{look.case_no}-{asked}"


async def ask(entrance: Entrance, case_no: str, key: str) -> None:
    """Ask intake until it has taken the wish in. Raises PlatformError, one line."""
    until = time.monotonic() + _ASK_WITHIN_SECONDS
    headers = {"Authorization": f"Bearer {entrance.token}", "Idempotency-Key": key}
    url = f"{entrance.intake_url.rstrip('/')}/v1/requests/{case_no}/erasure"
    async with httpx.AsyncClient(timeout=_CALL_SECONDS, trust_env=False) as client:
        while True:
            try:
                answer = await client.post(url, headers=headers)
                status, why = answer.status_code, _why(answer)
            except httpx.HTTPError as error:
                status, why = _SERVER_ERROR, type(error).__name__
            if status < _SERVER_ERROR and status != _TOO_MANY:
                break
            if time.monotonic() > until:
                raise PlatformError(f"intake does not take it: {why}")
            await asyncio.sleep(_ASK_AGAIN_SECONDS)
    if not 200 <= status < 300:
        raise PlatformError(f"intake refuses it ({status}): {why}")


def _why(answer: httpx.Response) -> str:
    try:
        document = answer.json()
    except ValueError:
        return str(answer.status_code)
    return str(document.get("detail") or document.get("title") or answer.status_code)


async def follow(watch: Watch, seconds: float, on_look: OnLook) -> Look:
    """Look until every owner is done, or as long as that; return the last look."""
    until = time.monotonic() + seconds
    while True:
        look = await watch.look()
        on_look(look)
        if look.is_done or time.monotonic() > until:
            return look
        await asyncio.sleep(_LOOK_EVERY_SECONDS)


async def erased_cases(kafka_url: str) -> dict[str, datetime]:
    """Return all cases that were ever erased, each with the moment. Raises PlatformError."""
    found: dict[str, datetime] = {}
    async with Log(kafka_url) as log:
        async for records in log.read(await log.ends([TRIAGE])):
            for record in records:
                if record.headers.get("ce_type") != TYPE_PREFIX + CaseErased.type:
                    continue
                try:
                    data = parse(record.headers, record.value).data
                except ContractError:
                    continue
                found[data.case_no] = min(
                    data.recorded_at, found.get(data.case_no, data.recorded_at)
                )
    return found


@dataclass(frozen=True, slots=True)
class Fading:
    """How long Kafka may keep bytes: `superseded` those that a newer record has replaced,
    `written_once` by topic those of topics that it does not compact."""

    superseded: timedelta
    written_once: dict[str, timedelta]


async def fading(kafka_url: str, topics: Iterable[str]) -> Fading:
    """Return how long the brokers keep what is in these topics, by their settings.

    A segment is written to for so long, and from then on its old records may wait for so long to
    be compacted. Raises PlatformError.
    """
    settings = await _settings(kafka_url, sorted(set(topics)))
    superseded, written_once = 0, dict[str, timedelta]()
    for topic, of_topic in settings.items():
        segment_ms = int(of_topic.get("segment.ms") or _SEGMENT_MS)
        if "compact" in of_topic.get("cleanup.policy", "delete"):
            lag_ms = int(of_topic.get("max.compaction.lag.ms") or 0)
            superseded = max(superseded, min(segment_ms, lag_ms) + lag_ms)
        else:
            keeps_ms = int(of_topic.get("retention.ms") or 0)
            written_once[topic] = timedelta(milliseconds=segment_ms + keeps_ms)
    return Fading(timedelta(milliseconds=superseded), written_once)


async def _settings(kafka_url: str, topics: list[str]) -> dict[str, dict[str, str]]:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url.split(","), request_timeout_ms=20_000)
    wanted = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    try:
        await admin.start()
        answers = await admin.describe_configs(wanted)
    except (KafkaError, OSError, TimeoutError) as error:
        raise PlatformError(f"Kafka does not answer ({type(error).__name__})") from error
    finally:
        await admin.close()
    return {
        resource["resource_name"]: {
            entry["config_names"]: entry["config_value"] for entry in resource["config_entries"]
        }
        for answer in answers
        for resource in answer.to_object()["resources"]
    }
