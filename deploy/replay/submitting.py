"""Posting the lines of a file to intake: as fast as it takes them, or at a rate, whatever it says.

A call that gets no answer is made again with the same key (`deploy.simulators.calls`).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from deploy.replay.account import Account, Refused, Taken
from deploy.replay.lines import Line, Unreadable
from deploy.simulators.calls import Answer, Calls

_CLOCKS_DIFFER = timedelta(seconds=2)
"""How far intake's clock may be from ours."""

OnTaken = Callable[[Taken], None]


async def submit_all(
    lines: Iterable[Line | Unreadable],
    intake: Calls,
    account: Account,
    *,
    at_once: int,
    rate: float | None,
    on_line: Callable[[], None],
    on_taken: OnTaken,
) -> None:
    """Post every readable line and enter in the account what became of each.

    With `rate` (a second) the moments of posting do not wait for answers (open loop), and
    `at_once` does not bound them.
    """
    began = datetime.now(UTC) - _CLOCKS_DIFFER
    slots = asyncio.Semaphore(at_once)

    async def post(line: Line) -> None:
        answer = await intake.post("/v1/requests", body_of(line), key=line.key)
        entered = outcome_of(line, answer, began)
        if isinstance(entered, Taken):
            account.take(entered)
            on_taken(entered)
        else:
            account.refused.append(entered)
        on_line()

    async with asyncio.TaskGroup() as tasks:
        async for line in _paced(lines, rate):
            account.lines += 1
            if isinstance(line, Unreadable):
                account.unreadable.append(line)
                on_line()
                continue
            if rate is not None:
                tasks.create_task(post(line))
                continue
            await slots.acquire()
            tasks.create_task(post(line)).add_done_callback(lambda _: slots.release())


async def _paced(
    lines: Iterable[Line | Unreadable], rate: float | None
) -> AsyncIterator[Line | Unreadable]:
    began = time.monotonic()
    for number, line in enumerate(lines):
        if rate is not None:
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
        yield line


def body_of(line: Line) -> dict[str, Any]:
    """Return what is posted: the text alone. Labels stay here, they are what triage is to find."""
    return {"text": line.text, "external_id": line.key[:24]}


def outcome_of(line: Line, answer: Answer, began: datetime) -> Taken | Refused:
    """Return what an answer of intake means for a line; one accepted before `began` is not new."""
    document = answer.document
    if answer.is_taken:
        accepted_at = datetime.fromisoformat(document["accepted_at"])
        return Taken(line, document["case_no"], document["retrieval_code"], accepted_at >= began)
    errors = tuple(f"{one['field']}：{one['why']}" for one in document.get("errors", ()))
    title = str(document.get("title") or f"HTTP {answer.status}")
    return Refused(line, errors or (title,))
