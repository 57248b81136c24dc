"""What a story foresees for one case, as the simulators ask for it."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from deploy.simulators.stories.story import (
    Feedback,
    Order,
    PathKind,
    Round,
    Story,
    StoryRequest,
    StoryResult,
)

_CONTENT = Feedback(by="citizen", level=5, solved=True)
"""What the citizen says of a round that the story does not foresee: it was solved after all."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of a request. `leader` is the leading request of its group, else itself."""

    request: StoryRequest
    leader: StoryRequest

    def round(self, number: int) -> Round | None:
        """Return a round, None beyond the last that is foreseen."""
        rounds = self.request.path.rounds
        return rounds[number] if number < len(rounds) else None

    def order(self, number: int) -> Order | None:
        """Return the hand-off of a round. A member of a group that is dealt with alone after all
        goes the way of the leading one."""
        if number == 0 and self.request.path.kind is PathKind.GROUPED:
            return self.leader.path.rounds[0].order
        played = self.round(number)
        return played.order if played is not None else None

    def feedback(self, number: int) -> Feedback:
        """Return what the citizen says of a round."""
        played = self.round(number)
        return played.feedback if played is not None else _CONTENT

    def target(self, number: int, returned_by: Collection[str]) -> str | None:
        """Return to which department the desk gives a round now, None if it gives it to none."""
        order = self.order(number)
        if order is not None:
            untried = [code for code in order.tried if code not in returned_by]
            return untried[0] if untried else order.department
        withdrawal = self.request.path.withdrawal
        return withdrawal.department if withdrawal is not None and number == 0 else None

    def result(self, number: int, department: str, *, assists: bool) -> StoryResult | None:
        """Return what a department did in a round, None if the story has no words for it."""
        order = self.order(number)
        if order is None:
            return None
        if not assists:
            return order.result
        return next((one.result for one in order.assists if one.department == department), None)

    def answer(self, number: int) -> str | None:
        """Return the answer of a round."""
        played = self.round(number)
        return played.answer if played is not None else None

    def inquiries_until(self, number: int) -> int:
        """Return how many inquiries there are up to and with a round."""
        return sum(one.inquiry is not None for one in self.request.path.rounds[: number + 1])


def plans_of(story: Story, requests: Iterable[StoryRequest]) -> dict[str, Plan]:
    """Return the plans of these requests by the channel's own number."""
    leaders = {group.code: story.members(group.code)[0] for group in story.groups}
    return {
        request.external_id: Plan(request, leaders.get(request.path.group or "", request))
        for request in requests
    }
