"""The HTTP API of intake: requests from channels, later words from citizens."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from contracts import ids
from contracts.danger import DangerMatcher
from contracts.profile import Channel, Profile
from services.chassis.http import Caller, Forbidden, NotFound, require
from services.chassis.keys import KeyKind
from services.chassis.store import StoreUnavailable
from services.chassis.telemetry import traceparent
from services.intake import handlers
from services.intake.domain import answers, bodies, submission, wishes
from services.intake.guards import ChannelGuard, CodeGuard
from services.intake.reading import described, idempotency_key, read_body
from services.intake.settings import IntakeSettings
from services.intake.store import Kept

_require_channel = require(KeyKind.CHANNEL)
FromChannel = Annotated[Caller, Depends(_require_channel)]
FromChannelOrOperator = Annotated[Caller, Depends(require(KeyKind.CHANNEL, KeyKind.OPERATOR))]


@dataclass(frozen=True, slots=True)
class Desk:
    """What the calls stand on; made once by the composition root."""

    settings: IntakeSettings
    profile: Profile
    matcher: DangerMatcher
    ports: handlers.Ports
    codes: CodeGuard
    channels: ChannelGuard


def _channel(desk: Desk, caller: Caller) -> Channel:
    """Return the caller's channel, within its rate. Raises Forbidden and TooManyRequests."""
    channel = desk.profile.channels_by_code.get(caller.name)
    if channel is None:
        raise Forbidden("这个密钥的渠道不在当前配置中。")
    desk.channels.admit(channel.code, channel.requests_per_minute)
    return channel


async def _admitted(desk: Desk, request: Request, written: str) -> tuple[str, Channel | None]:
    """Return the case that a citizen may speak about, and the channel if one asks for them."""
    channel = None
    if "authorization" in request.headers:
        channel = _channel(desk, await _require_channel(request))
    address = request.client.host if request.client and channel is None else None
    code = request.headers.get("retrieval-code")
    return desk.codes.admit(written, code, address), channel


def _answer(document: dict[str, Any], status: int = 202) -> Response:
    return Response(
        orjson.dumps(document, option=orjson.OPT_UTC_Z),
        status_code=status,
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _tell(
    request: Request, accepted: handlers.Accepted, danger: str | None, channel: str | None
) -> None:
    """Count what was accepted, and name it in the call's log line."""
    fields = handlers.tell(accepted, danger, channel)
    request.state.log_fields = {**getattr(request.state, "log_fields", {}), **fields}


async def _accept_wish(
    desk: Desk,
    request: Request,
    case_no: str,
    channel: str | None,
    kind: type[bodies.Body],
    by: str,
) -> Response:
    key = idempotency_key(request)
    body, digest = await read_body(request, kind)
    if not isinstance(body, wishes.WishBody):
        raise TypeError(f"{kind.__name__} is the body of no wish")
    event = wishes.wish(
        case_no, body, by=by, key=key, now=desk.ports.clock.now(), traceparent=traceparent()
    )
    record = Kept(wishes.record_id(event), digest, channel, event)
    accepted = await handlers.accept(record, desk.ports)
    cause = answers.cause_of_danger(accepted.event, desk.matcher)
    _tell(request, accepted, cause, channel)
    return _answer(answers.wish_answer(accepted.event, desk.profile, desk.matcher))


def routes(desk: Desk) -> APIRouter:
    """Return the routes of requests and of what is said about them later."""
    router = APIRouter(prefix="/v1/requests")

    @router.post(
        "", status_code=202, openapi_extra=described(bodies.SubmissionBody, "Idempotency-Key")
    )
    async def submit(request: Request) -> Response:
        """求助：受理一份求助，返回编号和查询码。"""
        channel = _channel(desk, await _require_channel(request))
        key = idempotency_key(request)
        now = desk.ports.clock.now()
        against = bodies.CheckedAgainst(desk.profile, channel.allow_private_callbacks, now)
        body, digest = await read_body(request, bodies.SubmissionBody, against)
        case_no = ids.case_number(desk.settings.case_key, channel.code, key)
        event = submission.submitted(
            submission.Submission(case_no, channel.code, key, body, digest),
            profile=desk.profile,
            matcher=desk.matcher,
            code_version=desk.settings.code_secret_version,
            accepted_at=now,
            traceparent=traceparent(),
        )
        accepted = await handlers.accept(Kept(case_no, digest, channel.code, event), desk.ports)
        cause = answers.cause_of_danger(accepted.event, desk.matcher)
        _tell(request, accepted, cause, channel.code)
        return _answer(
            answers.submission_answer(
                accepted.event,
                desk.profile,
                desk.settings.code_key,
                str(desk.settings.public_url),
            )
        )

    for path, kind, summary in (
        ("supplements", bodies.SupplementBody, "补充：对已提交的求助补充情况。"),
        ("withdrawal", bodies.WithdrawalBody, "撤回：不再需要帮助。"),
        ("rating", bodies.RatingBody, "评价：满意程度，问题是否解决。"),
    ):
        router.add_api_route(
            f"/{{case_no}}/{path}",
            _wish_route(desk, kind),
            methods=["POST"],
            status_code=202,
            name=path,
            description=summary,
            openapi_extra=described(kind, "Idempotency-Key", "Retrieval-Code", without_key=True),
        )

    @router.post(
        "/{case_no}/erasure",
        status_code=202,
        openapi_extra=described(bodies.ErasureBody, "Idempotency-Key"),
    )
    async def erase(request: Request, case_no: str, caller: FromChannelOrOperator) -> Response:
        """删除：请求删除这份求助中的个人信息。"""
        if caller.kind is KeyKind.CHANNEL:
            channel = _channel(desk, caller)
            case = await _case_of_channel(desk, request, case_no, channel)
        else:
            channel, case = None, ids.parse_case_number(case_no)
        if case is None:
            raise NotFound("没有这个编号的求助。")
        return await _accept_wish(
            desk,
            request,
            case,
            channel.code if channel else None,
            bodies.ErasureBody,
            by=f"{caller.kind.value}:{caller.name}",
        )

    return router


def _wish_route(desk: Desk, kind: type[bodies.Body]) -> Callable[..., Awaitable[Response]]:
    async def say(request: Request, case_no: str) -> Response:
        case, channel = await _admitted(desk, request, case_no)
        code = channel.code if channel else None
        return await _accept_wish(desk, request, case, code, kind, by="citizen")

    return say


async def _case_of_channel(
    desk: Desk, request: Request, written: str, channel: Channel
) -> str | None:
    """Return the case if the channel posted it or its citizen's code is given; else None.

    What was posted while the store was away has no record and needs the code.
    """
    code = request.headers.get("retrieval-code")
    if code:
        return desk.codes.admit(written, code, None)
    case_no = ids.parse_case_number(written)
    if case_no is None:
        return None
    try:
        found = await desk.ports.records.find([case_no])
    except StoreUnavailable:
        raise handlers.nothing_takes_it() from None
    return case_no if found and found[0].channel == channel.code else None
