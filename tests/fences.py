"""Databases that a test makes anew beside topics that others have written to: not lost ones."""

from services.chassis.fence import Fence
from services.chassis.store import Store


async def fenced(mongo_url: str, database: str, service: str) -> None:
    """Declare a database to be a service's own."""
    store = Store(mongo_url, database)
    try:
        await Fence(store, service).put_up()
    finally:
        store.close()
