"""The open-loop load: requests at a fixed rate, whether or not earlier ones were answered.

A client that gets no answer, or one that says "later", asks again with the same key and the same
body. What was answered stands in journals that the check reads.
"""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from deploy.simulators.room import Journal
from services.chassis.backoff import backoff_seconds
from tests.chaos import journal
from tests.chaos.texts import body

_TIMEOUT_S = 15.0
_CLIENTS, _AT_ONCE = 16, 16
"""A connection pool of httpx looks at all its connections for each request: many small ones."""
_CALLBACK_SHARE = 0.25
_REPEAT_SHARE = 0.02
"""Of the answers, how many the client takes for lost and asks for again."""
_SUPPLEMENT_SHARE = 0.02
_WITHDRAW_SHARE = 0.01


@dataclass
class Load:
    """All clients of the channel. `codes` holds the retrieval code of each accepted case."""

    url: str
    token: str
    rate: float
    seed: int
    callback_url: str
    journals: journal.Journals
    codes: dict[str, str] = field(default_factory=dict)
    accepted_at: list[float] = field(default_factory=list)
    asked: int = 0
    _open: set[asyncio.Task[None]] = field(default_factory=set)
    _clients: list[httpx.AsyncClient] = field(init=False)

    def __post_init__(self) -> None:
        limits = httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)
        self._clients = [
            httpx.AsyncClient(
                base_url=self.url,
                headers={"Authorization": f"Bearer {self.token}"},
                limits=limits,
                timeout=_TIMEOUT_S,
                trust_env=False,
            )
            for _ in range(_CLIENTS)
        ]

    async def close(self) -> None:
        """Close all connections; citizens may speak until then."""
        for client in self._clients:
            await client.aclose()

    async def run(self, over: asyncio.Event) -> None:
        """Ask until told that it is over, then return when every request has its answer."""
        began = time.monotonic()
        while not over.is_set():
            await asyncio.sleep(max(0.0, began + self.asked / self.rate - time.monotonic()))
            while self.asked <= (time.monotonic() - began) * self.rate:
                self._begin(self.asked)
                self.asked += 1
        while self._open:
            await asyncio.wait(self._open)

    def _begin(self, number: int) -> None:
        task = asyncio.create_task(self._live(number))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _live(self, number: int) -> None:
        chance = random.Random(f"{self.seed}/{number}")
        key = f"chaos-{self.seed}-{number}"
        asked = body(number, chance)
        if chance.random() < _CALLBACK_SHARE:
            asked["callback_url"] = self.callback_url
        self.journals[journal.ASKED].write(key=key)
        answer = await self.say("/v1/requests", asked, key)
        if answer is None:
            return
        self._accept(key, answer)
        if chance.random() < _REPEAT_SHARE:
            again = await self.say("/v1/requests", asked, key)
            if again is not None:
                self._accept(key, again)
        await self._say_more(number, answer["case_no"], chance)

    def _accept(self, key: str, answer: Mapping[str, Any]) -> None:
        self.journals[journal.ACCEPTED].write(key=key, case_no=answer["case_no"])
        self.codes[answer["case_no"]] = answer["retrieval_code"]
        self.accepted_at.append(time.time())

    async def _say_more(self, number: int, case_no: str, chance: random.Random) -> None:
        drawn = chance.random()
        if drawn < _WITHDRAW_SHARE:
            await self.wish(case_no, "withdrawal", {"reason": "已经自己解决了"}, f"w-{number}")
        elif drawn < _WITHDRAW_SHARE + _SUPPLEMENT_SHARE:
            await self.wish(case_no, "supplements", {"text": "补充：在三单元"}, f"s-{number}")

    async def wish(self, case_no: str, what: str, said: Mapping[str, Any], key: str) -> None:
        """Say something about a case, with its code."""
        path, code = f"/v1/requests/{case_no}/{what}", self.codes[case_no]
        await self.say(path, said, f"{key}-{self.seed}", {"Retrieval-Code": code})

    async def say(
        self, path: str, said: Mapping[str, Any], key: str, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any] | None:
        """Call until it is answered; None when it was refused for good."""
        attempt = 0
        while True:
            attempt += 1
            answer = await self._try(path, said, key, attempt, headers or {})
            if answer is not None:
                return answer.json() if answer.status_code < 300 else None
            await asyncio.sleep(backoff_seconds(attempt, first=0.1, longest=2.0))

    async def _try(
        self, path: str, said: Mapping[str, Any], key: str, attempt: int, headers: Mapping[str, str]
    ) -> httpx.Response | None:
        began, journal_ = time.time(), self.journals[journal.ANSWERS]
        client = self._clients[hash(key) % _CLIENTS]
        what = path.rpartition("/")[2]
        try:
            response = await client.post(
                path, json=said, headers={"Idempotency-Key": key, **headers}
            )
        except httpx.HTTPError as error:
            _note(journal_, began, what, key, attempt, type(error).__name__)
            return None
        _note(journal_, began, what, key, attempt, response.status_code)
        is_later = response.status_code == 429 or response.status_code >= 500
        return None if is_later else response


def _note(
    answers: Journal, began: float, what: str, key: str, attempt: int, status: int | str
) -> None:
    answers.write(
        service="intake",
        what=what,
        key=key,
        attempt=attempt,
        status=status,
        began=began,
        took_s=round(time.time() - began, 4),
    )
