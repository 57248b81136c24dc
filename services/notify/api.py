"""What departments and the desk do over HTTP with hand-offs and deliveries."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ValidationError

from contracts.feeds import ACTS, REPLY, AnyReply, FeedHandoff, HandoffState
from contracts.ids import parse_case_number
from contracts.lifecycle import HandoffDocument
from services.chassis.http import (
    Caller,
    Conflict,
    FieldError,
    Forbidden,
    Invalid,
    Malformed,
    NotFound,
    Unavailable,
    require,
)
from services.chassis.http.field_errors import field_errors
from services.chassis.kept import Kept
from services.chassis.keys import KeyKind
from services.chassis.store import Stale
from services.notify.commands import Commands, KeyUsedOtherwise, NotPossible, UnknownHandoff
from services.notify.domain.feed import feed_document
from services.notify.work import Place

_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_RETRY_SECONDS = 2
_MOST_LISTED = 1_000
_NO_HANDOFF = "没有这份交办，或它不属于贵单位。"

DepartmentOrDesk = Annotated[Caller, Depends(require(KeyKind.DEPARTMENT, KeyKind.DESK))]
Desk = Annotated[Caller, Depends(require(KeyKind.DESK))]
Staff = Annotated[Caller, Depends(require(KeyKind.DESK, KeyKind.SUPERVISOR, KeyKind.OPERATOR))]
Readers = Annotated[Caller, Depends(require(KeyKind.DEPARTMENT, KeyKind.DESK, KeyKind.SUPERVISOR))]


class HandoffStands(BaseModel):
    """How a hand-off stands after a command. `version` is that of the feed document."""

    handoff_id: str
    state: HandoffState
    version: int


class HandoffList(BaseModel):
    """Open hand-offs, the one due first at the top. `has_more`: the list was cut."""

    handoffs: list[FeedHandoff]
    has_more: bool


class DeliveryStands(BaseModel):
    """How a delivery stands: to which host, never the address or the words."""

    delivery_id: str
    step: str
    state: str
    host: str | None
    attempts: int
    last_failure: str | None = None
    next_attempt_at: datetime | None = None


class DeliveryList(BaseModel):
    """The deliveries of a case, in the order in which they are told."""

    deliveries: list[DeliveryStands]


class Api:
    """The calls of notify."""

    def __init__(self, place: Place, commands: Commands) -> None:
        self._place = place
        self._commands = commands

    def router(self) -> APIRouter:
        """Return the routes. `sent` stands before `{act}`, which would take it too."""
        router = APIRouter(prefix="/v1")
        router.get("/handoffs")(self.handoffs)
        router.get("/handoffs/{handoff_id}")(self.handoff)
        router.post("/handoffs/{handoff_id}/sent")(self.sent)
        router.post("/handoffs/{handoff_id}/{act}")(self.reply)
        router.get("/deliveries")(self.deliveries)
        return router

    async def handoffs(
        self,
        caller: Readers,
        department: str | None = None,
        limit: Annotated[int, Query(gt=0, le=_MOST_LISTED)] = 200,
    ) -> HandoffList:
        """The open hand-offs of the caller's department; the desk names one."""
        code = caller.name if caller.kind is KeyKind.DEPARTMENT else department
        if code is None:
            raise Invalid(errors=[FieldError("department", "必填")])
        found = await self._place.documents.open_handoffs(code, _MOST_LISTED + 1)
        shown = [feed_document(one) for one in found if one.document.order is not None]
        shown.sort(key=lambda one: (one.result_due_at or one.ordered_at, one.handoff_id))
        return HandoffList(handoffs=shown[:limit], has_more=len(shown) > limit)

    async def handoff(self, caller: Readers, handoff_id: str) -> FeedHandoff:
        """One hand-off as its department sees it."""
        found = await self._find(handoff_id)
        if found is None or not _may_see(caller, found.document):
            raise NotFound(_NO_HANDOFF)
        return feed_document(found)

    async def sent(self, caller: Desk, handoff_id: str, request: Request) -> HandoffStands:
        """The desk has rung the department, which no machine could reach."""
        key = _idempotency_key(request)
        with _as_problems():
            return _stands(await self._commands.sent_by_telephone(handoff_id, key, caller.name))

    async def reply(
        self, caller: DepartmentOrDesk, handoff_id: str, act: str, request: Request
    ) -> HandoffStands:
        """What the department did; the desk may enter it for one that can only be rung."""
        if act not in ACTS:
            raise NotFound
        department = await self._department_of(caller, handoff_id)
        said = await _reply(request, handoff_id, act, caller)
        with _as_problems():
            return _stands(await self._commands.reply(department, said))

    async def deliveries(self, _: Staff, case_no: str) -> DeliveryList:
        """How what a citizen and the departments were to be told has fared."""
        number = parse_case_number(case_no)
        if number is None:
            raise Invalid(errors=[FieldError("case_no", "不是有效的办件编号")])
        rows = await self._place.documents.delivery_rows(number)
        rows.sort(key=lambda row: (row["order"], row["_id"]))
        return DeliveryList(
            deliveries=[
                DeliveryStands(
                    delivery_id=row["_id"],
                    step=row["step"],
                    state=row["state"],
                    host=row["host"],
                    attempts=row["attempts"],
                    last_failure=row.get("last_failure"),
                    next_attempt_at=row["next_due"],
                )
                for row in rows
            ]
        )

    async def _find(self, handoff_id: str) -> Kept[HandoffDocument] | None:
        return (await self._place.documents.handoffs.load([handoff_id])).get(handoff_id)

    async def _department_of(self, caller: Caller, handoff_id: str) -> str:
        """Return for which department the caller speaks. Raises NotFound and Forbidden."""
        if caller.kind is KeyKind.DEPARTMENT:
            return caller.name
        found = await self._find(handoff_id)
        if found is None:
            raise NotFound(_NO_HANDOFF)
        department = found.document.department
        if not self._place.departments.is_spoken_for_by_desk(department):
            raise Forbidden("该单位自己回复；值班席只能代热线和电话联系的单位登记。")
        return department


@contextmanager
def _as_problems() -> Iterator[None]:
    """Turn what a command raises into problems."""
    try:
        yield
    except UnknownHandoff:
        raise NotFound(_NO_HANDOFF) from None
    except NotPossible as error:
        raise Conflict(error.why) from None
    except KeyUsedOtherwise:
        raise Invalid(
            errors=[FieldError("Idempotency-Key", "已用于另一项操作，请换一个")]
        ) from None
    except Stale:
        raise Unavailable(_RETRY_SECONDS) from None


def _may_see(caller: Caller, handoff: HandoffDocument) -> bool:
    if handoff.order is None:
        return False
    return caller.kind is not KeyKind.DEPARTMENT or handoff.department == caller.name


def _stands(kept: Kept[HandoffDocument]) -> HandoffStands:
    handoff = kept.document
    return HandoffStands(handoff_id=handoff.document_id, state=handoff.state, version=handoff.seq)


def _idempotency_key(request: Request) -> str:
    key = request.headers.get("idempotency-key", "")
    if not _KEY.fullmatch(key):
        why = "必填，1 到 200 个可见的 ASCII 字符"
        raise Malformed(errors=[FieldError("Idempotency-Key", why)])
    return key


async def _reply(request: Request, handoff_id: str, act: str, caller: Caller) -> AnyReply:
    """Read the body as a reply. Raises Malformed and Invalid, which name each field."""
    key = _idempotency_key(request)
    content = await request.body()
    try:
        body: Any = orjson.loads(content) if content.strip() else {}
    except orjson.JSONDecodeError as error:
        why = f"不是有效的 JSON（第 {error.pos} 个字符附近）"
        raise Malformed(errors=[FieldError("body", why)]) from None
    if not isinstance(body, dict):
        raise Invalid(errors=[FieldError("body", "应为 JSON 对象")])
    given = [name for name in ("act", "reply_id", "handoff_id") if name in body]
    if given:
        raise Invalid(errors=[FieldError(name, "不认识这个字段") for name in given])
    if caller.kind is KeyKind.DESK:
        body.setdefault("person", caller.name)
    try:
        return REPLY.validate_python(
            {**body, "act": act, "reply_id": key, "handoff_id": handoff_id}
        )
    except ValidationError as error:
        errors = [{**one, "loc": one["loc"][1:]} for one in error.errors(include_url=False)]
        raise Invalid(errors=field_errors(errors)) from None
