"""Servers for the time of a test, of the kind that `JIEYOU_TEST_BROKER` names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from enum import Enum
from pathlib import Path
from unittest import mock

from tests.servers.local import local_kafka, local_store

VARIABLE = "JIEYOU_TEST_BROKER"


class Kind(Enum):
    """How servers are started."""

    LOCAL = "local"
    CONTAINERS = "containers"


def kind() -> Kind:
    """The kind that is asked for. Raises ValueError when there is none of that name."""
    return Kind(os.environ.get(VARIABLE) or Kind.LOCAL.value)


@contextmanager
def own_kafka(folder: Path) -> Iterator[str]:
    """A Kafka with nothing on it: its host:port; what it must keep stands in `folder`."""
    if kind() is Kind.CONTAINERS:
        from tests.servers.containers import kafka_container

        with kafka_container(folder) as url:
            yield url
    else:
        with local_kafka(folder) as url:
            yield url


@contextmanager
def own_store(folder: Path) -> Iterator[str]:
    """A store with nothing in it: its URL; what it must keep stands in `folder`."""
    if kind() is Kind.CONTAINERS:
        from tests.servers.containers import mongo_container

        with mongo_container() as url:
            yield url
    else:
        with local_store(folder) as url:
            yield url


@contextmanager
def for_a_platform(folder: Path) -> Iterator[None]:
    """Let a platform of `deploy.local` stand on containers, if such are asked for.

    Locally nothing is done: the platform starts a Kafka and a store of its own.
    """
    with ExitStack() as stack:
        if kind() is Kind.CONTAINERS:
            environment = {
                "JIEYOU_KAFKA_URL": stack.enter_context(own_kafka(folder / "kafka")),
                "JIEYOU_MONGO_URL": stack.enter_context(own_store(folder / "store")),
            }
            stack.enter_context(mock.patch.dict(os.environ, environment))
        yield
