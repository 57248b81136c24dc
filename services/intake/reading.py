"""Reading calls: the key, the body, and how both are described in the API's own document."""

import re
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError
from starlette.requests import Request

from contracts.ids import digest_of
from services.chassis.http import Invalid, Malformed
from services.chassis.http.field_errors import field_errors
from services.chassis.http.problems import FieldError
from services.intake.domain.bodies import Body, CheckedAgainst

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
BodyType = TypeVar("BodyType", bound=Body)


def idempotency_key(request: Request) -> str:
    """Return the call's key. Raises Malformed if it is missing or not usable."""
    key = request.headers.get("idempotency-key", "")
    if not _KEY.fullmatch(key):
        why = "缺少这个请求头" if not key else "应为 1–200 个可见的 ASCII 字符"
        raise Malformed(errors=[FieldError("Idempotency-Key", why)])
    return key


async def read_body(
    request: Request, kind: type[BodyType], against: CheckedAgainst | None = None
) -> tuple[BodyType, str]:
    """Return the checked body and the digest of what was sent, whatever the order of its fields.

    Read here and not by FastAPI: strictly, in one pass, with what it is checked against. Raises
    Malformed for what is no JSON and Invalid naming every wrong field.
    """
    raw = await request.body() or b"{}"
    try:
        canonical = orjson.dumps(orjson.loads(raw), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONDecodeError as error:
        why = f"不是有效的 JSON（第 {error.pos} 个字符附近）"
        raise Malformed(errors=[FieldError("body", why)]) from None
    try:
        body = kind.model_validate_json(canonical, context=against)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        raise Invalid(errors=field_errors(found)) from None
    return body, digest_of(canonical)


def described(
    kind: type[Body] | None, *headers: str, key: bool = True, without_key: bool = False
) -> dict[str, Any]:
    """Return what OpenAPI is to say of a call: its body, its headers, and whether a key is due."""
    says: dict[str, Any] = {
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}}
            for name in headers
        ]
    }
    if key:
        says["security"] = [{"key": []}, *([{}] if without_key else [])]
    if kind is not None:
        schema = kind.model_json_schema()
        parts = schema.pop("$defs", {})
        says["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _inlined(schema, parts)}},
        }
    return says


def _inlined(schema: Any, parts: dict[str, Any]) -> Any:
    """Put the parts of a schema where they are referred to: a reference would not be found."""
    if isinstance(schema, list):
        return [_inlined(one, parts) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(parts[schema["$ref"].rpartition("/")[2]], parts)
    return {name: _inlined(one, parts) for name, one in schema.items()}
