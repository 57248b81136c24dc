"""The figures rebuilt beside the live ones, on a real log and store: readers never see less."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from aiokafka import TopicPartition

from contracts.envelope import Event
from contracts.topics import CASE_TOPICS, REQUESTS, dead_letters
from deploy.audit.log import Log
from deploy.dead_letters.ledger import Act, State
from deploy.dead_letters.repair import Result, chosen, repairing
from deploy.recovery import alone, turning
from deploy.recovery.rebuilt import RebuildError, Stage
from services.chassis.store import Stale
from services.reporting import live, recount
from services.reporting.domain.buckets import Figures
from services.reporting.generations import LAID_DOWN, Generations
from services.reporting.store import Projection
from tests.contract.histories import History
from tests.integration.rebuild_room import START, Room, Running, room
from tests.servers.own import own_kafka, own_store
from tests.unit.reporting_room import history, state

pytestmark = pytest.mark.asyncio(loop_scope="module")

_MOST_CASES = 80

MADE: list[History] = []
"""All that was written by these tests: what the figures must be of."""


@pytest.fixture(scope="module", autouse=True)
def impatient() -> Iterator[None]:
    """Waits that are right for a platform under load are long for one that has nothing to do."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (live, turning):
            patch.setattr(module, "KEPT_SECONDS", 1.0)
        for module in (live, alone):
            patch.setattr(module, "SILENT_SECONDS", 3.0)
        yield


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Room]:
    folder = tmp_path_factory.mktemp("rebuild")
    with own_kafka(folder / "kafka") as kafka_url, own_store(folder / "store") as mongo_url:
        async with room(kafka_url, mongo_url, folder) as one:
            yield one


def made(count: int) -> list[Event]:
    """The events of new cases, which are counted from now on."""
    new = [history(len(MADE) + number, steps=6, start=START) for number in range(count)]
    MADE.extend(new)
    return [event for one in new for event in one.events]


def expected() -> Figures:
    return recount.figures_of(state(one) for one in MADE)


async def until_counted(place: Room, running: Running) -> None:
    """Wait until the live figures are those of all that was written."""
    await running.until_current()
    assert recount.differences(await place.figures(), expected()) == []


async def test_readers_never_see_less_while_the_log_grows_and_the_generation_changes(
    place: Room,
) -> None:
    await place.write(made(24))
    seen: list[int] = []
    is_over = asyncio.Event()

    async def read(*processes: Running) -> None:
        while not is_over.is_set():
            for process in processes:
                seen.append(await process.accepted())
                checks = (await process.client.get("/health/ready")).json()["checks"]
                assert checks["begun"]["ok"], checks
                assert checks["applying"]["ok"], checks
            await asyncio.sleep(0.05)

    async def grow() -> None:
        while not is_over.is_set() and len(MADE) < _MOST_CASES:
            await place.write(made(1))
            await asyncio.sleep(0.1)

    async with place.running() as one, place.running("reporting-2") as other:
        await until_counted(place, one)
        before = len(MADE)
        async with asyncio.TaskGroup() as group:
            group.create_task(read(one, other))
            group.create_task(grow())
            outcome = await place.rebuild()
            is_over.set()
        assert len(MADE) > before
        assert seen == sorted(seen)
        await until_counted(place, other)
        assert (await one.get("/v1/recount")).json()["is_equal"] is True

    assert (outcome.old.number, outcome.new.number) == (1, 2)
    assert (await place.live()).number == 2
    assert outcome.differences == ()
    assert outcome.compared > 0
    assert outcome.processes == 2
    assert [one.number for one in outcome.dropped] == [1]
    assert await place.store.collection("cases").find_one({}) is None
    assert {step.stage for step in place.steps} == set(Stage)


async def test_damaged_figures_are_healed_and_the_difference_is_named(place: Room) -> None:
    async with place.running() as running:
        await until_counted(place, running)
        database = place.store.beside((await place.live()).database)
        page = await database.collection("figures").find_one({})
        assert page is not None
        cell = next(cell for cell in page["cells"] if cell["n"].get("accepted"))
        was = cell["n"]["accepted"]
        cell["n"]["accepted"] = was + 7
        await database.collection("figures").replace_one({"_id": page["_id"]}, page)
        damaged = await running.accepted()

        outcome = await place.rebuild()

        assert await running.accepted() == damaged - 7
        await until_counted(place, running)
    (difference,) = outcome.differences
    assert (list(difference.bucket), difference.counter) == (cell["bucket"], "accepted")
    assert difference.counted - difference.recounted == 7


KILLS = {
    "while it reads": """
def on_step(step):
    if step.stage is Stage.READING and step.done:
        die()
""",
    "with the live generation closed": "Generations.turn = die",
    "before it drops the old one": """
async def follow_and_drop(*_):
    die()
from deploy.recovery import rebuild as module
module.follow_and_drop = follow_and_drop
""",
}


@pytest.mark.parametrize("when", KILLS)
async def test_a_rebuild_that_was_killed_harms_nobody_and_is_gone_on_with(
    place: Room, when: str
) -> None:
    async with place.running() as running:
        await until_counted(place, running)
        before = await place.live()

        await place.killed_when(KILLS[when] + "\nasyncio.run(rebuild())")

        has_turned = when == "before it drops the old one"
        assert (await place.live()).number == before.number + has_turned
        await place.write(made(3))
        await until_counted(place, running)

        outcome = await place.rebuild()

        assert outcome.had_turned is has_turned
        assert (await place.live()).number == before.number + 1
        assert [one.number for one in outcome.dropped] == [before.number]
        await until_counted(place, running)
    assert await place.generations.building() is None


async def test_of_two_rebuilds_at_once_the_second_is_refused(place: Room) -> None:
    async with place.running() as running:
        first = asyncio.create_task(place.rebuild())
        async with asyncio.timeout(30):
            while await place.generations.building() is None:
                await asyncio.sleep(0.05)

        with pytest.raises(RebuildError, match="another rebuild") as refused:
            await place.rebuild()

        assert "\n" not in str(refused.value)
        await first
        await until_counted(place, running)


async def unreadable(place: Room, seed: int) -> str:
    """Put a record on the log that nobody can read; returns the id of its letter to be."""
    event = history(seed, steps=0, closes=False, start=START).events[0]
    headers = [(name, text.encode()) for name, text in event.headers().items()]
    at = await place.producer.send_and_wait(
        REQUESTS, b"{", event.key, event.partition, headers=headers
    )
    return f"reporting/{REQUESTS}-{event.partition}-{at.offset}"


async def letters(place: Room) -> tuple[dict[str, State], int]:
    """What lies among reporting's dead letters, and how many records stand there."""
    async with repairing(place.kafka_url, place.mongo_url) as repair:
        found = {line.entry.id: line.entry.state for line in await repair.look()}
    async with Log(place.kafka_url) as log:
        topic = dead_letters("reporting")
        return found, (await log.ends([topic]))[TopicPartition(topic, 0)]


async def test_what_was_put_aside_is_not_put_aside_again_and_what_was_given_up_stays_away(
    place: Room,
) -> None:
    async with place.running() as running:
        stays, given_up = await unreadable(place, 9_001), await unreadable(place, 9_002)
        await until_counted(place, running)
        act = Act(at=START, by="an operator", why="a test")
        async with repairing(place.kafka_url, place.mongo_url) as repair:
            await repair.discard(chosen(await repair.look(), [given_up]), act)
        before = await letters(place)
        assert before[0] == {stays: State.OPEN}

        outcome = await place.rebuild()

        assert outcome.put_aside == 0
        assert await letters(place) == before
        await until_counted(place, running)


async def test_a_retry_after_a_rebuild_looks_at_the_group_of_the_live_generation(
    place: Room,
) -> None:
    (id_,) = (await letters(place))[0]
    async with (
        place.running(),
        repairing(place.kafka_url, place.mongo_url) as repair,
    ):
        act = Act(at=START, by="an operator")
        (outcome,) = await repair.retry(chosen(await repair.look(), [id_]), act, wait_s=30)
    assert outcome.result is Result.FAILED_AGAIN


async def test_a_dry_run_says_what_would_be_read_and_the_command_says_what_came_of_it(
    place: Room,
) -> None:
    before = await place.live()
    async with Log(place.kafka_url) as log:
        ends = await log.ends(CASE_TOPICS)

    code, output, errors = await place.command("--dry-run", "--json")

    assert (code, errors) == (0, "")
    plan = json.loads(output)
    assert sum(plan["records"].values()) == sum(ends.values())
    assert plan["live"]["number"] == before.number
    assert await place.live() == before
    assert await place.generations.building() is None
    new = place.store.beside(plan["new"]["database"])
    assert await new.collection("progress").find_one({}) is None

    code, output, errors = await place.command("--keep-old")

    assert code == 0, errors
    assert f"第 {before.number + 1} 代" in output
    assert f"{len(MADE):,} 件" in output
    assert "重新计数：全部相等" in output
    assert "全部相等" in output.partition("与旧的一代比较")[2]
    kept = Projection(place.store.beside(before.database))
    assert recount.differences(await kept.figures(None, None), expected()) == []
    assert recount.differences(await place.figures(), expected()) == []


async def test_a_run_that_was_taken_for_dead_can_no_longer_turn(place: Room) -> None:
    generations = Generations(place.store.beside("test_generations"))
    new = generations.after(1)
    slow = await generations.take_up(new, None, START)
    with pytest.raises(Stale):
        await generations.take_up(new, None, START)
    closed = await generations.close(await generations.live(), slow.run)

    quick = await generations.take_up(new, await generations.building(), START)
    opened = await generations.open_again(await generations.live())

    with pytest.raises(Stale):
        await generations.beat(slow.run)
    with pytest.raises(Stale):
        await generations.turn(closed, new, START)
    await generations.turn(await generations.close(opened, quick.run), new, START)
    turned = await generations.live()
    assert (turned.generation.number, [one.number for one in turned.retired]) == (2, [1])
    await place.store.beside("test_generations").drop()


async def test_a_release_that_cannot_read_the_log_is_not_turned_to(place: Room) -> None:
    """The last one here: after it the log is bad for whoever reads it."""
    before = await place.live()
    for _ in range(25):
        await unreadable(place, 9_003)

    with pytest.raises(RebuildError, match="cannot read"):
        await place.rebuild()

    assert await place.live() == before
    left = await place.generations.building()
    assert left is not None
    assert left.run == LAID_DOWN
