"""Desk, departments and citizens who bring the replayed cases to their end, and touch no others.

They are the simulators of the demonstration without a story: consultations are answered, all else
is handed over, signed and resolved, every citizen is content, red cases are visited. What is to be
done they read from the same addresses as everybody: feeds, open hand-offs, reporting's list.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contracts.feeds import FeedHandoff
from contracts.profile import Profile
from deploy.replay.account import Taken
from deploy.simulators.calls import Calls
from deploy.simulators.departments import HttpReplies, Replies, read_feed
from deploy.simulators.desk import Clerks, Desk
from deploy.simulators.handoffs import Department
from deploy.simulators.room import Journal, Room

CHANNEL = "app"
_LOOK_EVERY_SECONDS = 1.0
_POLL_EVERY_SECONDS = 0.5
_MOST_OPEN = 1_000
_CITIZENS_AT_ONCE = 16
_CODE = "Retrieval-Code"
_CONTENT = {"level": 5, "solved": True}


@dataclass(frozen=True, slots=True)
class Entrance:
    """How clients get into the platform: where it answers, and their tokens by kind and name."""

    kafka_url: str
    services: Mapping[str, str]
    tokens: Mapping[str, Mapping[str, str]]

    def calls(self, service: str, kind: str | None = None, name: str | None = None) -> Calls:
        """Return a client of a service: anybody's, one kind's, or one person's."""
        if kind is None:
            return Calls(self.services[service])
        own = self.tokens[kind]
        token = own[name] if name is not None else next(iter(own.values()))
        return Calls(self.services[service], token=token, at_once=64)


@dataclass(slots=True)
class Ours:
    """Which cases are of this replay, and how far each is.

    A hand-off can be faster than the answer to the request that it comes from: it is kept until
    that is known.
    """

    taken: dict[str, Taken] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    closed: set[str] = field(default_factory=set)
    rated: set[str] = field(default_factory=set)
    _early: dict[str, dict[str, Callable[[], None]]] = field(default_factory=dict)

    def add(self, taken: Taken) -> None:
        """Enter an accepted case, and do what came too early for it."""
        self.taken[taken.case_no] = taken
        for do in self._early.pop(taken.case_no, {}).values():
            do()

    def when_ours(self, case_no: str, what: str, do: Callable[[], None]) -> None:
        """Do something about a case as soon as it is known to be of this replay; of the same
        `what` the last."""
        if case_no in self.taken:
            do()
        else:
            self._early.setdefault(case_no, {})[what] = do

    @property
    def open(self) -> int:
        """How many are not closed."""
        return len(self.taken) - len(self.closed)


class _GoneHome(Exception):
    """The work is done."""


@dataclass
class Crowd:
    """Everybody at work. `all_asked` says that no more requests will come."""

    entrance: Entrance
    profile: Profile
    ours: Ours
    journals: Path
    on_look: Callable[[], None]
    all_asked: asyncio.Event = field(default_factory=asyncio.Event)
    _room: Room = field(default_factory=lambda: Room({}))
    _busy: set[str] = field(default_factory=set)
    _stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def work(self) -> None:
        """Work until all requests were asked and every case is closed, or until cancelled."""
        async with self._stack:
            try:
                async with asyncio.TaskGroup() as tasks:
                    await self._staff_departments(tasks)
                    desk = await self._desk()
                    await self._look_after(desk, tasks)
                    raise _GoneHome
            except* _GoneHome:
                pass

    async def _enter(self, calls: Calls) -> Calls:
        return await self._stack.enter_async_context(calls)

    async def _desk(self) -> Desk:
        tokens = self.entrance.tokens
        triage = {
            person: await self._enter(self.entrance.calls("triage", kind, person))
            for kind in ("desk", "supervisor")
            for person in tokens[kind]
        }
        notify = {
            person: await self._enter(self.entrance.calls("notify", "desk", person))
            for person in tokens["desk"]
        }
        supervisor = next(iter(tokens["supervisor"]))
        return Desk(self._room, self.profile, Clerks(triage, notify, supervisor))

    async def _staff_departments(self, tasks: asyncio.TaskGroup) -> None:
        replies = Replies(self.entrance.kafka_url)
        await replies.start()
        self._stack.push_async_callback(replies.stop)
        arrivals = self._stack.enter_context(Journal(self.journals / "arrivals.jsonl"))
        for one in self.profile.departments:
            calls = await self._enter(self.entrance.calls("notify", "department", one.code))
            takes_feed = one.transport == "feed"
            reply = replies if takes_feed else HttpReplies(calls)
            department = _OwnDepartment(one.code, self._room, reply, arrivals, tasks)
            department.ours = self.ours
            if takes_feed:
                tasks.create_task(read_feed(self.entrance.kafka_url, department))
                tasks.create_task(_poll(calls, department, for_ever=False))
            else:
                tasks.create_task(_poll(calls, department, for_ever=True))

    async def _look_after(self, desk: Desk, tasks: asyncio.TaskGroup) -> None:
        """See again and again which cases wait for the desk or for their citizen's word."""
        operator = await self._enter(self.entrance.calls("reporting", "operator"))
        lookup = await self._enter(self.entrance.calls("reporting"))
        intake = await self._enter(self.entrance.calls("intake", "channel", CHANNEL))
        slots = asyncio.Semaphore(_CITIZENS_AT_ONCE)
        while not (self.all_asked.is_set() and self.ours.open == 0):
            began = time.monotonic()
            async for case in _cases(operator):
                case_no = case["case_no"]
                if case_no not in self.ours.taken or case_no in self._busy:
                    continue
                self._note(case_no, case["status"])
                if case["tasks"]:
                    self._begin(case_no, desk.attend(case_no), tasks)
                elif case["status"] == "finished" and case_no not in self.ours.rated:
                    self._begin(case_no, self._speak(case_no, lookup, intake, slots), tasks)
            self.on_look()
            await asyncio.sleep(max(_LOOK_EVERY_SECONDS, 2 * (time.monotonic() - began)))

    def _note(self, case_no: str, status: str) -> None:
        if status in ("finished", "closed"):
            self.ours.finished.add(case_no)
        if status == "closed":
            self.ours.closed.add(case_no)

    def _begin(
        self, case_no: str, work: Coroutine[Any, Any, None], tasks: asyncio.TaskGroup
    ) -> None:
        self._busy.add(case_no)

        async def do() -> None:
            await work
            self._busy.discard(case_no)

        tasks.create_task(do())

    async def _speak(
        self, case_no: str, lookup: Calls, intake: Calls, slots: asyncio.Semaphore
    ) -> None:
        """A citizen looks the case up with its code, and says that it is solved."""
        taken = self.ours.taken[case_no]
        async with slots:
            seen = await lookup.get(f"/v1/cases/{case_no}", {_CODE: taken.code})
            if not seen.document.get("rating_awaited"):
                return
            round_ = seen.document["round"]
            answer = await intake.post(
                f"/v1/requests/{case_no}/rating",
                _CONTENT,
                key=f"{taken.line.key}-rating-{round_}",
                headers={_CODE: taken.code},
            )
            if answer.is_taken:
                self.ours.rated.add(case_no)


@dataclass(slots=True)
class _OwnDepartment(Department):
    """A department that leaves alone what is not of this replay."""

    ours: Ours = field(default_factory=Ours)

    def arrive(self, handoff: FeedHandoff) -> None:
        """Take a hand-off once its case is known to be of this replay."""
        self.ours.when_ours(
            handoff.case_no, handoff.handoff_id, lambda: Department.arrive(self, handoff)
        )


async def _poll(calls: Calls, department: Department, *, for_ever: bool) -> None:
    """Take a department's open hand-offs from its list, as one without a feed or server does; once
    is for what an interrupted replay has read from the feed and not answered."""
    while True:
        answer = await calls.get(f"/v1/handoffs?limit={_MOST_OPEN}")
        for shown in answer.document.get("handoffs", ()):
            department.arrive(FeedHandoff.model_validate(shown))
        if not for_ever:
            return
        await asyncio.sleep(_POLL_EVERY_SECONDS)


async def _cases(operator: Calls) -> AsyncIterator[dict[str, Any]]:
    """Yield all cases as reporting lists them, page by page."""
    after: str | None = ""
    while after is not None:
        page = (await operator.get(f"/v1/audit/cases?after={after}")).document
        for case in page["cases"]:
            yield case
        after = page["next"]


def still_open(ours: Ours) -> Iterable[str]:
    """Return the cases that did not come to their end."""
    return sorted(ours.taken.keys() - ours.closed)
