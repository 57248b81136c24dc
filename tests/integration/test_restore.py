"""Triage's and notify's databases, lost and restored from their own topics: row for row as they
were, after which both go on and nothing is decided or sent a second time."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from contracts import requests as r
from contracts.envelope import Event
from contracts.lifecycle import state_of
from deploy.recovery.restore import restoring
from deploy.recovery.restored import Outcome, RestoreError
from services.chassis.fence import DatabaseGone, Fence
from services.chassis.store import Store
from services.triage.store import TriageStore
from tests.integration.notify_room import write
from tests.integration.restore_town import (
    BLUE,
    HOTLINE,
    ORANGE,
    Row,
    Town,
    departments,
    eventually,
    town,
)
from tests.notify_story import CaseStory
from tests.servers.own import own_kafka

OF_CASES = ("cases", "groups", "handoffs", "deliveries", "parked")
NOT_RESTORED = frozenset({"leased_by", "last_failure", "fanned_out", "since"})
"""Leases, what an attempt failed by, whether a group has reached all members (looked at again),
and since when a wish has been parked."""
OF_AN_ATTEMPT = frozenset({"attempts", "next_due"})


@pytest.fixture(scope="module")
def empty_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker whose topics nobody else writes to: a topic is restored whole."""
    with own_kafka(tmp_path_factory.mktemp("restore-kafka")) as url:
        yield url


@pytest_asyncio.fixture
async def place(
    empty_kafka: str, mongo_url: str, tmp_path: Path, unique_name: Callable[[str], str]
) -> AsyncIterator[Town]:
    async with town(empty_kafka, mongo_url, tmp_path, unique_name("r")) as made:
        yield made


class Lives:
    """The cases of a town, each at another point of its life."""

    async def live(self, place: Town) -> None:
        """Bring all of them to their points."""
        await asyncio.gather(
            self._answered(place),
            self._told_by_lookup(place),
            self._in_progress(place),
            self._resolved(place),
            self._returned(place),
            self._at_the_hotline(place),
            self._withdrawn(place),
            self._grouped(place),
            self._untold(place),
            self._erased(place),
            self._early_word(place),
        )
        policy = {"title": "返乡", "text": "返乡需报备。", "source": "防指", "category": "policy"}
        await place.acts("policies/p-1", {**policy, "valid_from": "2022-01-10T00:00:00Z"})
        await place.acts(f"cases/{self.answered}/claim", {})

    async def _answered(self, place: Town) -> None:
        self.answered = await place.submits(BLUE)
        await place.becomes(self.answered, "open")
        await place.acts(f"cases/{self.answered}/reclassify", {"why": "试", "category": "policy"})
        await place.acts(f"cases/{self.answered}/answer", {"text": "居家监测七天"})
        await place.becomes(self.answered, "finished")
        await place.rates(self.answered)
        await place.becomes(self.answered, "closed")

    async def _told_by_lookup(self, place: Town) -> None:
        case_no = await place.submits(BLUE, callback=False)
        await place.becomes(case_no, "open")
        await place.acts(f"cases/{case_no}/answer", {"text": "居家监测七天"})
        await place.becomes(case_no, "finished")

    async def _in_progress(self, place: Town) -> None:
        self.in_progress = await place.submits(ORANGE)
        self.order = await place.ordered(self.in_progress)
        await place.replies(self.order, act="sign")
        await place.says(self.in_progress, r.SupplementGiven, text="在三单元")
        await place.replies(self.order, act="progress", text="已派人")
        await place.at_work.comes(
            self.in_progress, "handoff.progressed", "handoff.supplemented", "citizen.told"
        )

    async def _resolved(self, place: Town) -> None:
        case_no = await place.submits(ORANGE)
        order = await place.ordered(case_no)
        await place.replies(order, act="sign")
        await place.replies(order, act="result", text="已修好", acts="换灯", contact="社区")
        await place.becomes(case_no, "finished")

    async def _returned(self, place: Town) -> None:
        case_no = await place.submits(ORANGE)
        order = await place.ordered(case_no)
        other = next(code for code in departments() if code != order.department)
        await place.replies(order, act="return", ground="不属本单位", proper_department=other)
        await place.at_work.comes(case_no, "handoff.returned")
        await eventually(lambda: self._is_with_another(place, case_no))

    async def _is_with_another(self, place: Town, case_no: str) -> bool:
        shown = await place.shown(case_no)
        return bool(shown["tasks"]) or len(place.at_work.log.of(case_no, "handoff.sent")) == 2

    async def _at_the_hotline(self, place: Town) -> None:
        case_no = await place.submits(BLUE)
        await place.becomes(case_no, "open")
        await place.acts(f"cases/{case_no}/handoff", {"department": HOTLINE})
        await place.at_work.comes(case_no, "handoff.sent", "delivery.taken")

    async def _withdrawn(self, place: Town) -> None:
        case_no = await place.submits(ORANGE)
        await place.ordered(case_no)
        await place.says(case_no, r.WithdrawalRequested, reason="已解决")
        await place.at_work.comes(case_no, "handoff.recalled")
        await place.becomes(case_no, "closed")

    async def _grouped(self, place: Town) -> None:
        members = [await place.submits(BLUE) for _ in range(3)]
        for case_no in members:
            await place.becomes(case_no, "open")
        form = {"kind": "same_need", "members": members, "reasons": ["同一问题"]}
        group = await place.acts("groups", form)
        await place.acts(f"groups/{group['group_id']}/members", {"left": [members[2]]})
        await place.acts(f"cases/{members[0]}/answer", {"text": "不需要隔离"})
        await place.becomes(members[1], "finished")

    async def _untold(self, place: Town) -> None:
        self.untold = place.new_case()
        place.refuses.add(self.untold)
        await place.submits(BLUE, case_no=self.untold)
        await place.becomes(self.untold, "open")
        await place.acts(f"cases/{self.untold}/answer", {"text": "居家监测七天"})
        await place.at_work.comes(self.untold, "delivery.planned")

    async def _erased(self, place: Town) -> None:
        self.erased = await place.submits(BLUE)
        await place.becomes(self.erased, "open")
        await place.acts(f"cases/{self.erased}/answer", {"text": "居家监测七天"})
        await place.becomes(self.erased, "finished")
        await place.says(self.erased, r.ErasureRequested, by="operator:ops")
        await eventually(lambda: self._is_erased(place))

    async def _is_erased(self, place: Town) -> bool:
        rows = await place.rows()
        kept = [row for name in ("cases", "deliveries") for row in rows[name].values()]
        return all(row.get("redacted") for row in kept if row["case_no"] == self.erased)

    async def _early_word(self, place: Town) -> None:
        self.early = place.new_case()
        await place.says(self.early, r.SupplementGiven, text="补充：在三单元")

        async def is_parked() -> bool:
            parked = (await place.rows()).get("parked", {})
            return any(row["case_no"] == self.early for row in parked.values())

        await eventually(is_parked)


async def lose(place: Town) -> None:
    """Drop both databases."""
    async with AsyncMongoClient[Row](place.building.mongo_url) as client:
        for database in (place.database, place.building.database):
            await client.drop_database(database)


async def restore(place: Town, service: str, *, is_dry_run: bool = False) -> Outcome:
    """Restore a service that was stopped a moment ago."""
    building = place.building
    names = {
        "triage": (place.database, place.group),
        "notify": (building.database, building.name),
    }
    database, group = names[service]
    async with restoring(
        service, building.kafka_url, building.mongo_url, database=database, group=group
    ) as run:
        if is_dry_run:
            return await run.plan(lambda _step: None)
        await run.check(may_throw_away=False)
        return await run.run(lambda _step: None, held=[f"{group}-1"])


def comparable(rows: dict[str, dict[str, Row]]) -> dict[str, dict[str, Row]]:
    """What must be as it was."""
    shown: dict[str, dict[str, Row]] = {}
    for name in (*OF_CASES, "policies"):
        for id_, row in rows.get(name, {}).items():
            is_due = name == "deliveries" and row["state"] == "planned"
            left_out = NOT_RESTORED | (OF_AN_ATTEMPT if is_due else frozenset())
            own = {field: value for field, value in row.items() if field not in left_out}
            shown.setdefault(name, {})[id_] = own
    return shown


def once(events: list[Event]) -> dict[tuple[str, int], bytes]:
    """The bytes of each event and `rev`. Fails if there are two."""
    found: dict[tuple[str, int], bytes] = {}
    for event in events:
        known = found.setdefault((event.id, event.data.rev), event.encoded)
        assert known == event.encoded, f"{event.type} has two contents"
    return found


@pytest.mark.timeout(180)
async def test_every_row_is_restored_as_it_was_and_both_services_go_on(place: Town) -> None:
    lives = Lives()
    async with place.working():
        await lives.live(place)
        await eventually(place.is_quiet)
        before = await place.rows()
    told = [(call.path, call.headers["webhook-id"]) for call in place.channel.calls]
    written = once(await place.events())
    for name in (*OF_CASES, "policies", "erased", "claims"):
        assert before[name], f"nothing in {name}: too little was lived"

    await lose(place)
    planned = await restore(place, "triage", is_dry_run=True)
    assert await place.rows() == {}
    triage, notify = await restore(place, "triage"), await restore(place, "notify")
    after = await place.rows()
    assert comparable(after) == comparable(before)
    assert set(after["erased"]) == set(before["erased"]) == {lives.erased}
    assert (triage.flaws, notify.flaws, triage.conflicting, notify.conflicting) == ([], [], 0, 0)
    assert planned.documents == triage.documents
    assert triage.documents == {name: len(before[name]) for name in ("cases", "groups")}
    assert notify.documents == {name: len(before[name]) for name in ("handoffs", "deliveries")}
    assert (triage.parked, triage.policies) == (1, 1)
    assert once(await place.events()) == written

    place.refuses.clear()
    async with place.working():
        await place.becomes(lives.untold, "finished")
        await place.submits(BLUE, case_no=lives.early)
        await place.replies(lives.order, act="result", text="已修好", acts="换灯", contact="社区")
        await place.becomes(lives.in_progress, "finished")
        await place.becomes(lives.early, "open")
        await eventually(lambda: is_supplemented(place, lives.early))
        await eventually(place.is_quiet)
        assert not (await place.rows())["parked"]
    events = await place.events()
    assert once(events).items() >= written.items()
    more = {event.data.case_no for event in events if (event.id, event.data.rev) not in written}
    assert more == {lives.untold, lives.early, lives.in_progress}, "something was decided again"
    for case_no in {event.data.case_no for event in events}:
        state = state_of(case_no, [event for event in events if event.data.case_no == case_no])
        assert (state.double, state.incomplete) == ((), ()), case_no
    again = [(call.path, call.headers["webhook-id"]) for call in place.channel.calls[len(told) :]]
    assert {path.removeprefix("/") for path, _ in again} == more
    assert len(place.hotline.calls) == len({c.headers["webhook-id"] for c in place.hotline.calls})


async def is_supplemented(place: Town, case_no: str) -> bool:
    return "case.supplemented" in {
        event.type for event in await place.events() if event.data.case_no == case_no
    }


@pytest.mark.timeout(120)
async def test_a_living_database_is_not_thrown_away_and_a_half_restored_one_is_begun_anew(
    place: Town,
) -> None:
    async with place.working():
        case_no = await place.submits(BLUE)
        await place.becomes(case_no, "open")
        with pytest.raises(RestoreError, match="stop all its processes"):
            await run_without_being_told(place)
        await eventually(place.is_quiet)
        before = comparable(await place.rows())
    with pytest.raises(RestoreError, match=r"holds 1 documents: --yes throws them away"):
        await restore(place, "triage")
    assert comparable(await place.rows()) == before

    store = Store(place.building.mongo_url, place.database)
    fence = Fence(store, "triage")
    await fence.hold("one that was killed", await store.time())
    with pytest.raises(DatabaseGone, match="being restored"):
        await fence.check()
    await store.collection("cases").update_one({"_id": case_no}, {"$set": {"events": []}})
    await restore(place, "triage")
    assert comparable(await place.rows())["cases"] == before["cases"]
    await fence.check()
    store.close()


async def run_without_being_told(place: Town) -> None:
    building = place.building
    async with restoring(
        "triage",
        building.kafka_url,
        building.mongo_url,
        database=place.database,
        group=place.group,
        left_within_seconds=0.5,
    ) as run:
        await run.run(lambda _step: None)


@pytest.mark.timeout(120)
async def test_a_service_decides_nothing_on_an_empty_database_and_goes_on_when_it_is_restored(
    place: Town,
) -> None:
    async with place.working():
        case_no = await place.submits(ORANGE)
        await place.ordered(case_no)
        await eventually(place.is_quiet)
    written = once(await place.events())
    await lose(place)
    said = await place.says(case_no, r.SupplementGiven, text="补充：在三单元")
    for trouble, status in (await place.triage_waits(case_no), await place.notify_waits()):
        assert "the database is gone" in trouble
        assert status == 503
    assert once(await place.events()).keys() - written.keys() == {(said.id, 0)}
    await restore(place, "triage")
    await restore(place, "notify")
    async with place.working():
        await eventually(lambda: is_supplemented(place, case_no))
        await eventually(place.is_quiet)
    assert once(await place.events()).items() >= written.items()


@pytest.mark.timeout(60)
async def test_what_a_living_process_writes_into_an_empty_database_is_not_published(
    mongo_url: str, unique_name: Callable[[str], str]
) -> None:
    store = Store(mongo_url, unique_name("fence").replace("-", "_"))
    fence = Fence(store, "triage")
    kept = TriageStore(store, fence)

    async def nothing_before() -> bool:
        return False

    await fence.opened(nothing_before)
    assert await fence.trouble() is None
    await kept.cases.load(["unknown"])
    await store.drop()
    with pytest.raises(DatabaseGone, match="run `jieyou restore triage`"):
        await kept.cases.load(["unknown"])
    with pytest.raises(DatabaseGone):
        await fence.watch(0.01)
    assert await fence.trouble() is not None

    async def worked_before() -> bool:
        return True

    waiting = asyncio.create_task(fence.opened(worked_before, 0.05))
    await asyncio.sleep(0.3)
    assert not waiting.done()
    await Fence(store, "triage").put_up()
    await asyncio.wait_for(waiting, 5)
    await store.drop()
    store.close()


_RESTORING = """
import asyncio, sys
from deploy.recovery.restore import restoring
kafka_url, mongo_url, database, group = sys.argv[1:]
async def run():
    async with restoring("triage", kafka_url, mongo_url, database=database, group=group) as one:
        await one.run(lambda step: print(step.documents, flush=True))
asyncio.run(run())
"""
_MANY = 600


@pytest.mark.timeout(120)
async def test_a_restore_that_is_killed_leaves_a_closed_fence_and_the_next_one_begins_anew(
    place: Town,
) -> None:
    stories = [CaseStory(case_no=place.new_case()) for _ in range(_MANY)]
    for story in stories:
        story.opened()
        story.answered()
    await asyncio.gather(*(write(place.producer, story.kept.events) for story in stories))
    arguments = (place.building.kafka_url, place.building.mongo_url, place.database, place.group)
    killed = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _RESTORING, *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert killed.stdout is not None
    async for line in killed.stdout:
        if int(line) > _MANY // 4:
            break
    killed.kill()
    await killed.wait()
    store = Store(place.building.mongo_url, place.database)
    fence = Fence(store, "triage")
    with pytest.raises(DatabaseGone):
        await fence.check()
    assert len((await place.rows()).get("cases", {})) < _MANY

    await restore(place, "triage")
    await fence.check()
    cases = TriageStore(store).cases
    wanted = {story.case_no: cases.insertion(story.kept, owed_by_offset=True) for story in stories}
    assert (await place.rows())["cases"] == {
        case_no: {**row, "next_due": as_stored(row["next_due"])} for case_no, row in wanted.items()
    }
    store.close()


def as_stored(moment: datetime | None) -> datetime | None:
    """The store keeps milliseconds."""
    return moment and moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)


def test_the_rows_of_all_kinds_are_compared() -> None:
    row: dict[str, Any] = {"state": "planned", "attempts": 3, "leased_by": "x", "target": "y"}
    assert comparable({"deliveries": {"d": row}}) == {
        "deliveries": {"d": {"state": "planned", "target": "y"}}
    }
