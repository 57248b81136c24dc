"""What the simulated departments do with a hand-off, and that nothing is done twice."""

import asyncio
import base64
import hmac
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import orjson
import pytest

from contracts.feeds import REPLY, FeedHandoff, HandoffState
from deploy.simulators.calls import Calls
from deploy.simulators.handoff_script import Say, Until, script_of
from deploy.simulators.handoffs import Department
from deploy.simulators.plans import plans_of
from deploy.simulators.receiver import Receiver, ReceiverServer, is_signed
from deploy.simulators.room import Journal, Room
from deploy.simulators.stories.story import PathKind
from tests.simulated_case import CASE_NO, NOW, STORY, handoff, plan_of


def acts(steps: list[Say | Until]) -> list[str]:
    return [step.act if isinstance(step, Say) else f"until {step.what}" for step in steps]


def test_every_order_of_the_story_is_played_in_replies_that_the_contract_takes() -> None:
    played = 0
    for request in STORY.requests:
        plan = plan_of(request)
        for round_ in range(len(request.path.rounds)):
            order = plan.order(round_)
            for department in order.tried if order is not None else ():
                steps = script_of(handoff(department, round=round_), plan, NOW)
                for step in steps:
                    if isinstance(step, Say):
                        said = {"act": step.act, "reply_id": step.reply_id, "handoff_id": "h"}
                        REPLY.validate_python({**said, **step.body})
                ends = [one for one in acts(steps) if one in ("result", "return")]
                assert len(ends) == 1, request.ordinal
                played += 1
    assert played > 100


def test_what_the_story_returns_is_returned_unsigned_and_only_once() -> None:
    plan = next(
        plan_of(request)
        for request in STORY.requests
        if request.path.orders and request.path.orders[0].returns
    )
    turned = plan.request.path.orders[0].returns[0]
    steps = script_of(handoff(turned.by), plan, NOW)
    assert acts(steps) == ["until checked", "return"]
    again = handoff(turned.by, binding=True, returned_by=[turned.by])
    assert acts(script_of(again, plan, NOW))[-1] == "result"


def test_an_extension_is_asked_before_the_result_and_waits_for_the_desk() -> None:
    plan = next(
        plan_of(request)
        for request in STORY.requests
        if request.path.orders and request.path.orders[0].extension
    )
    department = plan.request.path.orders[0].department
    steps = acts(script_of(handoff(department), plan, NOW))
    assert steps.index("extension") < steps.index("until extended") < steps.index("result")


def test_a_department_that_got_a_consultation_gives_the_desks_answer() -> None:
    plan = plan_of(STORY.of_kind(PathKind.ANSWERED)[0])
    result = script_of(handoff("health"), plan, NOW)[-1]
    assert isinstance(result, Say)
    assert result.body["text"] == plan.answer(0)


def test_a_stranger_is_handled_too() -> None:
    assert acts(script_of(handoff("health"), None, NOW)) == ["sign", "result"]


@pytest.fixture
async def tasks() -> AsyncIterator[asyncio.TaskGroup]:
    async with asyncio.TaskGroup() as group:
        yield group


def department(
    tasks: asyncio.TaskGroup, room: Room, journal: Journal, said: list[str]
) -> Department:
    async def reply(_: FeedHandoff, step: Say) -> None:
        said.append(step.reply_id)

    return Department("health", room, reply, journal, tasks)


async def test_a_hand_off_that_comes_twice_is_played_once(
    tasks: asyncio.TaskGroup, tmp_path: Path
) -> None:
    said: list[str] = []
    with Journal(tmp_path / "arrivals.jsonl") as journal:
        plays = department(tasks, Room({}), journal, said)
        for _ in range(3):
            plays.arrive(handoff("health"))
        while len(said) < 2:
            await asyncio.sleep(0)
    assert said == ["sign", "result"]
    lines = [orjson.loads(line) for line in (tmp_path / "arrivals.jsonl").read_bytes().splitlines()]
    assert [line["repeated"] for line in lines] == [False, True, True]


async def test_a_hand_off_that_is_taken_back_is_not_gone_on_with(
    tasks: asyncio.TaskGroup, tmp_path: Path
) -> None:
    said: list[str] = []
    request = STORY.of_kind(PathKind.ANSWERED)[0]
    room = Room(plans_of(STORY, [request]))
    room.accept(CASE_NO, plan_of(request), "code")
    with Journal(tmp_path / "arrivals.jsonl") as journal:
        plays = department(tasks, room, journal, said)
        plays.arrive(handoff("health"))
        assert await room.attention.get() == CASE_NO
        plays.arrive(handoff("health", version=2, state=HandoffState.RECALLED))
        await asyncio.sleep(0.01)
    assert said == []


KEY = "whsec_" + base64.b64encode(b"k" * 32).decode()


def signed(body: bytes, *, message_id: str = "m", at: float | None = None) -> dict[str, str]:
    sent_at = str(int(at if at is not None else time.time()))
    content = f"{message_id}.{sent_at}.".encode() + body
    signature = base64.b64encode(hmac.digest(b"k" * 32, content, "sha256")).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": sent_at,
        "webhook-signature": f"v1,{signature}",
    }


def test_a_signature_is_checked_with_body_and_age() -> None:
    now = time.time()
    assert is_signed(KEY, signed(b"{}", at=now), b"{}", now)
    assert not is_signed(KEY, signed(b"{}", at=now), b"{ }", now)
    assert not is_signed(KEY, signed(b"{}", at=now - 600), b"{}", now)
    assert not is_signed(KEY, {}, b"{}", now)


async def test_a_message_takes_effect_once_however_often_it_comes() -> None:
    taken: list[str] = []

    def take(message_id: str, body: dict[str, object]) -> str:
        taken.append(f"{message_id}:{body['step']}")
        return "receipt-1"

    server, receiver = ReceiverServer(), Receiver(KEY, take)
    server.add("app", receiver)
    serving = asyncio.create_task(server.serve())
    body = b'{"step":"closed"}'
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            answers = [
                await client.post(server.url("app"), content=body, headers=signed(body))
                for _ in range(3)
            ]
            forged = await client.post(server.url("app"), content=body)
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        server.close()
    assert taken == ["m:closed"]
    assert {answer.json()["receipt"] for answer in answers} == {"receipt-1"}
    assert forged.status_code == 401
    assert receiver.counts == {"taken": 1, "repeated": 2, "unsigned": 1}


async def test_a_call_is_repeated_with_its_key_until_there_is_an_answer() -> None:
    seen: list[str | None] = []
    answers = [httpx.Response(503), httpx.Response(429), httpx.Response(202, json={"case_no": "1"})]

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get("idempotency-key"))
        if len(seen) == 1:
            raise httpx.ConnectError("away")
        return answers[len(seen) - 2]

    async with Calls("http://platform", transport=httpx.MockTransport(answer)) as calls:
        found = await calls.post("/v1/requests", {}, key="k")
    assert (found.status, found.document) == (202, {"case_no": "1"})
    assert seen == ["k"] * 4
    assert calls.retries == 3


async def test_a_refusal_is_an_answer() -> None:
    problem = {"title": "与现状不符", "errors": [{"field": "text", "why": "必填"}]}
    transport = httpx.MockTransport(lambda _: httpx.Response(409, json=problem))
    async with Calls("http://platform", transport=transport) as calls:
        found = await calls.post("/v1/x", {}, key="k")
    assert not found.is_taken
    assert found.why == "与现状不符; text: 必填"
