"""What a killed process leaves open in the store must not hold up the others."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from deploy.local.store import end_open_transactions
from services.chassis.store import Session, Store
from tests.servers.own import own_store


@pytest.fixture
def own_url(tmp_path: Path) -> Iterator[str]:
    """A store of this test's own: the transactions of all that use it are ended."""
    with own_store(tmp_path) as url:
        yield url


@pytest.fixture
async def store(own_url: str) -> AsyncIterator[Store]:
    opened = Store(own_url, "test")
    yield opened
    await opened.drop()
    opened.close()


async def test_ending_open_transactions_frees_what_they_hold_and_the_living_begin_again(
    store: Store, own_url: str
) -> None:
    port = int(own_url.split("://")[1].split("/")[0].rpartition(":")[2])
    rows = store.collection("rows")
    await rows.insert_one({"_id": 1, "count": 0})
    holds, may_go_on, attempts = asyncio.Event(), asyncio.Event(), 0

    async def add_one(session: Session) -> None:
        nonlocal attempts
        attempts += 1
        await rows.update_one({"_id": 1}, {"$inc": {"count": 1}}, session=session)
        holds.set()
        await may_go_on.wait()

    holding = asyncio.create_task(store.in_transaction(add_one))
    await holds.wait()
    assert await asyncio.to_thread(end_open_transactions, port)
    began = time.monotonic()
    await rows.update_one({"_id": 1}, {"$inc": {"count": 10}})
    assert time.monotonic() - began < 2
    may_go_on.set()
    await holding
    assert attempts == 2
    assert await rows.find_one({"_id": 1}) == {"_id": 1, "count": 11}


def test_a_store_that_is_away_is_no_error() -> None:
    assert not end_open_transactions(1)
