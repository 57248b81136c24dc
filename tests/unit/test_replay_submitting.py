"""Posting lines to intake: each ends once, whatever answers come; a repeated call has its key."""

import asyncio
import time
from collections import Counter
from datetime import UTC, datetime

import httpx
import orjson

from deploy.replay.account import Account, Taken
from deploy.replay.crowd import Ours
from deploy.replay.lines import Line, lines_of
from deploy.replay.submitting import submit_all
from deploy.simulators.calls import Calls

_TOO_LONG = 4_000


class Intake:
    """Answers as intake does; the first call with some keys gets no answer."""

    def __init__(self, *, fails_first: bool = False, seconds: float = 0.01) -> None:
        self.fails_first = fails_first
        self.seconds = seconds
        self.calls: Counter[str] = Counter()
        self.at_once = 0
        self.most_at_once = 0
        self.began_at: list[float] = []

    async def answer(self, request: httpx.Request) -> httpx.Response:
        key = request.headers["Idempotency-Key"]
        self.calls[key] += 1
        self.began_at.append(time.monotonic())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.seconds)
        self.at_once -= 1
        if self.fails_first and self.calls[key] == 1:
            return httpx.Response(503, json={})
        text = orjson.loads(request.content)["text"]
        if len(text) > _TOO_LONG:
            errors = [{"field": "text", "why": "最多 4000 个字符"}]
            return httpx.Response(422, json={"errors": errors})
        taken = {"case_no": key[-13:], "retrieval_code": "c", "accepted_at": _now()}
        return httpx.Response(202, json=taken)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def some_lines(count: int) -> list[bytes]:
    return [orjson.dumps({"text": f"求助 {number}"}) for number in range(count)]


async def submitted(
    raw: list[bytes], intake: Intake, *, at_once: int = 8, rate: float | None = None
) -> tuple[Account, list[Taken]]:
    account, taken = Account(), list[Taken]()
    async with Calls("http://intake") as calls:
        await calls._client.aclose()
        calls._client = httpx.AsyncClient(
            base_url="http://intake", transport=httpx.MockTransport(intake.answer)
        )
        await submit_all(
            lines_of("f.jsonl", raw),
            calls,
            account,
            at_once=at_once,
            rate=rate,
            on_line=lambda: None,
            on_taken=taken.append,
        )
    return account, taken


async def test_every_line_ends_once() -> None:
    raw = [*some_lines(30), b"", b"{", orjson.dumps({"text": "长" * (_TOO_LONG + 1)})]
    account, taken = await submitted(raw, Intake())
    assert account.is_whole
    assert account.lines == 33
    assert len(taken) == account.new == 30
    assert account.refusals() == {"text：最多 4000 个字符": 1}
    assert account.reasons_unreadable() == {"空行": 1, "不是有效的 JSON": 1}


async def test_a_call_without_an_answer_is_made_again_with_its_key() -> None:
    intake = Intake(fails_first=True)
    account, _ = await submitted(some_lines(5), intake)
    assert account.is_whole
    assert account.new == 5
    assert sorted(intake.calls.values()) == [2] * 5


async def test_no_more_calls_are_under_way_than_asked_for() -> None:
    intake = Intake()
    await submitted(some_lines(40), intake, at_once=3)
    assert intake.most_at_once == 3


async def test_at_a_rate_the_moments_do_not_wait_for_answers() -> None:
    intake = Intake(seconds=0.2)
    account, _ = await submitted(some_lines(11), intake, at_once=1, rate=100.0)
    assert intake.began_at[-1] - intake.began_at[0] >= 0.09
    assert intake.most_at_once > 1
    assert account.new == 11


def a_taken(case_no: str, *, is_new: bool = True) -> Taken:
    return Taken(Line(1, "k", "t"), case_no, "c", is_new)


def test_what_comes_before_its_case_is_known_waits_and_what_is_not_ours_is_left() -> None:
    ours, done = Ours(), list[str]()
    ours.when_ours("A", "h-1", lambda: done.append("first"))
    ours.when_ours("A", "h-1", lambda: done.append("newest"))
    ours.when_ours("B", "h-2", lambda: done.append("of others"))
    assert done == []
    ours.add(a_taken("A"))
    ours.when_ours("A", "h-3", lambda: done.append("at once"))
    assert done == ["newest", "at once"]


async def test_a_citizen_looks_when_something_was_done_or_after_a_while() -> None:
    ours = Ours()
    ours.add(a_taken("A"))
    ours.add(a_taken("B", is_new=False))
    waiting = asyncio.ensure_future(ours.until_acted("A", 30))
    await asyncio.sleep(0)
    assert not waiting.done()
    ours.acted("A")
    await waiting
    await ours.until_acted("B", 30)
    await ours.until_acted("C", 0.01)
