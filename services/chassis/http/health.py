"""Health as named checks: alive (else restart me) and ready (else send nobody to me)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

from services.chassis.telemetry import error_fields

Check = Callable[[], Awaitable[str | None]]
"""Returns what is wrong in a few words without personal data, or None."""

_CHECK_SECONDS = 3.0


class Health:
    """The checks of a service. Liveness fails only for what a restart mends."""

    def __init__(self) -> None:
        self._live: dict[str, Check] = {}
        self._ready: dict[str, Check] = {}
        self._notes: dict[str, Check] = {}

    def must_live(self, name: str, check: Check) -> None:
        """Add a check whose failure makes the process end, to be started anew."""
        self._live[name] = check

    def must_be_ready(self, name: str, check: Check) -> None:
        """Add a check whose failure takes the process out of service until it passes."""
        self._ready[name] = check

    def shows(self, name: str, note: Check) -> None:
        """Add what readiness shows without failing for it; None is not shown."""
        self._notes[name] = note

    async def notes(self) -> dict[str, str]:
        """What is to be known beside the checks."""
        found = await _all(self._notes)
        return {name: note for name, note in found.items() if note is not None}

    async def live(self) -> dict[str, str | None]:
        """What is wrong, by check; None where nothing is."""
        return await _all(self._live)

    async def ready(self) -> dict[str, str | None]:
        """The same of readiness, which includes being alive."""
        return await _all({**self._live, **self._ready})

    def routes(self) -> APIRouter:
        """`/health/live`, `/health/ready` and `/metrics`."""
        router = APIRouter(include_in_schema=False)

        @router.get("/health/live")
        async def live() -> Response:
            return _report(await self.live())

        @router.get("/health/ready")
        async def ready() -> Response:
            return _report(await self.ready(), await self.notes())

        @router.get("/metrics")
        async def measures() -> Response:
            return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

        return router


async def _all(checks: dict[str, Check]) -> dict[str, str | None]:
    troubles = await asyncio.gather(*(_one(check) for check in checks.values()))
    return dict(zip(checks, troubles, strict=True))


async def _one(check: Check) -> str | None:
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            return await check()
    except TimeoutError:
        return f"no answer within {_CHECK_SECONDS:.0f} s"
    except Exception as error:  # noqa: BLE001 -- a check that fails is the answer
        return f"check failed: {error_fields(error)['error']}"


def _report(troubles: dict[str, str | None], notes: dict[str, str] | None = None) -> Response:
    """JSON with each check and note; 503 if a check fails."""
    failed = any(trouble is not None for trouble in troubles.values())
    document: dict[str, Any] = {
        "status": "failed" if failed else "ok",
        "checks": {
            name: {"ok": trouble is None, **({"trouble": trouble} if trouble else {})}
            for name, trouble in troubles.items()
        },
        **({"notes": notes} if notes else {}),
    }
    return Response(
        orjson.dumps(document),
        status_code=503 if failed else 200,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
