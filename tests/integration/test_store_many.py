"""Many documents changed at once while somebody else's transaction holds one of them."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from services.chassis.store import Session, Store, StoreUnavailable, change_all


@pytest.fixture
async def store(mongo_url: str, unique_name: Callable[[str], str]) -> AsyncIterator[Store]:
    opened = Store(mongo_url, unique_name("many").replace("-", "_"))
    yield opened
    await opened.drop()
    opened.close()


async def test_two_that_want_the_same_documents_do_not_wait_for_each_other_for_ever(
    store: Store,
) -> None:
    rows = store.collection("rows")
    await rows.insert_many([{"_id": number, "count": 0} for number in range(4)])
    holds, may_go_on = asyncio.Event(), asyncio.Event()

    async def change_two(session: Session) -> None:
        await rows.update_one({"_id": 1}, {"$inc": {"count": 1}}, session=session)
        holds.set()
        await may_go_on.wait()
        await rows.update_one({"_id": 2}, {"$inc": {"count": 1}}, session=session)

    async def change_many() -> None:
        while True:
            try:
                return await change_all(store, rows, {"_id": {"$lte": 2}}, {"$set": {"seen": True}})
            except StoreUnavailable:
                await asyncio.sleep(0.01)

    holding = asyncio.create_task(store.in_transaction(change_two))
    await holds.wait()
    changing = asyncio.create_task(change_many())
    await asyncio.sleep(0.2)  # it has come up against the one that holds
    may_go_on.set()
    async with asyncio.timeout(8):
        await asyncio.gather(holding, changing)
    found = {row["_id"]: row async for row in rows.find({})}
    assert [found[number]["count"] for number in range(4)] == [0, 1, 1, 0]
    assert [found[number].get("seen", False) for number in range(4)] == [True, True, True, False]
