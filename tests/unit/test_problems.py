"""HTTP as every service speaks it: problems that name each field, health, callers."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx
import pytest
from fastapi import Depends, FastAPI, Header
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, HttpUrl, field_validator

from services.chassis.http import (
    Caller,
    Conflict,
    FieldError,
    Health,
    TooManyRequests,
    Unavailable,
    make_app,
    require,
)
from services.chassis.keys import KeyFile, KeyRecord, new_key

MINE = "我的手机是13800000123"


class Contact(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=5)
    phone: str

    @field_validator("phone")
    @classmethod
    def _dialable(cls, value: str) -> str:
        if not value.isdecimal():
            raise ValueError("不是可以拨打的号码")
        return value


class Body(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: str = Field(min_length=1, max_length=20)
    level: int = Field(3, ge=1, le=5)
    kind: Literal["policy", "transport"] = "policy"
    contact: Contact | None = None
    when: AwareDatetime | None = None
    callback: HttpUrl | None = None
    lines: list[int] = []


@pytest.fixture
def keys(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "keys.json")


@pytest.fixture
def health() -> Health:
    return Health()


@pytest.fixture
def app(keys: KeyFile, health: Health) -> FastAPI:
    app = make_app("test", health=health, keys=keys, body_limit_bytes=2_000)

    @app.post("/v1/things/{number}")
    async def create(
        number: int, body: Body, key: Annotated[str, Header(alias="Idempotency-Key")] = ""
    ) -> dict[str, Any]:
        return {"number": number, "text": body.text, "key": key}

    @app.get("/v1/conflict")
    async def conflict() -> None:
        raise Conflict(
            "已交办，不能撤回。", errors=[FieldError("state", "已交办")], extra={"seq": 4}
        )

    @app.get("/v1/busy")
    async def busy() -> None:
        raise TooManyRequests(7)

    @app.get("/v1/down")
    async def down() -> None:
        raise Unavailable(3)

    @app.get("/v1/broken")
    async def broken() -> None:
        raise RuntimeError(MINE)

    @app.get("/v1/whoami")
    async def whoami(caller: Annotated[Caller, Depends(require("desk", "supervisor"))]) -> str:
        return f"{caller.kind}:{caller.name}:{caller.key_id}"

    return app


@pytest.fixture
async def client(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        yield client


def problem(response: httpx.Response, status: int, slug: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert document["type"] == f"urn:jieyou:problem:{slug}"
    assert document["status"] == status
    assert document["title"]
    return document


def fields(document: dict[str, Any]) -> dict[str, str]:
    return {error["field"]: error["why"] for error in document["errors"]}


async def test_a_good_request_passes_with_its_body(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/things/5", json={"text": "回家要隔离吗"})
    assert response.json() == {"number": 5, "text": "回家要隔离吗", "key": ""}


async def test_every_wrong_field_is_named_in_chinese_and_nothing_is_echoed(
    client: httpx.AsyncClient,
) -> None:
    response = await client.post(
        "/v1/things/x",
        json={
            "text": "",
            "level": 9,
            "kind": MINE,
            "contact": {"name": MINE, "phone": MINE, "wechat": MINE, MINE: 1},
            "when": "2022-01-11T08:00:00",
            "callback": "ftp://x",
            "lines": [1, "two"],
        },
    )
    named = fields(problem(response, 422, "invalid"))
    assert named == {
        "number": "应为整数",
        "text": "至少 1 个字符",
        "level": "不应大于 5",
        "kind": "应为以下之一：'policy', 'transport'",
        "contact.name": "最多 5 个字符",
        "contact.phone": "不是可以拨打的号码",
        "contact.wechat": "不认识这个字段",
        "contact.…": "不认识这个字段",
        "when": "时间应带时区，例如 +08:00",
        "callback": "网址应以 'http' or 'https' 开头",
        "lines[1]": "应为整数",
    }
    assert "13800000123" not in response.text


@pytest.mark.parametrize(
    ("body", "field", "why"),
    [
        ({}, "text", "必填"),
        ({"text": None}, "text", "应为文字"),
        ({"text": 5}, "text", "应为文字"),
        ({"text": ["a"]}, "text", "应为文字"),
        ({"text": "x" * 21}, "text", "最多 20 个字符"),
        ({"text": "a", "contact": "x"}, "contact", "应为 JSON 对象"),
        ({"text": "a", "contact": {}}, "contact.name", "必填"),
        ({"text": "a", "when": "gestern"}, "when", "应为日期和时间"),
        ({"text": "a", "callback": "::"}, "callback", "应为有效的网址"),
        ({"text": "a", "lines": 5}, "lines", "应为列表"),
        ({"text": "a", "level": 1.5}, "level", "应为整数"),
        ([], "body", "应为 JSON 对象"),
        ("text", "body", "应为 JSON 对象"),
        (None, "body", "应为 JSON 对象"),
    ],
)
async def test_each_kind_of_mistake_has_its_sentence(
    client: httpx.AsyncClient, body: Any, field: str, why: str
) -> None:
    response = await client.post("/v1/things/1", content=json.dumps(body), headers=JSON)
    assert fields(problem(response, 422, "invalid"))[field].startswith(why)


JSON = {"content-type": "application/json"}


@pytest.mark.parametrize("content", [b'{"text": ', b"{'text': 1}", b"nonsense", b'{"text": "a"} x'])
async def test_what_is_no_json_is_said_to_be_none(
    client: httpx.AsyncClient, content: bytes
) -> None:
    response = await client.post("/v1/things/1", content=content, headers=JSON)
    assert "JSON" in fields(problem(response, 400, "malformed"))["body"]


@pytest.mark.parametrize(
    "content",
    [b'{"text": "\xff\xfe"}', '{"text": "中文"}'.encode("gbk"), '{"text": "a"}'.encode("utf-16")],
)
async def test_what_is_no_utf8_is_said_to_be_none(
    client: httpx.AsyncClient, content: bytes
) -> None:
    response = await client.post("/v1/things/1", content=content, headers=JSON)
    assert fields(problem(response, 400, "malformed")) == {"body": "不是有效的 UTF-8"}


async def test_half_a_surrogate_is_no_text(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/things/1", content=rb'{"text": "\ud83d"}', headers=JSON)
    assert fields(problem(response, 422, "invalid")) == {"text": "不是有效的 UTF-8 文字"}


async def test_a_body_nested_without_end_is_refused(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/things/1", content=b"[" * 1_999, headers=JSON)
    assert response.status_code in {400, 422}
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_body_too_large_is_refused_whether_declared_or_streamed(
    client: httpx.AsyncClient,
) -> None:
    async def stream() -> AsyncIterator[bytes]:
        for _ in range(30):
            yield b"x" * 100

    declared = await client.post("/v1/things/1", content=b"x" * 2_001, headers=JSON)
    streamed = await client.post("/v1/things/1", content=stream(), headers=JSON)
    for response in (declared, streamed):
        assert fields(problem(response, 413, "too-large")) == {"body": "最多 2000 字节"}


async def test_unknown_paths_and_methods_are_problems(client: httpx.AsyncClient) -> None:
    problem(await client.get("/nowhere"), 404, "not-found")
    response = await client.get("/v1/things/1")
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "POST"


async def test_own_problems_carry_fields_headers_and_more(client: httpx.AsyncClient) -> None:
    document = problem(await client.get("/v1/conflict"), 409, "conflict")
    assert document["detail"] == "已交办，不能撤回。"
    assert document["seq"] == 4
    assert fields(document) == {"state": "已交办"}
    busy = await client.get("/v1/busy")
    problem(busy, 429, "too-many-requests")
    assert busy.headers["retry-after"] == "7"
    down = await client.get("/v1/down")
    problem(down, 503, "unavailable")
    assert down.headers["retry-after"] == "3"


async def test_what_nobody_caught_tells_nothing_and_is_logged_without_its_text(
    client: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    response = await client.get("/v1/broken")
    document = problem(response, 500, "internal")
    assert set(document) == {"type", "title", "status"}
    logged = capsys.readouterr().out
    assert "RuntimeError" in logged
    assert "13800000123" not in logged


async def test_health_names_each_check_and_ready_includes_alive(
    client: httpx.AsyncClient, health: Health
) -> None:
    assert (await client.get("/health/live")).json() == {"status": "ok", "checks": {}}
    trouble: str | None = None

    async def loop() -> str | None:
        return None

    async def store() -> str | None:
        return trouble

    async def broken() -> str | None:
        raise RuntimeError(MINE)

    health.must_live("loop", loop)
    health.must_be_ready("store", store)
    assert (await client.get("/health/ready")).status_code == 200
    trouble = "does not answer"
    response = await client.get("/health/ready")
    assert response.status_code == 503
    assert response.json() == {
        "status": "failed",
        "checks": {"loop": {"ok": True}, "store": {"ok": False, "trouble": "does not answer"}},
    }
    assert (await client.get("/health/live")).status_code == 200
    health.must_live("broken", broken)
    live = await client.get("/health/live")
    assert live.status_code == 503
    assert live.json()["checks"]["broken"]["trouble"] == "check failed: RuntimeError"


async def test_a_check_that_hangs_fails(
    client: httpx.AsyncClient, health: Health, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.chassis.http.health._CHECK_SECONDS", 0.05)

    async def hangs() -> str | None:
        await asyncio.Event().wait()
        return None

    health.must_be_ready("store", hangs)
    response = await client.get("/health/ready")
    assert response.status_code == 503
    assert "no answer" in response.json()["checks"]["store"]["trouble"]


async def test_metrics_count_by_route_and_never_by_path(client: httpx.AsyncClient) -> None:
    await client.post("/v1/things/987654321", json={"text": "a"})
    text = (await client.get("/metrics")).text
    assert 'route="/v1/things/{number}"' in text
    assert "987654321" not in text


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def test_a_key_of_the_right_kind_opens_and_names_its_caller(
    client: httpx.AsyncClient, keys: KeyFile
) -> None:
    token, record = new_key("desk", "d07")
    keys.save([record])
    response = await client.get("/v1/whoami", headers=bearer(token))
    assert response.json() == f"desk:d07:{record.id}"


async def test_no_key_a_wrong_one_and_a_revoked_one_are_401_and_another_kind_403(
    client: httpx.AsyncClient, keys: KeyFile
) -> None:
    token, live = new_key("channel", "app")
    revoked_token, revoked = new_key("desk", "d08")
    revoked = KeyRecord(**{**revoked.model_dump(), "revoked_at": datetime.now().astimezone()})
    keys.save([live, revoked])
    for headers in ({}, bearer(""), {"authorization": f"Basic {token}"}):
        response = await client.get("/v1/whoami", headers=headers)
        problem(response, 401, "unauthenticated")
        assert response.headers["www-authenticate"] == 'Bearer realm="jieyou"'
    for wrong in ("jy_desk_x", revoked_token, token[:-1]):
        response = await client.get("/v1/whoami", headers=bearer(wrong))
        problem(response, 401, "unauthenticated")
        assert "invalid_token" in response.headers["www-authenticate"]
    problem(await client.get("/v1/whoami", headers=bearer(token)), 403, "forbidden")


async def test_no_token_is_logged(
    client: httpx.AsyncClient, keys: KeyFile, capsys: pytest.CaptureFixture[str]
) -> None:
    token, record = new_key("channel", "app")
    keys.save([record])
    await client.get("/v1/whoami", headers=bearer(token))
    await client.get("/v1/whoami", headers=bearer(token[:-1]))
    logged = capsys.readouterr().out
    assert record.id in logged
    assert token.rsplit("_", 1)[1][:20] not in logged
