"""The FastAPI application of a service, with everything that all services answer alike."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from services.chassis.http.boundary import Boundary
from services.chassis.http.field_errors import field_errors
from services.chassis.http.health import Health
from services.chassis.http.problems import (
    FieldError,
    Forbidden,
    Invalid,
    Malformed,
    MethodNotAllowed,
    NotFound,
    OtherProblem,
    Problem,
    TooLarge,
    Unauthenticated,
)
from services.chassis.keys import KeyFile

Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]


def make_app(
    title: str,
    lifespan: Lifespan | None = None,
    *,
    health: Health,
    keys: KeyFile | None = None,
    body_limit_bytes: int = 65_536,
    version: str = "1",
) -> FastAPI:
    """Make the application: problems for every error, health, metrics, keys for `require`.

    Interactive pages are off: FastAPI's load scripts from elsewhere, and FastStream's AsyncAPI
    page can swap the live broker for a test broker. `/openapi.json` is served.
    """
    app = FastAPI(title=title, version=version, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.keys = keys
    app.exception_handler(Problem)(_problem)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http_exception)
    app.add_middleware(Boundary, body_limit_bytes=body_limit_bytes)
    app.include_router(health.routes())
    return app


async def _problem(_: Request, error: Problem) -> Response:
    return error.response()


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    errors = error.errors()
    if errors and errors[0]["type"] == "json_invalid":
        place = errors[0]["loc"][-1]
        return Malformed(
            errors=[FieldError("body", f"不是有效的 JSON（第 {place} 个字符附近）")]
        ).response()
    return Invalid(errors=field_errors(errors)).response()


_OF_STATUS: dict[int, type[Problem]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
}


async def _http_exception(_: Request, error: HTTPException) -> Response:
    """What Starlette and FastAPI raise themselves: unknown paths and methods, unreadable bodies."""
    headers: dict[str, Any] = dict(error.headers or {})
    if error.status_code == 400:
        return Malformed(errors=[FieldError("body", "无法读取")]).response()
    kind = _OF_STATUS.get(error.status_code)
    if kind is None:
        return OtherProblem(error.status_code, headers).response()
    problem = kind()
    problem.headers.update(headers)
    return problem.response()
