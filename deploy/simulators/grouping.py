"""The desk forms the story's groups: once every member is a case, those that are still open."""

import asyncio
from collections.abc import Iterable, Sequence

from deploy.simulators.calls import Calls
from deploy.simulators.case_view import CaseShown
from deploy.simulators.room import Grouped, Room
from deploy.simulators.stories.story import StoryGroup, StoryRequest

_SMALLEST = 2
_TRIES = 5
_LOOK_EVERY_SECONDS = 0.3


async def form_groups(
    room: Room, calls: Calls, groups: Iterable[tuple[StoryGroup, Sequence[StoryRequest]]]
) -> None:
    """Form every group of the story that has two open members at least."""
    async with asyncio.TaskGroup() as tasks:
        for group, members in groups:
            tasks.create_task(_form(room, calls, group, members))


async def _form(
    room: Room, calls: Calls, group: StoryGroup, members: Sequence[StoryRequest]
) -> None:
    """A member that the rules have handed over already goes its own way; the first of the others
    leads."""
    numbers = [await _number(room, member.external_id) for member in members]
    formed = Grouped(None)
    for attempt in range(1, _TRIES + 1):
        cases = [await _case(calls, number) for number in numbers]
        free = [one.case_no for one in cases if one.phase == "open" and one.group_id is None]
        if len(free) < _SMALLEST:
            break
        answer = await calls.post(
            "/v1/desk/groups",
            {"kind": group.kind.value, "members": free, "reasons": [group.title]},
            key=f"group/{group.code}/{numbers[0]}/{attempt}",
        )
        if answer.is_taken:
            formed = Grouped(answer.document["group_id"], free[0], frozenset(free))
            break
    room.groups[group.code] = formed
    for number in numbers:
        room.ask_desk(number)


async def _number(room: Room, external_id: str) -> str:
    while True:
        await room.until(external_id, lambda: room.case_of(external_id) is not None)
        if (number := room.case_of(external_id)) is not None:
            return number


async def _case(calls: Calls, case_no: str) -> CaseShown:
    while True:
        answer = await calls.get(f"/v1/desk/cases/{case_no}")
        if answer.is_taken:
            return CaseShown.read(answer.document)
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
