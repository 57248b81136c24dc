"""The outermost layer of every call: trace, body limit, log line, measure, and the last resort."""

import asyncio
import time

import structlog
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.chassis import metrics
from services.chassis.http.problems import (
    FieldError,
    Internal,
    Malformed,
    Problem,
    TimedOut,
    TooLarge,
)
from services.chassis.telemetry import accept_traceparent, error_fields

_BODY_SECONDS = 20.0
_QUIET_ROUTES = frozenset({"/health/live", "/health/ready", "/metrics"})

log = structlog.get_logger()


class Disconnected(Exception):
    """The caller went away before the body was complete."""


class Boundary:
    """ASGI middleware. It reads the whole body before the application starts, so that a body too
    large, too slow or not UTF-8 is refused in one place however it is sent, and it answers what
    nobody caught with a problem that tells nothing of the cause."""

    def __init__(self, app: ASGIApp, body_limit_bytes: int) -> None:
        self._app = app
        self._limit = body_limit_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        structlog.contextvars.clear_contextvars()
        headers = Headers(scope=scope)
        accept_traceparent(headers.get("traceparent"))
        began = time.perf_counter()
        status = 0

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._answer(scope, headers, receive, noting_status)
        except Disconnected:
            status = 499
        except Exception as error:  # noqa: BLE001 -- the last resort
            log.error("call failed", method=scope["method"], **error_fields(error))
            if status == 0:
                await Internal().response()(scope, receive, noting_status)
        finally:
            _tell(scope, status, time.perf_counter() - began)

    async def _answer(self, scope: Scope, headers: Headers, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(_BODY_SECONDS):
                body = await self._whole_body(headers, receive)
            _require_utf8(headers, body)
        except TimeoutError:
            await TimedOut(headers={"Connection": "close"}).response()(scope, receive, send)
        except Problem as problem:
            await problem.response()(scope, receive, send)
        else:
            await self._app(scope, _replay(body, receive), send)

    async def _whole_body(self, headers: Headers, receive: Receive) -> bytes:
        declared = headers.get("content-length", "")
        if declared.isdecimal() and int(declared) > self._limit:
            raise self._too_large()
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            part = message.get("body", b"")
            size += len(part)
            if size > self._limit:
                raise self._too_large()
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)

    def _too_large(self) -> TooLarge:
        return TooLarge(
            f"请求正文最多 {self._limit} 字节。",
            errors=[FieldError("body", f"最多 {self._limit} 字节")],
            headers={"Connection": "close"},
        )


def _require_utf8(headers: Headers, body: bytes) -> None:
    """JSON between systems is UTF-8 (RFC 8259 section 8.1); Python would guess UTF-16 too."""
    if body and "json" in headers.get("content-type", ""):
        try:
            body.decode()
        except UnicodeDecodeError:
            raise Malformed(errors=[FieldError("body", "不是有效的 UTF-8")]) from None


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body once, then what the connection says, which streaming answers wait for."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def _tell(scope: Scope, status: int, seconds: float) -> None:
    """One line and one measure, by the route's template: a path can carry a case number."""
    route = getattr(scope.get("route"), "path", None) or "none"
    method = scope["method"] if scope["method"].isalpha() and len(scope["method"]) < 10 else "other"
    metrics.HTTP_SECONDS.labels(method, route, str(status)).observe(seconds)
    tell = log.debug if route in _QUIET_ROUTES else log.info
    tell(
        "call answered",
        method=method,
        route=route,
        status=status,
        milliseconds=round(seconds * 1000, 1),
        **scope.get("state", {}).get("log_fields", {}),
    )
