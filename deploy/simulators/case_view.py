"""A case as the desk's HTTP shows it, as far as the simulated clerks look at it."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class TaskShown(_Shown):
    """Something that waits for a person."""

    task_id: str
    kind: str
    handoff_id: str | None = None
    inquiry_id: str | None = None
    note: str | None = None


class OrderShown(_Shown):
    """An order to a department."""

    handoff_id: str
    department: str
    role: str
    ended: str | None = None


class InquiryShown(_Shown):
    """An inquiry, answered or not."""

    inquiry_id: str
    confirmed_at: datetime | None = None


class DecisionShown(_Shown):
    """Category, tier and route as they stand."""

    category: str
    tier: str
    kind: str
    region: str | None = None
    lead: str | None = None


class RequestShown(_Shown):
    """What the citizen sent."""

    external_id: str | None = None


class CaseShown(_Shown):
    """One case."""

    case_no: str
    view: str
    version: int
    phase: str
    round: int
    tier: str | None = None
    decision: DecisionShown | None = None
    request: RequestShown | None = None
    supplements: tuple[str | None, ...] = ()
    tasks: tuple[TaskShown, ...] = ()
    orders: tuple[OrderShown, ...] = ()
    inquiries: tuple[InquiryShown, ...] = ()
    group_id: str | None = None
    returned_by: tuple[str, ...] = ()
    withdrawing: bool = False
    urgings: int = 0
    handled_by: tuple[str, ...] = ()
    told_due_at: datetime | None = None

    @classmethod
    def read(cls, document: dict[str, Any]) -> "CaseShown":
        """Read it from an answer of the desk's HTTP."""
        return cls.model_validate(document)

    def task(self, *kinds: str) -> TaskShown | None:
        """Return the first open task of these kinds."""
        return next((task for task in self.tasks if task.kind in kinds), None)

    @property
    def lead(self) -> OrderShown | None:
        """The leading order that is open."""
        return next((one for one in self.open_orders if one.role == "lead"), None)

    @property
    def open_orders(self) -> tuple[OrderShown, ...]:
        """The orders of which something is still expected."""
        return tuple(order for order in self.orders if order.ended is None)

    @property
    def external_id(self) -> str | None:
        """The channel's own number, by which the story is found."""
        return self.request.external_id if self.request else None
