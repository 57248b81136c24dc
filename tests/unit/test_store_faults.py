"""A fault of the store itself is passing trouble; a wrong command is not."""

import pytest
from pymongo.errors import OperationFailure

from services.chassis.store import Store, StoreUnavailable


@pytest.mark.parametrize("code", [1, 91, 11600, 14031])
async def test_faults_of_the_store_itself_are_passing_trouble(code: int) -> None:
    store = Store("mongodb://127.0.0.1:9/", "test")
    with pytest.raises(StoreUnavailable, match=str(code)):
        async with store.answering():
            raise OperationFailure("internal server error", code)
    store.close()


async def test_a_command_that_is_wrong_is_not() -> None:
    store = Store("mongodb://127.0.0.1:9/", "test")
    with pytest.raises(OperationFailure):
        async with store.answering():
            raise OperationFailure("no such command", 59)
    store.close()
