"""The servers of `JIEYOU_KAFKA_URL` and `JIEYOU_MONGO_URL`, to which the tests must do no harm.

Tests write to the topics of the contract and to databases of the services' names, so a server that
holds such a thing, a platform's or that of tests that were killed, is refused before anything is
written. Everything else that they make has a name that nobody else uses. At the end all of it is
removed, and nothing else.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from pymongo import MongoClient

A_PLATFORMS_TOPIC = re.compile(
    r"((requests|triage|handling|policies)|(feed|replies|dead-letters)\..+)\.v1"
)
A_PLATFORMS_DATABASE = re.compile(r"jieyou_.+")
_TESTS_NAME = re.compile(r"test_.+|.+-[0-9a-f]{12}")
"""What `unique_name` makes, and the tests that name a database by themselves."""
_CANNOT = 2
_GONE_WITHIN_S = 60.0
_LOOK_EVERY_S = 0.1


@contextmanager
def given_kafka(url: str) -> Iterator[str]:
    """Yield the URL; afterwards the tests' topics are gone. Ends the run when it is in use."""
    before = asyncio.run(_topics(url))
    _refuse("Kafka of JIEYOU_KAFKA_URL", "topic", A_PLATFORMS_TOPIC, before)
    try:
        yield url
    finally:
        asyncio.run(_delete_topics(url, before))


@contextmanager
def given_mongo(url: str) -> Iterator[str]:
    """Yield the URL; afterwards the tests' databases are gone. Ends the run when it is in use."""
    with MongoClient[dict[str, object]](url) as client:
        before = set(client.list_database_names())
        _refuse("MongoDB of JIEYOU_MONGO_URL", "database", A_PLATFORMS_DATABASE, before)
        try:
            yield url
        finally:
            for name in made(A_PLATFORMS_DATABASE, before, set(client.list_database_names())):
                client.drop_database(name)


def _refuse(server: str, what: str, platforms: re.Pattern[str], there: set[str]) -> None:
    found = sorted(name for name in there if platforms.fullmatch(name))
    if found:
        pytest.exit(
            f"the {server} holds the {what} {found[0]} of a platform, which tests would write to: "
            "use another server, or delete it if killed tests have left it",
            _CANNOT,
        )


def made(platforms: re.Pattern[str], before: set[str], after: set[str]) -> list[str]:
    """Which of the names in `after` are of the tests; `platforms` are those of a platform."""
    return [
        name for name in after - before if platforms.fullmatch(name) or _TESTS_NAME.fullmatch(name)
    ]


async def _topics(url: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=url)
    try:
        await admin.start()
        return set(await admin.list_topics())
    finally:
        await admin.close()


async def _delete_topics(url: str, before: set[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=url)
    try:
        await admin.start()
        ours = made(A_PLATFORMS_TOPIC, before, set(await admin.list_topics()))
        if not ours:
            return
        await admin.delete_topics(ours)
        async with asyncio.timeout(_GONE_WITHIN_S):
            while set(await admin.list_topics()).intersection(ours):
                await asyncio.sleep(_LOOK_EVERY_S)
    finally:
        await admin.close()
