"""HTTP of reporting: case lookup, figures, queues, and what the audit reads."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypeVar

import orjson
from fastapi import APIRouter, Depends, Header, Query
from pydantic import AwareDatetime
from starlette.requests import Request
from starlette.responses import Response

from contracts.ids import ALPHABET, CASE_NUMBER_LENGTH
from contracts.lifecycle import state_of
from contracts.profile import Profile
from services.chassis.blocked import BlockedCases
from services.chassis.clock import Clock
from services.chassis.http import FieldError, Invalid, TooManyRequests, Unavailable, require
from services.chassis.keys import KeyKind
from services.chassis.store import Fields, StoreUnavailable
from services.reporting import recount
from services.reporting.domain.audit import audited, page_end
from services.reporting.domain.buckets import Figures
from services.reporting.domain.figures import Question, figures_document
from services.reporting.domain.grouping import GroupedBy
from services.reporting.domain.known_case import KnownCase
from services.reporting.domain.limits import Tries
from services.reporting.domain.progress import Ends, Progress, as_of
from services.reporting.domain.public_view import public_view, received
from services.reporting.domain.queues import queues_document
from services.reporting.live import LiveReads
from services.reporting.lookup import CodeGuard
from services.reporting.store import Projection

MOST_WAITING = 5_000
_RETRY_AFTER_SECONDS = 2
_RECOUNT_TRIES = 3
_PUBLIC_FIGURES_PER_MINUTE = 60

_reader = require(KeyKind.READER, KeyKind.DESK, KeyKind.SUPERVISOR, KeyKind.OPERATOR)
_duty = require(KeyKind.DESK, KeyKind.SUPERVISOR, KeyKind.OPERATOR)
_operator = require(KeyKind.OPERATOR)
TierCode = Literal["blue", "orange", "red"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Views:
    """What the calls stand on; made once by the composition root.

    `ends` asks the log where it ends, None while it does not answer.
    """

    profile: Profile
    reads: LiveReads
    clock: Clock
    blocked: BlockedCases
    codes: CodeGuard
    ends: Callable[[], Awaitable[Ends | None]]


class Filters:
    """The query parameters of figures; `from` and `to` are widened to whole hours of UTC."""

    def __init__(
        self,
        since: Annotated[AwareDatetime | None, Query(alias="from")] = None,
        until: Annotated[AwareDatetime | None, Query(alias="to")] = None,
        by: GroupedBy | None = None,
        region: str | None = None,
        category: str | None = None,
        tier: TierCode | None = None,
        department: str | None = None,
        channel: str | None = None,
    ) -> None:
        self.question = Question(since, until, by, region, category, tier, department, channel)


def case_routes(views: Views) -> APIRouter:
    """Return the lookup of a case by whoever has its code."""
    router = APIRouter(prefix="/v1")

    @router.get("/cases/{case_no}")
    async def look_up(
        request: Request, case_no: str, retrieval_code: Annotated[str | None, Header()] = None
    ) -> Response:
        """查询：凭编号和查询码查看办理经过。"""
        address = _address(request)
        number = views.codes.number(case_no, retrieval_code, address)

        async def read(projection: Projection) -> tuple[str, KnownCase | None]:
            code_n = await projection.code_n(number) if number else None
            found = views.codes.admit(number, code_n or 0, retrieval_code or "", address)
            return found, await projection.case(found) if code_n is not None else None

        found, known = await _asked(views, read)
        is_blocked = bool(views.blocked.of(found))
        if known is None or not known.events or not known.is_folded:
            return _answer(received(found, is_blocked=is_blocked))
        state = state_of(found, known.events.values())
        return _answer(public_view(state, views.profile, is_blocked=is_blocked))

    return router


def figure_routes(views: Views) -> APIRouter:
    """Return the figures, for those with a key and for all, and the queues."""
    router = APIRouter(prefix="/v1")
    asked = Tries(_PUBLIC_FIGURES_PER_MINUTE, 60.0)

    @router.get("/figures", dependencies=[Depends(_reader)])
    async def figures(filters: Annotated[Filters, Depends()]) -> Response:
        """数据：件数与各项比率，可按类别、地区等分组。"""
        return _answer(await _figures(views, filters.question, public_only=False))

    @router.get("/public/figures")
    async def public_figures(
        request: Request,
        since: Annotated[AwareDatetime | None, Query(alias="from")] = None,
        until: Annotated[AwareDatetime | None, Query(alias="to")] = None,
        by: Literal["category", "region", "day"] | None = None,
    ) -> Response:
        """公开数据：总体情况，无需密钥。"""
        address, now = _address(request), time.monotonic()
        if wait := asked.wait_seconds(address, now):
            raise TooManyRequests(wait)
        asked.note(address, now)
        return _answer(await _figures(views, Question(since, until, by), public_only=True))

    @router.get("/queues", dependencies=[Depends(_duty)])
    async def queues() -> Response:
        """待办：各队列中等待的件数和时间。"""
        blocked = views.blocked.since()

        async def read(projection: Projection) -> tuple[list[Fields], list[Fields]]:
            waiting = await projection.waiting(MOST_WAITING)
            beside = blocked.keys() - {row["_id"] for row in waiting}
            return waiting, await projection.queued(beside)

        waiting, standing_still = await _asked(views, read)
        now = views.clock.now()
        found = queues_document([*waiting, *standing_still], blocked, now)
        document = {"queues": found, "at": now}
        return _answer({**document, "is_cut_off": len(waiting) >= MOST_WAITING})

    return router


def operator_routes(views: Views) -> APIRouter:
    """Return what the audit reads."""
    router = APIRouter(prefix="/v1", dependencies=[Depends(_operator)])

    @router.get("/audit/cases")
    async def audit(
        after: Annotated[
            str, Query(max_length=CASE_NUMBER_LENGTH, pattern=f"^[{ALPHABET}]*$")
        ] = "",
    ) -> Response:
        """审计：逐件列出状态、缺失、重复和待办；`next` 为下一页的 `after`。"""

        async def read(projection: Projection) -> tuple[str | None, list[Fields]]:
            end = page_end(after, await projection.size())
            return end, await projection.audited(after, end)

        end, rows = await _asked(views, read)
        known = {row["_id"] for row in rows}
        unseen = sorted(
            case_no
            for case_no in views.blocked.since()
            if case_no not in known and after <= case_no and (end is None or case_no < end)
        )
        rows += [{"_id": case_no} for case_no in unseen]
        cases = [audited(row, views.blocked.of(row["_id"])) for row in rows]
        return _answer({"cases": cases, "next": end})

    @router.get("/recount")
    async def recounted() -> Response:
        """重算：由全部办件重新计数，与现有数据逐项比较。"""
        return _answer(await _asked(views, _recount))

    return router


async def _asked(views: Views, read: Callable[[Projection], Awaitable[T]]) -> T:
    try:
        return await views.reads.ask(read)
    except StoreUnavailable:
        raise Unavailable(_RETRY_AFTER_SECONDS) from None


async def _figures(views: Views, question: Question, *, public_only: bool) -> dict[str, Any]:
    _check(views.profile, question)
    since, until = question.hours()

    async def read(projection: Projection) -> tuple[dict[int, Progress], Ends | None, Figures]:
        progress = await projection.progress()
        return progress, await views.ends(), await projection.figures(since, until)

    progress, ends, cells = await _asked(views, read)
    current = as_of(progress, ends, views.clock.now())
    if public_only:
        del current["partitions"]
    filters = asdict(question)
    return {
        "from": _hour(since),
        "to": _hour(until),
        "by": question.by,
        "filters": {
            name: filters[name]
            for name in ("region", "category", "tier", "department", "channel")
            if filters[name] is not None
        },
        "as_of": current,
        **figures_document(views.profile, question, cells, public_only=public_only),
    }


def _check(profile: Profile, question: Question) -> None:
    """Refuse codes that the profile does not have: an empty answer would look like no cases."""
    known = {
        "region": profile.regions_by_code,
        "category": profile.categories_by_code,
        "department": profile.departments_by_code,
        "channel": profile.channels_by_code,
    }
    errors = [
        FieldError(name, "没有这个代码")
        for name, codes in known.items()
        if (given := getattr(question, name)) is not None and given not in codes
    ]
    if question.since and question.until and question.until <= question.since:
        errors.append(FieldError("to", "应晚于 from"))
    if errors:
        raise Invalid(errors=errors)


async def _recount(projection: Projection) -> dict[str, Any]:
    """Compare figures and events as of one moment: a batch that is applied meanwhile makes the
    comparison worthless, and it is made anew."""
    for _ in range(_RECOUNT_TRIES):
        before = _versions(await projection.progress())
        counted = await projection.figures(None, None)
        recounted: Figures = {}
        cases = 0
        async for state in projection.states():
            recount.add(recounted, state)
            cases += 1
        if before == _versions(await projection.progress()):
            found = recount.differences(counted, recounted)
            return {
                "is_stable": True,
                "is_equal": not found,
                "cases": cases,
                "differences": [
                    {**one.bucket._asdict(), "counter": one.counter, "counted": one.counted}
                    | {"recounted": one.recounted}
                    for one in found
                ],
            }
    return {"is_stable": False, "is_equal": None, "cases": cases, "differences": []}


def _versions(progress: dict[int, Progress]) -> dict[int, int]:
    return {number: one.version for number, one in progress.items()}


def _hour(hour: str | None) -> str | None:
    return f"{hour}:00:00Z" if hour else None


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _answer(document: dict[str, Any]) -> Response:
    return Response(
        orjson.dumps(document, option=orjson.OPT_UTC_Z),
        media_type="application/json",
        headers={"Cache-Control": "no-store"},
    )
