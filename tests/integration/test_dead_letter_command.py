"""Dead letters from end to end: put aside, shown, written again, given up."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaProducer

from contracts import triage as t
from contracts.dead_letters import DeadLetter
from contracts.envelope import Event
from contracts.feeds import HandoffState
from contracts.topics import TRIAGE, dead_letters, partition_for, replies
from deploy.audit.log import Log
from deploy.dead_letters.ledger import Act, DeadLetterError, Entry, Ledger, State
from deploy.dead_letters.refusals import ERASED, REPLACED
from deploy.dead_letters.repair import PORTION, Line, Repair, Result, chosen, repairing
from services.chassis.blocked import BlockedCases
from services.chassis.settings import ServiceSettings
from tests.integration.notify_room import Building, Room, handoff_of, sent, state, story_now, until
from tests.notify_story import CaseStory, new_case_no

pytestmark = pytest.mark.asyncio(loop_scope="module")

ACT = Act(at=datetime(2022, 1, 18, tzinfo=UTC), by="op-1", why="mended")


@dataclass
class Place:
    """A running notify, what is blocked, and the commands."""

    room: Room
    blocked: BlockedCases
    kafka_url: str
    mongo_url: str
    folder: Path

    @asynccontextmanager
    async def repair(self) -> AsyncIterator[Repair]:
        async with repairing(self.kafka_url, self.mongo_url) as repair:
            yield repair

    async def command(self, *arguments: str) -> tuple[int, str, str]:
        """Run `jieyou dead-letters …`; return exit code and what it wrote."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", "dead-letters", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={
                **os.environ,
                "JIEYOU_KAFKA_URL": self.kafka_url,
                "JIEYOU_MONGO_URL": self.mongo_url,
                "JIEYOU_HOME": str(self.folder),
            },
        )
        out, err = await process.communicate()
        return process.returncode or 0, out.decode(), err.decode()

    async def letters_of(self, case_no: str, count: int = 1) -> list[str]:
        """The ids of a case's letters, as soon as it has so many."""
        await until(lambda: len(self.blocked.of(case_no)) == count)
        return [f"{one.service}/{one.origin}" for one in self.blocked.of(case_no)]

    async def write(self, topic: str, key: bytes | None, value: bytes | None, event: Event) -> None:
        """Write anything under the headers of an event."""
        producer = AIOKafkaProducer(bootstrap_servers=self.kafka_url, acks="all")
        await producer.start()
        headers = [(name, text.encode()) for name, text in event.headers().items()]
        await producer.send_and_wait(topic, value, key, event.partition, headers=headers)
        await producer.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(
    kafka_url: str, mongo_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Place]:
    folder = tmp_path_factory.mktemp("operator")
    building = Building(kafka_url, mongo_url, folder, "notify")
    await building.prepare()
    blocked = BlockedCases()
    following = blocked.following(ServiceSettings(kafka_url=kafka_url))
    task = asyncio.create_task(following.run())
    try:
        async with building.room() as room:
            await following.ready.wait()
            yield Place(room, blocked, kafka_url, mongo_url, folder)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def urged_first(case_no: str | None = None) -> tuple[CaseStory, list[Event], Event]:
    """A case whose urging comes before what it is about: events in order, and the urging."""
    story = story_now(**({"case_no": case_no} if case_no else {}))
    events = [story.opened(), story.ordered()]
    handoff = handoff_of(events[1])
    return story, events, story.write(t.CaseUrged, handoff_id=handoff)


def of_one_partition(count: int) -> list[str]:
    """Numbers of cases that lie in one partition."""
    first = new_case_no()
    found = [first]
    while len(found) < count:
        number = new_case_no()
        if partition_for(number) == partition_for(first):
            found.append(number)
    return found


async def looked(repair: Repair, id_: str) -> Line:
    lines = await repair.look(with_settled=True)
    return next(line for line in lines if line.entry.id == id_)


async def until_true(what: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    deadline = time.monotonic() + seconds
    while not await what():
        assert time.monotonic() < deadline, "what was waited for did not come"
        await asyncio.sleep(0.05)


async def test_poison_holds_up_no_neighbour_and_its_case_is_whole_after_a_retry(
    place: Place,
) -> None:
    room = place.room
    before, poisoned, after = of_one_partition(3)
    first, last = story_now(case_no=before), story_now(case_no=after)
    story, missing, urged = urged_first(poisoned)
    orders = [first.ordered(), urged, last.ordered()]
    await room.say(*orders)

    for neighbour, order in ((first, orders[0]), (last, orders[2])):
        await room.comes(neighbour.case_no, "handoff.sent")
        assert room.log.feed_of(handoff_of(order))[0].state is HandoffState.SENT
    (id_,) = await place.letters_of(poisoned)
    assert not place.blocked.of(before)
    assert not place.blocked.of(after)
    (block,) = place.blocked.of(poisoned)
    assert (block.service, block.reason) == ("notify", "names a hand-off that is not known")

    code, out, err = await place.command("list", "--json", "--service", "notify")
    assert code == 0, err
    listed = {one["id"]: one for one in json.loads(out)}
    assert (listed[id_]["state"], listed[id_]["case_no"]) == ("open", poisoned)
    code, out, _ = await place.command("list")
    assert code == 0
    assert id_ in out, "an id that is cut cannot be copied"

    await room.say(*missing)  # what it was about has come: now it can be handled
    await room.comes(poisoned, "handoff.sent")
    code, out, err = await place.command("retry", id_, "--reason", "交办已到", "--by", "op-1")
    assert code == 0, out + err
    assert "已处理 1" in out

    await room.comes(poisoned, "handoff.urged")
    await until(lambda: not place.blocked.of(poisoned))
    folded = state(story, room)
    assert folded.handoffs[handoff_of(missing[1])].urgings == 1
    assert [one for one in folded.incomplete if not one.startswith("submission ")] == []
    assert folded.double == ()

    code, out, _ = await place.command("list", "--json", "--all")
    (settled,) = [one for one in json.loads(out) if one["id"] == id_]
    assert (settled["state"], settled["is_open"], settled["retries"]) == ("handled", False, 1)
    assert (settled["settled"]["by"], settled["settled"]["why"]) == ("op-1", "交办已到")
    code, _, err = await place.command("retry", id_)
    assert code == 1
    assert err.strip().splitlines()[-1].startswith(f"jieyou: there is no open letter {id_}")


async def test_a_retry_that_changes_nothing_decides_nothing_anew(place: Place) -> None:
    """The record of a handled event is written again, as by two operators at once."""
    room = place.room
    story, missing, urged = urged_first()
    await room.say(urged)
    (id_,) = await place.letters_of(story.case_no)
    await room.say(*missing, urged)  # the owner itself repeats it
    await room.comes(story.case_no, "handoff.urged")
    async with place.repair() as repair:
        (outcome,) = await repair.retry(chosen(await repair.look(), [id_]), ACT, wait_s=20)
    assert outcome.result is Result.HANDLED
    await until(lambda: not place.blocked.of(story.case_no))
    assert len(room.log.of(story.case_no, "handoff.urged")) == 1
    assert state(story, room).double == ()


async def test_what_fails_again_has_a_successor_that_remembers_its_retries(place: Place) -> None:
    story, _, urged = urged_first()
    await place.room.say(urged)
    (id_,) = await place.letters_of(story.case_no)

    code, out, _ = await place.command("retry", id_)
    assert code == 1
    assert "再次失败 1" in out
    await until(lambda: [f"notify/{b.origin}" for b in place.blocked.of(story.case_no)] != [id_])
    (successor,) = await place.letters_of(story.case_no)
    async with place.repair() as repair:
        before, after = await looked(repair, id_), await looked(repair, successor)
        assert (before.entry.state, before.entry.successor) == (State.FAILED_AGAIN, successor)
        assert (after.entry.state, after.entry.retries) == (State.OPEN, 1)
        await repair.discard([after], ACT)


async def test_a_portion_that_fails_whole_ends_the_retry_and_no_consumer_stands(
    place: Place,
) -> None:
    """12 that have failed and 10 that fail again would be 22 in a row, were no tick between."""
    count = PORTION + 2
    numbers = of_one_partition(count + 1)
    stories = [urged_first(number) for number in numbers[:count]]
    await place.room.say(*(urged for _, _, urged in stories))
    ids = [(await place.letters_of(story.case_no))[0] for story, _, _ in stories]

    async with place.repair() as repair:
        outcomes = await repair.retry(chosen(await repair.look(), ids), ACT, wait_s=30)
        results = [one.result for one in outcomes]
        assert results.count(Result.FAILED_AGAIN) == PORTION
        assert results.count(Result.LEFT) == count - PORTION
        neighbour = story_now(case_no=numbers[count])
        await sent(place.room, neighbour, neighbour.ordered())

        for _, missing, _ in stories:
            await place.room.say(*missing)
        await place.room.comes(stories[-1][0].case_no, "handoff.sent")
        ids = [(await place.letters_of(story.case_no))[0] for story, _, _ in stories]
        outcomes = await repair.retry(chosen(await repair.look(), ids), ACT, wait_s=30)
    assert {one.result for one in outcomes} == {Result.HANDLED}
    for story, _, _ in stories:
        await place.room.comes(story.case_no, "handoff.urged")
    await until(lambda: not any(place.blocked.of(story.case_no) for story, _, _ in stories))


async def test_a_reply_that_was_too_early_is_taken_when_it_is_written_again(place: Place) -> None:
    story = story_now()
    ordered = story.ordered()
    handoff = handoff_of(ordered)
    reply = {"act": "progress", "reply_id": "early", "handoff_id": handoff, "text": "正在备药"}
    await place.room.reply("health", reply)
    await until(lambda: any(one["headers"] == {} for one in place.room.log.dead))
    letter = DeadLetter.model_validate(place.room.log.dead[-1])
    assert (letter.origin.topic, letter.case_no) == (replies("health"), None)
    await sent(place.room, story, ordered)
    id_ = f"notify/{letter.origin.name}"
    async with place.repair() as repair:
        (outcome,) = await repair.retry(chosen(await repair.look(), [id_]), ACT, wait_s=20)
        assert outcome.result is Result.HANDLED
    await place.room.comes(story.case_no, "handoff.progressed")


async def test_what_is_given_up_is_gone_with_its_payload_and_the_reason_stays(
    place: Place,
) -> None:
    story, _, urged = urged_first()
    await place.room.say(urged)
    (id_,) = await place.letters_of(story.case_no)
    code, out, err = await place.command("show", id_, "--payload")
    assert code == 0
    assert out.encode() == urged.encoded
    assert "个人信息" in err
    code, out, _ = await place.command("show", id_)
    assert code == 0
    assert "names a hand-off that is not known" in out
    assert urged.encoded.decode() not in out

    code, _, err = await place.command("discard", id_)
    assert code == 2, "a reason must be given"
    code, out, _ = await place.command("discard", id_, "--reason", "重复测试记录", "--by", "op-2")
    assert code == 0
    assert f"已弃置 {id_}" in out
    await until(lambda: not place.blocked.of(story.case_no))
    code, _, err = await place.command("show", id_, "--payload")
    assert (code, "not there any more" in err) == (1, True)
    async with place.repair() as repair:
        entry = (await looked(repair, id_)).entry
    assert entry.state is State.DISCARDED
    assert entry.settled is not None
    assert (entry.settled.by, entry.settled.why) == ("op-2", "重复测试记录")


async def test_a_crash_between_ledger_and_topic_is_made_good_by_the_next_look(
    place: Place,
) -> None:
    story, _, urged = urged_first()
    await place.room.say(urged)
    (id_,) = await place.letters_of(story.case_no)
    async with place.repair() as repair:
        line = await looked(repair, id_)
        ledger = Ledger(place.mongo_url)
        await ledger.put(line.entry.changed(state=State.DISCARDED, settled=ACT))
        assert place.blocked.of(story.case_no)
        assert id_ not in {one.entry.id for one in await repair.look()}
        with pytest.raises(DeadLetterError, match="somebody else sees to it"):
            await ledger.put(line.entry.changed(state=State.RETRIED))
        ledger.close()
    await until(lambda: not place.blocked.of(story.case_no))


async def test_an_entry_of_another_log_says_nothing_about_a_letter(place: Place) -> None:
    """Kafka was set up anew and the store was not: the same offset is another record."""
    story, _, urged = urged_first()
    await place.room.say(urged)
    (id_,) = await place.letters_of(story.case_no)
    async with place.repair() as repair:
        entry = (await looked(repair, id_)).entry
        assert entry.origin is not None
        ledger = Ledger(place.mongo_url)
        older = entry.origin.model_copy(update={"timestamp_ms": entry.origin.timestamp_ms - 1})
        await ledger.put(entry.changed(origin=older, state=State.DISCARDED, settled=ACT))
        ledger.close()
        line = await looked(repair, id_)
        assert (line.is_open, line.entry.state) == (True, State.OPEN)
        await repair.discard([line], ACT)


async def test_what_would_push_a_newer_record_off_the_log_is_not_written_again(
    place: Place,
) -> None:
    """A record that was broken at first, and then came well; and one of an erased case."""
    broken, erased = story_now(), story_now()
    event = broken.ordered()
    await place.write(TRIAGE, event.key, b"{", event)
    await place.room.say(event)
    await place.room.comes(broken.case_no, "handoff.sent")
    _, _, urged = urged_first(erased.case_no)
    await place.room.say(urged, erased.write(t.CaseErased, by="citizen"))
    (replaced_id,) = await place.letters_of(broken.case_no)
    (erased_id,) = await place.letters_of(erased.case_no)

    async with place.repair() as repair, Log(place.kafka_url) as log:
        before = await log.ends([TRIAGE])
        lines = chosen(await repair.look(), [replaced_id, erased_id])
        outcomes = {one.entry.id: one for one in await repair.retry(lines, ACT, wait_s=5)}
        assert await log.ends([TRIAGE]) == before, "something was written"
        assert outcomes[replaced_id].why == REPLACED
        assert outcomes[erased_id].why == ERASED
        await repair.discard(lines, ACT)


async def test_what_nobody_reads_is_pending_and_settled_later(place: Place) -> None:
    """The record is written to a service that is away; a second retry writes nothing."""
    story, missing, urged = urged_first()
    await place.room.say(urged)
    (id_,) = await place.letters_of(story.case_no)
    await place.room.say(*missing)
    await place.room.comes(story.case_no, "handoff.sent")
    away = {"notify": "a-group-that-reads-nothing", "triage": "x", "intake": "y", "reporting": "z"}
    async with (
        repairing(place.kafka_url, place.mongo_url, groups=away) as blind,
        Log(place.kafka_url) as log,
    ):
        (outcome,) = await blind.retry(chosen(await blind.look(), [id_]), ACT, wait_s=0)
        assert outcome.result is Result.PENDING
        ends = await log.ends([TRIAGE])
        (outcome,) = await blind.retry(chosen(await blind.look(), [id_]), ACT, wait_s=0)
        assert outcome.result is Result.PENDING
        assert await log.ends([TRIAGE]) == ends
    async with place.repair() as repair:

        async def is_handled() -> bool:
            return (await looked(repair, id_)).entry.state is State.HANDLED

        await until_true(is_handled)
    await until(lambda: not place.blocked.of(story.case_no))


async def test_what_is_no_letter_can_be_given_up(place: Place) -> None:
    story = story_now()
    topic = dead_letters("intake")
    producer = AIOKafkaProducer(bootstrap_servers=place.kafka_url, acks="all")
    await producer.start()
    await producer.send_and_wait(topic, b"nonsense", story.case_no.encode(), 0)
    await producer.stop()
    id_ = f"intake/{story.case_no}"
    async with place.repair() as repair:
        (outcome,) = await repair.retry(chosen(await repair.look(), [id_]), ACT, wait_s=0)
        assert outcome.result is Result.REFUSED
        entries: Sequence[Entry] = await repair.discard(chosen(await repair.look(), [id_]), ACT)
        assert [one.id for one in entries] == [id_]
        assert id_ not in {one.entry.id for one in await repair.look()}
