"""Desk, departments and citizens who bring the replayed cases to their end, and touch no others.

They are the simulators of the demonstration without a story: consultations are answered, all else
is handed over, signed and resolved, every citizen is content, red cases are visited. What is to be
done they read from the same addresses as everybody: the desk's queue, feeds, open hand-offs, the
lookup with number and code.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from contracts.feeds import FeedHandoff
from contracts.profile import Profile
from deploy.replay.account import Taken
from deploy.simulators.calls import Calls
from deploy.simulators.departments import HttpReplies, Replies, read_feed
from deploy.simulators.desk import Clerks, Desk
from deploy.simulators.handoff_script import Say
from deploy.simulators.handoffs import Department, Reply
from deploy.simulators.room import Journal, Room

CHANNEL = "app"
_LOOK_EVERY_SECONDS = 0.4
_QUIET_LOOKS = 4
_QUEUE_LENGTH = 200
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 1.0, 8.0
_LONGEST_WITHOUT_LOOK_SECONDS = 60.0
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
    spoken: set[str] = field(default_factory=set)
    """Cases of which the citizen has said the last word: rated, or found closed."""
    _acted: dict[str, asyncio.Event] = field(default_factory=dict)
    _early: dict[str, dict[str, Callable[[], None]]] = field(default_factory=dict)

    def add(self, taken: Taken) -> None:
        """Enter an accepted case, and do what came too early for it."""
        self.taken[taken.case_no] = taken
        if not taken.is_new:  # whatever an earlier replay did with it is done
            self.acted(taken.case_no)
        for do in self._early.pop(taken.case_no, {}).values():
            do()

    def when_ours(self, case_no: str, what: str, do: Callable[[], None]) -> None:
        """Do something about a case as soon as it is known to be of this replay; of the same
        `what` the last."""
        if case_no in self.taken:
            do()
        else:
            self._early.setdefault(case_no, {})[what] = do

    def acted(self, case_no: str) -> None:
        """Note that desk or department did something after which the citizen may look."""
        self._acted.setdefault(case_no, asyncio.Event()).set()

    async def until_acted(self, case_no: str, seconds: float) -> None:
        """Wait for that, but not for ever."""
        acted = self._acted.setdefault(case_no, asyncio.Event())
        try:
            async with asyncio.timeout(seconds):
                await acted.wait()
        except TimeoutError:
            return


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
        """Work until all requests were asked and no case waits for anybody, or until cancelled."""
        async with self._stack:
            try:
                async with asyncio.TaskGroup() as tasks:
                    await self._staff_departments(tasks)
                    tasks.create_task(self._citizens(tasks))
                    await self._work_queue(await self._desk(), tasks)
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
            reply: Reply = replies if takes_feed else HttpReplies(calls)
            department = _OwnDepartment(one.code, self._room, self._noting(reply), arrivals, tasks)
            department.ours = self.ours
            if takes_feed:
                tasks.create_task(read_feed(self.entrance.kafka_url, department))
                tasks.create_task(_poll(calls, department, for_ever=False))
            else:
                tasks.create_task(_poll(calls, department, for_ever=True))

    def _noting(self, reply: Reply) -> Reply:
        """Return what replies and then lets the citizen look."""

        async def say(handoff: FeedHandoff, said: Say) -> None:
            await reply(handoff, said)
            if said.act == "result":
                self.ours.acted(handoff.case_no)

        return say

    async def _work_queue(self, desk: Desk, tasks: asyncio.TaskGroup) -> None:
        """Do what waits for the desk, until nothing does, nobody works, and all have spoken."""
        calls = desk.clerks.triage[desk.clerks.supervisor]
        quiet = 0
        while quiet < _QUIET_LOOKS:
            answer = await calls.get(f"/v1/desk/queue?limit={_QUEUE_LENGTH}")
            waiting = [case["case_no"] for case in answer.document.get("cases", ())]
            own = [no for no in waiting if no in self.ours.taken]
            for case_no in own:
                if case_no not in self._busy:
                    self._busy.add(case_no)
                    tasks.create_task(self._attend(case_no, desk))
            self.on_look()
            have_spoken = self.all_asked.is_set() and self.ours.spoken >= self.ours.taken.keys()
            quiet = quiet + 1 if have_spoken and not own and not self._busy else 0
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def _attend(self, case_no: str, desk: Desk) -> None:
        await desk.attend(case_no)
        self._busy.discard(case_no)
        self.ours.acted(case_no)

    async def _citizens(self, tasks: asyncio.TaskGroup) -> None:
        """Let a citizen begin for every case, as it is accepted."""
        lookup = await self._enter(self.entrance.calls("reporting"))
        intake = await self._enter(self.entrance.calls("intake", "channel", CHANNEL))
        slots = asyncio.Semaphore(_CITIZENS_AT_ONCE)
        begun = 0
        while not (self.all_asked.is_set() and begun == len(self.ours.taken)):
            for case_no in list(self.ours.taken)[begun:]:
                begun += 1
                tasks.create_task(self._speak(case_no, lookup, intake, slots))
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def _speak(
        self, case_no: str, lookup: Calls, intake: Calls, slots: asyncio.Semaphore
    ) -> None:
        """A citizen looks the case up with its code once something was done, now and then until it
        is told, and says that it is solved."""
        code = {_CODE: self.ours.taken[case_no].code}
        await self.ours.until_acted(case_no, _LONGEST_WITHOUT_LOOK_SECONDS)
        wait = _FIRST_WAIT_SECONDS
        while case_no not in self.ours.spoken:
            async with slots:
                seen = (await lookup.get(f"/v1/cases/{case_no}", code)).document
                if seen.get("status") in ("finished", "closed"):
                    self.ours.finished.add(case_no)
                if seen.get("rating_awaited"):
                    await self._rate(case_no, seen["round"], intake, code)
                elif seen.get("status") == "closed":
                    self.ours.spoken.add(case_no)
            await asyncio.sleep(wait)
            wait = min(wait * 1.6, _LONGEST_WAIT_SECONDS)

    async def _rate(
        self, case_no: str, round_: int, intake: Calls, code: Mapping[str, str]
    ) -> None:
        key = f"{self.ours.taken[case_no].line.key}-rating-{round_}"
        path = f"/v1/requests/{case_no}/rating"
        if (await intake.post(path, _CONTENT, key=key, headers=code)).is_taken:
            self.ours.spoken.add(case_no)


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
