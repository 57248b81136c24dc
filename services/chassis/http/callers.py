"""Who calls: the bearer token of the call, against the key file."""

from collections.abc import Awaitable, Callable

import structlog
from starlette.requests import Request

from services.chassis.http.problems import Forbidden, Unauthenticated
from services.chassis.keys import Caller, KeyFile, KeyKind

_HOW = "请在 Authorization 请求头中提供密钥：Bearer jy_…"

log = structlog.get_logger()


def require(*kinds: KeyKind | str) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency that yields the caller if the key is of one of these kinds.

    401 for no key or one that is unknown or revoked, 403 for a key of another kind; both leave a
    log line without the token.
    """
    allowed = frozenset(KeyKind(kind) for kind in kinds)

    async def caller(request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated(_HOW)
        keys: KeyFile = request.app.state.keys
        record = keys.find(token.strip())
        if record is None:
            log.warning("key refused", reason="unknown or revoked")
            raise Unauthenticated(
                "密钥不存在或已停用。", challenge='realm="jieyou", error="invalid_token"'
            )
        request.state.log_fields = {"key_id": record.id, "caller_kind": record.kind.value}
        if record.kind not in allowed:
            log.warning("key refused", reason="kind", key_id=record.id)
            raise Forbidden
        return Caller(record.kind, record.name, record.id)

    return caller
