"""Errors as callers see them: RFC 9457 problems, in words that a person can act on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
URN = "urn:jieyou:problem:"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One field that is wrong, and why, in Chinese. Never what was entered there."""

    field: str
    why: str


class Problem(Exception):
    """A refusal. Subclasses say what kind; `detail` what to do in this case.

    `extra` are members of the problem document beside the standard ones. Nothing of it may quote
    what the caller sent.
    """

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "服务内部出错"

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: dict[str, str] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(self.slug)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = headers or {}
        self.extra = extra or {}

    def document(self) -> dict[str, Any]:
        """The problem as RFC 9457 has it."""
        members: dict[str, Any] = {
            "type": URN + self.slug,
            "title": self.title,
            "status": self.status,
        }
        if self.detail:
            members["detail"] = self.detail
        if self.errors:
            members["errors"] = [{"field": error.field, "why": error.why} for error in self.errors]
        return {**self.extra, **members}

    def response(self) -> Response:
        """The problem as an HTTP response."""
        return Response(
            orjson.dumps(self.document()),
            status_code=self.status,
            headers=self.headers,
            media_type=MEDIA_TYPE,
        )


class Malformed(Problem):
    status, slug, title = 400, "malformed", "请求无法读取"


class Unauthenticated(Problem):
    status, slug, title = 401, "unauthenticated", "需要有效的密钥"

    def __init__(self, detail: str | None = None, *, challenge: str = 'realm="jieyou"') -> None:
        super().__init__(detail, headers={"WWW-Authenticate": f"Bearer {challenge}"})


class Forbidden(Problem):
    status, slug, title = 403, "forbidden", "此密钥无权进行这项操作"


class NotFound(Problem):
    status, slug, title = 404, "not-found", "没有找到"


class MethodNotAllowed(Problem):
    status, slug, title = 405, "method-not-allowed", "此地址不支持这种请求方法"


class TimedOut(Problem):
    status, slug, title = 408, "timed-out", "请求正文迟迟没有传完"


class Conflict(Problem):
    status, slug, title = 409, "conflict", "与当前状态不符"


class Stale(Problem):
    status, slug, title = 412, "stale", "内容已被他人更改，请刷新后再试"


class TooLarge(Problem):
    status, slug, title = 413, "too-large", "请求正文过大"


class Invalid(Problem):
    status, slug, title = 422, "invalid", "填写的内容有误"


class TooManyRequests(Problem):
    status, slug, title = 429, "too-many-requests", "请求过于频繁，请稍后再试"

    def __init__(self, retry_after_seconds: int, detail: str | None = None) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


class Internal(Problem):
    """Something unforeseen; its cause stands in the log and nowhere else."""


class Unavailable(Problem):
    status, slug, title = 503, "unavailable", "服务暂时不可用，请稍后再试"

    def __init__(self, retry_after_seconds: int, detail: str | None = None) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


class OtherProblem(Problem):
    """A status that the framework raised and no class stands for."""

    def __init__(self, status: int, headers: dict[str, str] | None = None) -> None:
        super().__init__(headers=headers)
        self.other_status = status

    def document(self) -> dict[str, Any]:
        return {"type": "about:blank", "title": "请求未被接受", "status": self.other_status}

    def response(self) -> Response:
        response = super().response()
        response.status_code = self.other_status
        return response
