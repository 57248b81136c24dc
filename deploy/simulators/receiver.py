"""The simulated receivers of webhooks: one small HTTP server for callbacks and hotlines.

It checks the signature after Standard Webhooks by itself, with the key that a receiver is given,
and takes every message once however often it comes.
"""

import asyncio
import base64
import contextlib
import hmac
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

_OLDEST_SECONDS = 300
_SECRET_PREFIX = "whsec_"  # noqa: S105


Take = Callable[[str, dict[str, Any]], str]
"""Takes the id and body of a new message; returns the receiver's own number for it."""


@dataclass(slots=True)
class Receiver:
    """One receiver: the key it was given, and what it does with a message."""

    key: str
    take: Take
    receipts: dict[str, str] = field(default_factory=dict)
    """What was answered, by `webhook-id`."""
    counts: Counter[str] = field(default_factory=Counter)

    def receive(self, headers: Mapping[str, str], body: bytes) -> Response:
        """Take one request. The same `webhook-id` again gets the same receipt, and no effect."""
        if not is_signed(self.key, headers, body, time.time()):
            self.counts["unsigned"] += 1
            return JSONResponse({"title": "签名不符"}, 401)
        message_id = headers["webhook-id"]
        if message_id in self.receipts:
            self.counts["repeated"] += 1
        else:
            self.receipts[message_id] = self.take(message_id, orjson.loads(body))
            self.counts["taken"] += 1
        return JSONResponse({"receipt": self.receipts[message_id]})


def is_signed(key: str, headers: Mapping[str, str], body: bytes, now: float) -> bool:
    """Whether a message is signed with the key (`whsec_…`) and not older than five minutes."""
    message_id, sent_at = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not message_id or not sent_at.isdigit() or abs(now - int(sent_at)) > _OLDEST_SECONDS:
        return False
    secret = base64.b64decode(key.removeprefix(_SECRET_PREFIX))
    content = f"{message_id}.{sent_at}.".encode() + body
    expected = b"v1," + base64.b64encode(hmac.digest(secret, content, "sha256"))
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(one.encode(), expected) for one in given)


class ReceiverServer:
    """The server. Its port is taken at once, so that its address can be told before it serves."""

    def __init__(self, port: int = 0, host: str = "127.0.0.1") -> None:
        self._listener = socket.create_server((host, port))
        self.port: int = self._listener.getsockname()[1]
        self.address = f"http://{host}:{self.port}"
        self._receivers: dict[str, Receiver] = {}

    def url(self, name: str) -> str:
        """Return the address of a receiver."""
        return f"{self.address}/{name}"

    def add(self, name: str, receiver: Receiver) -> None:
        """Let a receiver stand at its address."""
        self._receivers[name] = receiver

    async def serve(self) -> None:
        """Serve until cancelled."""
        app = Starlette(routes=[Route("/{name}", self._receive, methods=["POST"])])
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=2
        )
        server = _Server(config)
        try:
            await server.serve(sockets=[self._listener])
        except asyncio.CancelledError:
            server.should_exit = True
            raise

    def close(self) -> None:
        """Give the port back."""
        self._listener.close()

    async def _receive(self, request: Request) -> Response:
        receiver = self._receivers.get(request.path_params["name"])
        if receiver is None:
            return JSONResponse({"title": "没有这个地址"}, 404)
        return receiver.receive(request.headers, await request.body())


class _Server(uvicorn.Server):
    """uvicorn without its signal handling: Ctrl-C belongs to the command."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
