"""The simulated gateway of a hotline (12345, 110): takes hand-offs by webhook, replies by HTTP."""

from dataclasses import dataclass
from typing import Any

from contracts.feeds import FeedHandoff
from deploy.simulators.handoffs import Department


@dataclass(frozen=True, slots=True)
class Gateway:
    """Takes the messages of one hotline; the receipt is the number under which it goes on there."""

    department: Department

    def __call__(self, message_id: str, body: dict[str, Any]) -> str:
        """Take a hand-off, or news of one."""
        handoff = FeedHandoff.model_validate(body["handoff"])
        self.department.arrive(handoff)
        number = self.department.code.removeprefix("hotline-")
        return f"{number}-{message_id[:8]}"
