"""A play: a story through a running platform, everybody a client of its public API and feeds."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from contracts.profile import Profile
from deploy.simulators.calls import Calls
from deploy.simulators.citizens import Citizens
from deploy.simulators.departments import HttpReplies, Replies, read_feed
from deploy.simulators.desk import Clerks, Desk
from deploy.simulators.grouping import form_groups
from deploy.simulators.handoffs import Department
from deploy.simulators.hotline import Gateway
from deploy.simulators.pace import Figures, Pace
from deploy.simulators.plans import plans_of
from deploy.simulators.receiver import Receiver, ReceiverServer
from deploy.simulators.room import Journal, Room
from deploy.simulators.stories.story import Story, StoryRequest

CHANNEL = "app"
REPLY_BY_HTTP = frozenset({"education", "finance"})
"""Departments that read their feed and reply by HTTP, as one does that has no producer."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A running platform as its clients know it: addresses, tokens by kind and name, and the keys
    by which receivers check webhooks."""

    kafka_url: str
    services: Mapping[str, str]
    tokens: Mapping[str, Mapping[str, str]]
    webhook_keys: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a play, as its clients saw it."""

    room: Room
    figures: Figures
    seconds: float
    retries: int
    refusals: int
    repeated_messages: int
    unsigned_messages: int


class _Over(Exception):
    """The play is over: everybody goes home."""


@dataclass
class Play:
    """A story, or its first requests, on a platform. `folder` gets the clients' journals."""

    platform: Platform
    profile: Profile
    story: Story
    requests: Sequence[StoryRequest]
    server: ReceiverServer
    folder: Path
    console: Console
    _stack: AsyncExitStack = field(init=False, default_factory=AsyncExitStack)
    _calls: list[Calls] = field(init=False, default_factory=list)
    _receivers: list[Receiver] = field(init=False, default_factory=list)
    _room: Room = field(init=False)
    _desk: Desk = field(init=False)

    def __post_init__(self) -> None:
        self._room = Room(plans_of(self.story, self.requests))

    async def run(self, seconds: float) -> Played:
        """Play until every case is closed and the figures stand still.

        Raises TooSlow when that takes longer, NotAccepted when intake refuses a request.
        """
        async with self._stack:
            self._desk = await self._staff_desk()
            began = time.monotonic()
            try:
                figures = await self._until_over(seconds)
            except ExceptionGroup as group:
                raise _first_of(group) from group
            return Played(
                room=self._room,
                figures=figures,
                seconds=time.monotonic() - began,
                retries=sum(calls.retries for calls in self._calls),
                refusals=self._desk.refusals,
                repeated_messages=sum(one.counts["repeated"] for one in self._receivers),
                unsigned_messages=sum(one.counts["unsigned"] for one in self._receivers),
            )

    async def _until_over(self, seconds: float) -> Figures:
        figures: Figures = {}
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._desk.publish_policies(self.story))
                tasks.create_task(self.server.serve())
                await self._staff_departments(tasks)
                citizens = await self._citizens(tasks)
                tasks.create_task(self._desk.run())
                tasks.create_task(self._form_groups())
                tasks.create_task(citizens.ask(self._room.plans.values()))
                figures = await self._watch(seconds)
                raise _Over
        except* _Over:
            pass
        return figures

    async def _watch(self, seconds: float) -> Figures:
        reporting = await self._client("reporting", self.platform.tokens["operator"])
        rated = sum(
            one.path.rounds[-1].feedback.level is not None
            for one in self.requests
            if one.path.rounds
        )
        room = self._room
        pace = Pace(reporting, len(self.requests), rated, lambda: len(room.accepted), self.console)
        with pace:
            return await pace.until_over(seconds, self._is_over)

    def _is_over(self, totals: Figures) -> bool:
        """All are closed, and who is told by callback was told so."""
        is_told = all(steps["closed"] for steps in self._room.steps.values())
        count = totals["accepted"]
        return is_told and count >= len(self.requests) and totals["closed"] == count

    async def _client(self, service: str, tokens: Mapping[str, str], name: str = "") -> Calls:
        token = tokens[name] if name else next(iter(tokens.values()))
        return await self._enter(Calls(self.platform.services[service], token=token))

    async def _enter(self, calls: Calls) -> Calls:
        self._calls.append(calls)
        return await self._stack.enter_async_context(calls)

    def _journal(self, name: str) -> Journal:
        return self._stack.enter_context(Journal(self.folder / f"{name}.jsonl"))

    async def _staff_desk(self) -> Desk:
        tokens = self.platform.tokens
        supervisor = next(iter(tokens["supervisor"]))
        triage = {
            person: await self._client("triage", tokens[kind], person)
            for kind in ("desk", "supervisor")
            for person in tokens[kind]
        }
        notify = {
            person: await self._client("notify", tokens["desk"], person)
            for person in tokens["desk"]
        }
        return Desk(self._room, self.profile, Clerks(triage, notify, supervisor))

    async def _form_groups(self) -> None:
        played = {request.external_id for request in self.requests}
        groups = [
            (group, [one for one in self.story.members(group.code) if one.external_id in played])
            for group in self.story.groups
        ]
        calls = next(iter(self._desk.clerks.triage.values()))
        await form_groups(self._room, calls, [(group, own) for group, own in groups if own])

    async def _citizens(self, tasks: asyncio.TaskGroup) -> Citizens:
        citizens = Citizens(
            room=self._room,
            intake=await self._client("intake", self.platform.tokens["channel"], CHANNEL),
            lookup=await self._enter(Calls(self.platform.services["reporting"])),
            callback_url=self.server.url(CHANNEL),
            asked=self._journal("accepted"),
            told=self._journal("told"),
            tasks=tasks,
        )
        self._receive(
            CHANNEL, Receiver(self.platform.webhook_keys[CHANNEL], citizens.take_callback)
        )
        return citizens

    async def _staff_departments(self, tasks: asyncio.TaskGroup) -> None:
        replies = Replies(self.platform.kafka_url)
        await replies.start()
        self._stack.push_async_callback(replies.stop)
        arrivals = self._journal("arrivals")
        tokens = self.platform.tokens["department"]
        for one in self.profile.departments:
            takes_feed = one.transport == "feed"
            if takes_feed and one.code not in REPLY_BY_HTTP:
                department = Department(one.code, self._room, replies, arrivals, tasks)
            else:
                by_http = HttpReplies(await self._client("notify", tokens, one.code))
                department = Department(one.code, self._room, by_http, arrivals, tasks)
            if takes_feed:
                tasks.create_task(read_feed(self.platform.kafka_url, department))
            else:
                key = self.platform.webhook_keys[one.code]
                self._receive(one.code, Receiver(key, Gateway(department)))

    def _receive(self, name: str, receiver: Receiver) -> None:
        self._receivers.append(receiver)
        self.server.add(name, receiver)


def _first_of(group: ExceptionGroup[Exception]) -> Exception:
    """Return the error that ended a play: the others are what it took along."""
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, ExceptionGroup) else first
