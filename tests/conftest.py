"""Fixtures that several kinds of test share: a real Kafka, a real store, started when needed.

`tests.servers` has the three ways to have them.
"""

from __future__ import annotations

import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from tests.servers import images
from tests.servers.given import given_kafka, given_mongo
from tests.servers.missing import missing
from tests.servers.own import VARIABLE, Kind, kind, own_kafka, own_store

# Taken out of the environment: a test that starts a platform of its own must not find them there.
_GIVEN_KAFKA = os.environ.pop("JIEYOU_KAFKA_URL", "")
_GIVEN_MONGO = os.environ.pop("JIEYOU_MONGO_URL", "")
_WRONG_USE = 2
_LOCAL_ONLY = "local_platform"


def pytest_configure() -> None:
    """End at once when what is asked for cannot be had."""
    try:
        asked = kind()
    except ValueError:
        known = " or ".join(one.value for one in Kind)
        pytest.exit(f"{VARIABLE} is {known}, not {os.environ[VARIABLE]}", _WRONG_USE)
    if asked is Kind.CONTAINERS and (line := missing()) is not None:
        pytest.exit(line, _WRONG_USE)


def pytest_report_header() -> str:
    """Say on what the tests run."""
    by_containers = kind() is Kind.CONTAINERS
    kafka = f"container of {images.kafka_image()}" if by_containers else "local"
    store = f"container of {images.mongo_image()}" if by_containers else "local"
    shared = ("given" if _GIVEN_KAFKA else kafka, "given" if _GIVEN_MONGO else store)
    return f"servers: Kafka {shared[0]}, store {shared[1]}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which tests ran on the local platform though other servers were asked for."""
    if kind() is Kind.LOCAL and not (_GIVEN_KAFKA or _GIVEN_MONGO):
        return
    ran = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        if report.when == "call" and _LOCAL_ONLY in report.keywords
    ]
    files = Counter(report.location[0] for report in ran)
    if files:
        terminalreporter.section("on the local platform all the same: they are about its processes")
        for name, count in sorted(files.items()):
            terminalreporter.line(f"{name}: {count}")


@pytest.fixture(scope="session")
def kafka_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """host:port of a real Kafka: JIEYOU_KAFKA_URL, else one broker started for this test run."""
    folder = tmp_path_factory.mktemp("kafka")
    with given_kafka(_GIVEN_KAFKA) if _GIVEN_KAFKA else own_kafka(folder) as url:
        yield url


@pytest.fixture(scope="session")
def mongo_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real store: JIEYOU_MONGO_URL, else one that is started for this test run."""
    folder = tmp_path_factory.mktemp("store")
    with given_mongo(_GIVEN_MONGO) if _GIVEN_MONGO else own_store(folder) as url:
        yield url


@pytest.fixture
def unique_name() -> Callable[[str], str]:
    """Makes names for topics, groups and databases that no other test uses."""

    def make(prefix: str) -> str:
        return f"{prefix}-{uuid.uuid4().hex[:12]}"

    return make
