"""The desk's HTTP: the queue, one case, and one address for each command.

A command carries `Idempotency-Key` (its id) and may carry `If-Match` with the `view` of the case
that the person saw: it is refused (412) when phase, category, tier, hand-off or outcome changed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Request

from contracts.ids import parse_case_number
from contracts.lifecycle import CaseDocument, GroupDocument
from contracts.policies import Policy
from contracts.topics import POLICIES
from contracts.vocabulary import TaskKind
from services.chassis.blocked import BlockedCases
from services.chassis.bus import BusUnavailable, Outgoing, Publisher
from services.chassis.http import (
    Caller,
    Conflict,
    FieldError,
    Invalid,
    NotFound,
    Stale,
    Unavailable,
    require,
)
from services.chassis.kept import Kept
from services.chassis.store import StoreUnavailable
from services.triage import forms
from services.triage.commands import Commands, KeyReused, NotPossible, SeenOtherwise, Unknown
from services.triage.domain import desk, groups
from services.triage.domain.desk import Act
from services.triage.domain.occasion import Occasion
from services.triage.domain.views import shown
from services.triage.settings import TriageSettings

Person = Annotated[Caller, Depends(require("desk", "supervisor"))]
Supervisor = Annotated[Caller, Depends(require("supervisor"))]
IdempotencyKey = Annotated[
    str,
    Header(alias="Idempotency-Key", min_length=1, max_length=200, pattern=r"^[\x21-\x7e]+$"),
]


async def _command(request: Request, key: IdempotencyKey) -> str:
    """The command's id: the client's key, and a digest of what it asks for.

    So the same key for another act or other words is found out, and not taken for a repetition.
    """
    asked = f"{request.scope['route'].path}|".encode() + await request.body()
    return f"{key}#{sha256(asked).hexdigest()[:16]}"


CommandId = Annotated[str, Depends(_command)]
Seen = Annotated[str | None, Header(alias="If-Match")]
PolicyId = Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
_RETRY_SECONDS = 5


@asynccontextmanager
async def _answered() -> AsyncIterator[None]:
    """Turn what can go wrong into problems."""
    try:
        yield
    except Unknown:
        raise NotFound("没有这个编号的办件或分组。") from None
    except NotPossible as error:
        raise Conflict(str(error)) from None
    except KeyReused:
        reused = FieldError("Idempotency-Key", "这个键已用于另一项操作，请换一个")
        raise Invalid(errors=[reused]) from None
    except SeenOtherwise:
        raise Stale from None
    except (StoreUnavailable, BusUnavailable):
        raise Unavailable(_RETRY_SECONDS) from None


def _number(written: str) -> str:
    case_no = parse_case_number(written)
    if case_no is None:
        raise NotFound("没有这个编号的办件。")
    return case_no


def desk_routes(
    commands: Commands, settings: TriageSettings, publisher: Publisher, blocked: BlockedCases
) -> APIRouter:
    """Return the routes of the duty desk."""
    router = APIRouter(prefix="/v1/desk")
    _reading(router, commands, settings, blocked)
    _handling(router, commands)
    _following_up(router, commands)
    _erasing(router, commands)
    _grouping(router, commands)
    _policies(router, commands, publisher)
    return router


def _reading(
    router: APIRouter, commands: Commands, settings: TriageSettings, blocked: BlockedCases
) -> None:
    kept = commands.kept

    def beside(case_no: str, claims: dict[str, str]) -> dict[str, Any]:
        """What a person must know of a case that is none of its state."""
        blocks = [asdict(block) for block in blocked.of(case_no)]
        return {"claimed_by": claims.get(case_no), "blocked": blocks}

    @router.get("/queue")
    async def queue(
        person: Person,
        kind: TaskKind | None = None,
        limit: Annotated[int, Query(ge=1, le=200)] = 50,
    ) -> dict[str, Any]:
        """Cases that wait for a person: red first, then by the clock that ends soonest."""
        async with _answered():
            found = [one.document for one in await kept.waiting(kind, limit)]
            claims = await kept.claims([case.case_no for case in found], commands.clock.now())
            counts = await kept.count_waiting()
        cases = [{**shown(case), **beside(case.case_no, claims)} for case in found]
        return {"waiting": counts, "cases": cases}

    @router.get("/cases/{case_no}")
    async def case(case_no: str, person: Person) -> dict[str, Any]:
        """One case, as it stands."""
        number = _number(case_no)
        async with _answered():
            found = (await kept.cases.load([number])).get(number)
            if found is None:
                raise Unknown
            claims = await kept.claims([number], commands.clock.now())
        return {**shown(found.document), **beside(number, claims)}

    @router.post("/cases/{case_no}/claim")
    async def claim(case_no: str, person: Person, command: CommandId) -> dict[str, Any]:
        """Take a case: others see that it is taken, and the clock of seeing stops."""
        number = _number(case_no)
        async with _answered():
            found = await commands.on_case(
                number, command, lambda on, one: desk.see(on, one, person.name)
            )
            holder = await kept.claim(
                number, person.name, commands.clock.now(), settings.claim_minutes
            )
        if holder != person.name:
            raise Conflict(f"这件正由 {holder} 处理。")
        return {**shown(found.document), "claimed_by": holder}

    @router.post("/cases/{case_no}/release")
    async def release(case_no: str, person: Person) -> dict[str, Any]:
        """Give a case back."""
        async with _answered():
            await kept.release(_number(case_no), person.name)
        return {"case_no": case_no, "claimed_by": None}


async def _do(
    commands: Commands, case_no: str, command: str, seen: str | None, act: Act
) -> dict[str, Any]:
    number = _number(case_no)
    async with _answered():
        found: Kept[CaseDocument] = await commands.on_case(number, command, act, seen)
    return shown(found.document)


def _known(commands: Commands, *, category: str | None = None, region: str | None = None) -> None:
    """Refuse codes that the profile does not have, naming the field."""
    profile = commands.profile
    wrong = []
    if category is not None and category not in profile.categories_by_code:
        wrong.append(FieldError("category", "没有这个类别"))
    if region is not None and region not in profile.regions_by_code:
        wrong.append(FieldError("region", "没有这个地区"))
    if wrong:
        raise Invalid(errors=wrong)


def _handling(router: APIRouter, commands: Commands) -> None:
    @router.post("/cases/{case_no}/answer")
    async def answer(
        case_no: str, form: forms.AnswerForm, person: Person, command: CommandId, seen: Seen = None
    ) -> dict[str, Any]:
        """Answer online."""
        return await _do(
            commands,
            case_no,
            command,
            seen,
            lambda on, one: desk.answer(
                on, one, person.name, form.text, form.sources, form.inquiry_id
            ),
        )

    @router.post("/cases/{case_no}/not-accept")
    async def not_accept(
        case_no: str,
        form: forms.NotAcceptForm,
        person: Person,
        command: CommandId,
        seen: Seen = None,
    ) -> dict[str, Any]:
        """不予受理."""
        return await _do(
            commands,
            case_no,
            command,
            seen,
            lambda on, one: desk.not_accept(on, one, person.name, form.reason, form.instead),
        )

    @router.post("/cases/{case_no}/inquire")
    async def inquire(
        case_no: str, form: forms.InquireForm, person: Person, command: CommandId
    ) -> dict[str, Any]:
        """征询."""
        return await _do(
            commands,
            case_no,
            command,
            None,
            lambda on, one: desk.inquire(on, one, person.name, form.asked, form.by, form.question),
        )

    @router.post("/cases/{case_no}/inquiry-answer")
    async def inquiry_answer(
        case_no: str, form: forms.InquiryAnswerForm, person: Person, command: CommandId
    ) -> dict[str, Any]:
        """Record what was confirmed."""
        return await _do(
            commands,
            case_no,
            command,
            None,
            lambda on, one: desk.inquiry_answered(
                on, one, form.inquiry_id, form.confirmed_by, form.confirmed_at, form.text
            ),
        )

    @router.post("/cases/{case_no}/reclassify")
    async def reclassify(
        case_no: str,
        form: forms.ReclassifyForm,
        person: Person,
        command: CommandId,
        seen: Seen = None,
    ) -> dict[str, Any]:
        """Set category, tier, kind, hotline or region."""
        _known(commands, category=form.category, region=form.region)
        changes = form.model_dump(exclude={"why"})
        return await _do(
            commands,
            case_no,
            command,
            seen,
            lambda on, one: desk.reclassify(on, one, person.name, form.why, **changes),
        )

    @router.post("/cases/{case_no}/judge")
    async def judge(
        case_no: str, form: forms.JudgeForm, person: Person, command: CommandId, seen: Seen = None
    ) -> dict[str, Any]:
        """研判."""
        _known(commands, category=form.category, region=form.region)
        changes = form.model_dump(exclude={"opinion", "lead", "assists"})
        return await _do(
            commands,
            case_no,
            command,
            seen,
            lambda on, one: desk.judge(
                on, one, person.name, form.opinion, form.lead, form.assists, **changes
            ),
        )

    @router.post("/cases/{case_no}/handoff")
    async def give(
        case_no: str, form: forms.GiveForm, person: Person, command: CommandId, seen: Seen = None
    ) -> dict[str, Any]:
        """交办."""
        return await _do(
            commands,
            case_no,
            command,
            seen,
            lambda on, one: desk.give(
                on, one, person.name, form.department, form.assists, form.note
            ),
        )


def _following_up(router: APIRouter, commands: Commands) -> None:
    @router.post("/cases/{case_no}/urge")
    async def urge(
        case_no: str, form: forms.UrgeForm, person: Person, command: CommandId
    ) -> dict[str, Any]:
        """催办."""
        return await _do(
            commands,
            case_no,
            command,
            None,
            lambda on, one: desk.urge(on, one, person.name, form.text),
        )

    @router.post("/cases/{case_no}/extension")
    async def extension(
        case_no: str, form: forms.ExtensionForm, person: Person, command: CommandId
    ) -> dict[str, Any]:
        """延期."""
        return await _do(
            commands,
            case_no,
            command,
            None,
            lambda on, one: desk.decide_extension(
                on, one, person.name, form.handoff_id, form.until
            ),
        )

    @router.post("/cases/{case_no}/withdrawal")
    async def withdrawal(
        case_no: str, form: forms.WithdrawalForm, person: Person, command: CommandId
    ) -> dict[str, Any]:
        """A red case's withdrawal."""
        return await _do(
            commands,
            case_no,
            command,
            None,
            lambda on, one: desk.decide_withdrawal(on, one, person.name, form.accepted),
        )

    @router.post("/cases/{case_no}/accept-result")
    async def accept_result(
        case_no: str,
        form: forms.AcceptResultForm,
        person: Person,
        command: CommandId,
        seen: Seen = None,
    ) -> dict[str, Any]:
        """Agree to a result that looked hollow."""
        return await _do(
            commands,
            case_no,
            command,
            seen,
            lambda on, one: desk.accept_hollow(on, one, person.name, form.result()),
        )

    @router.post("/cases/{case_no}/visit")
    async def visit(
        case_no: str, form: forms.VisitForm, person: Person, command: CommandId
    ) -> dict[str, Any]:
        """回访."""
        return await _do(
            commands,
            case_no,
            command,
            None,
            lambda on, one: desk.visit(on, one, person.name, form.by, form.rating),
        )

    @router.post("/cases/{case_no}/contact")
    async def contact(
        case_no: str, form: forms.ContactForm, person: Person, command: CommandId
    ) -> dict[str, Any]:
        """Log a call to the citizen."""
        return await _do(
            commands,
            case_no,
            command,
            None,
            lambda on, one: desk.contact(on, one, person.name, form.by, form.reached),
        )

    @router.post("/cases/{case_no}/supervise")
    async def supervise(
        case_no: str, form: forms.SuperviseForm, person: Supervisor, command: CommandId
    ) -> dict[str, Any]:
        """督办."""
        return await _do(
            commands,
            case_no,
            command,
            None,
            lambda on, one: desk.supervise(on, one, person.name, form.text, form.due_at),
        )

    @router.post("/cases/{case_no}/supervision-reply")
    async def supervision_reply(
        case_no: str, form: forms.SupervisionReplyForm, person: Person, command: CommandId
    ) -> dict[str, Any]:
        """Reply to a supervision order."""
        return await _do(
            commands,
            case_no,
            command,
            None,
            lambda on, one: desk.supervision_replied(on, one, form.supervision_no, form.text),
        )

    @router.post("/cases/{case_no}/settle")
    async def settle(
        case_no: str, form: forms.SettleForm, person: Person, command: CommandId
    ) -> dict[str, Any]:
        """Deal with a task that needs no other act."""
        return await _do(
            commands,
            case_no,
            command,
            None,
            lambda on, one: desk.settle(on, one, person.name, form.task_id, form.note),
        )


def _erasing(router: APIRouter, commands: Commands) -> None:
    @router.post("/cases/{case_no}/erasure")
    async def erasure(
        case_no: str, form: forms.ErasureForm, person: Person, command: CommandId
    ) -> dict[str, Any]:
        """清除个人信息."""
        return await _do(
            commands,
            case_no,
            command,
            None,
            lambda on, one: desk.decide_erasure(on, one, person.name, form.accepted),
        )


def _group_shown(group: Kept[GroupDocument]) -> dict[str, Any]:
    document = group.document
    return {
        "group_id": document.document_id,
        "version": document.seq,
        "kind": document.kind,
        "anchor": document.case_no,
        "members": document.members,
        "resolved": document.resolved,
        "dissolved": document.dissolved,
    }


def _grouping(router: APIRouter, commands: Commands) -> None:
    @router.post("/groups")
    async def form(form: forms.GroupForm, person: Person, command: CommandId) -> dict[str, Any]:
        """Deal with cases together."""
        members = [_number(written) for written in form.members]
        async with _answered():
            group = await commands.form_group(
                command, form.kind, members, person.name, form.reasons
            )
        return _group_shown(group)

    @router.get("/groups/{id_}")
    async def show(id_: str, person: Person) -> dict[str, Any]:
        """One group."""
        async with _answered():
            found = (await commands.kept.groups.load([id_])).get(id_)
            if found is None:
                raise Unknown
        return _group_shown(found)

    @router.post("/groups/{id_}/members")
    async def change(
        id_: str, form: forms.GroupChangeForm, person: Person, command: CommandId
    ) -> dict[str, Any]:
        """Let members come or go."""
        joined = tuple(_number(written) for written in form.joined)
        left = tuple(_number(written) for written in form.left)

        def act(on: Occasion, group: Kept[GroupDocument], cases: dict[str, CaseDocument]) -> Any:
            return groups.change(on, group, list(cases.values()), left, person.name)

        async with _answered():
            return _group_shown(await commands.on_group(id_, command, act, joined))

    @router.post("/groups/{id_}/dissolve")
    async def dissolve(id_: str, person: Person, command: CommandId) -> dict[str, Any]:
        """End a group without a result."""
        async with _answered():
            return _group_shown(
                await commands.on_group(
                    id_, command, lambda on, group, _: groups.dissolve(on, group, person.name)
                )
            )


def _policies(router: APIRouter, commands: Commands, publisher: Publisher) -> None:
    @router.put("/policies/{policy_id}")
    async def put(policy_id: PolicyId, form: forms.PolicyForm, person: Person) -> dict[str, Any]:
        """Publish a policy passage; a second time replaces the first."""
        _known(commands, category=form.category)
        unknown = [code for code in form.regions if code not in commands.profile.regions_by_code]
        if unknown:
            raise Invalid(errors=[FieldError("regions", "没有这个地区")])
        version = int(commands.clock.now().timestamp() * 1_000)
        policy = Policy(policy_id=policy_id, version=version, **form.model_dump())
        value = policy.model_dump_json(exclude_none=True).encode()
        async with _answered():
            await commands.kept.put_policy(policy.model_dump(mode="json"))
            headers = {"content-type": "application/json"}
            await publisher.publish_all([Outgoing(POLICIES, policy_id.encode(), value, headers)])
        return {"policy_id": policy_id, "version": version}

    @router.get("/policies")
    async def policies(person: Person) -> dict[str, Any]:
        """All policy passages."""
        async with _answered():
            return {"policies": await commands.kept.policies()}
