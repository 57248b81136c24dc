"""HTTP calls of a simulated client: repeated with the same key until they are answered.

A process of the platform that is killed while the demonstration runs is a normal event. So no
connection, a time-out, 429 and every 5xx mean "again, a little later, with the same key"; any other
status is the platform's answer, and the caller's business.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from services.chassis.backoff import backoff_seconds

_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.1, 2.0
_TIMEOUT_SECONDS = 15.0
_TOO_MANY = 429
_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: a status below 500 and the JSON document with it."""

    status: int
    document: dict[str, Any]

    @property
    def is_taken(self) -> bool:
        """Whether the call did what it was to do."""
        return 200 <= self.status < 300

    @property
    def why(self) -> str:
        """Why it was refused, as the problem document says it."""
        fields = [f"{one['field']}: {one['why']}" for one in self.document.get("errors", ())]
        said = self.document.get("detail") or self.document.get("title") or ""
        return "; ".join([str(said), *fields])


class Calls:
    """A client of one service. `retries` counts the calls that had to be made again."""

    def __init__(
        self,
        base_url: str,
        *,
        token: str | None = None,
        at_once: int = 16,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self.retries = 0
        self._client = httpx.AsyncClient(
            base_url=base_url,
            headers=headers,
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
            transport=transport,
            limits=httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._client.aclose()

    async def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask until there is an answer."""
        return await self._send("GET", path, None, headers or {})

    async def post(
        self, path: str, body: Any, *, key: str, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Command until there is an answer; `key` is the `Idempotency-Key` of all attempts."""
        return await self._send("POST", path, body, {"Idempotency-Key": key, **(headers or {})})

    async def put(self, path: str, body: Any) -> Answer:
        """Put until there is an answer."""
        return await self._send("PUT", path, body, {})

    async def _send(self, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Answer:
        attempt = 0
        while True:
            answer = await self._try(method, path, body, headers)
            if answer is not None:
                return answer
            attempt += 1
            self.retries += 1
            wait = backoff_seconds(
                attempt, first=_FIRST_WAIT_SECONDS, longest=_LONGEST_WAIT_SECONDS
            )
            await asyncio.sleep(wait)

    async def _try(
        self, method: str, path: str, body: Any, headers: Mapping[str, str]
    ) -> Answer | None:
        """Call once; None if whether it was done is not known, or it was not yet possible."""
        try:
            response = await self._client.request(method, path, json=body, headers=dict(headers))
            if response.status_code == _TOO_MANY or response.status_code >= _SERVER_ERROR:
                return None
            document = response.json() if response.content else {}
        except (httpx.HTTPError, ValueError):
            return None
        return Answer(response.status_code, document if isinstance(document, dict) else {})
