"""Posting over HTTP: one signed webhook to one address, checked before anything is sent."""

import asyncio
import ipaddress
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import httpx

from services.notify.domain.attempts import Attempted, Failure, judged
from services.notify.domain.webhooks import ReceiverKind, receiver_key, signed_headers

_LONGEST_ANSWER_BYTES = 16_384
_LONGEST_RECEIPT = 200
_CONNECT_SECONDS = 3.0

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Returns the addresses of a host; raises OSError if it has none."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be posted to whom. `may_be_private`: addresses of private networks are allowed,
    for departments that the operator configured and channels whose profile says so."""

    message_id: str
    url: str
    body: str
    kind: ReceiverKind
    code: str
    may_be_private: bool


class Poster(Protocol):
    """Something that posts a message once and says what came of it; it never raises."""

    async def post(self, message: Message) -> Attempted:
        """Post a message once."""
        ...


class HttpPoster:
    """Posts with httpx. Redirects are not followed and proxies of the environment not used."""

    def __init__(
        self,
        secret: bytes,
        *,
        timeout_seconds: float,
        connections: int,
        resolve: Resolve | None = None,
    ) -> None:
        self._secret = secret
        self._timeout_seconds = timeout_seconds
        self._resolve = resolve or addresses_of
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(timeout_seconds, connect=_CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            follow_redirects=False,
            trust_env=False,
            headers={"user-agent": "Jieyou-Webhooks/1", "content-type": "application/json"},
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def post(self, message: Message) -> Attempted:
        """Post a message once, within the timeout."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                return await self._post(message)
        except (TimeoutError, httpx.TimeoutException):
            return Attempted(Failure.TIMEOUT)
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError, ValueError):
            return Attempted(Failure.ADDRESS_INVALID)
        except (httpx.HTTPError, OSError):
            return Attempted(Failure.NO_CONNECTION)

    async def _post(self, message: Message) -> Attempted:
        body = message.body.encode()
        key = receiver_key(self._secret, message.kind, message.code)
        headers = signed_headers(key, message.message_id, int(time.time()), body)
        url = httpx.URL(message.url)
        extensions = {}
        if not message.may_be_private:
            address = await self._public_address(url)
            if address is None:
                return Attempted(Failure.ADDRESS_FORBIDDEN)
            # Connecting to the address that was checked, not to the name: a second look-up of the
            # name may answer with another.
            headers["host"] = url.netloc.decode("ascii")
            extensions = {"sni_hostname": url.host}
            url = url.copy_with(host=address)
        request = self._client.build_request(
            "POST", url, content=body, headers=headers, extensions=extensions
        )
        answer = await self._client.send(request, stream=True)
        try:
            return await _judged(answer)
        finally:
            await answer.aclose()

    async def _public_address(self, url: httpx.URL) -> str | None:
        port = url.port or (443 if url.scheme == "https" else 80)
        addresses = await self._resolve(url.host, port)
        return addresses[0] if addresses and all(map(is_public, addresses)) else None


async def _judged(answer: httpx.Response) -> Attempted:
    content = b""
    if answer.is_success:
        async for part in answer.aiter_bytes():
            content += part
            if len(content) > _LONGEST_ANSWER_BYTES:
                break
    retry_after = answer.headers.get("retry-after")
    return judged(answer.status_code, retry_after, _receipt(content), datetime.now(UTC))


def _receipt(content: bytes) -> str | None:
    """Return the receiver's own number for what it took, if its answer is JSON and holds one."""
    try:
        receipt = json.loads(content).get("receipt")
    except (ValueError, AttributeError, RecursionError):
        return None
    return receipt[:_LONGEST_RECEIPT] if isinstance(receipt, str) and receipt else None


async def addresses_of(host: str, port: int) -> list[str]:
    """Return the addresses that a host name has now. Raises OSError if it has none."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port)
    return [str(address[0]) for *_, address in found]


def is_public(address: str) -> bool:
    """Whether an address is one of the public internet, and so nobody's inner network."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    inner = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None) or ip
    return inner.is_global and not inner.is_multicast and not inner.is_reserved
