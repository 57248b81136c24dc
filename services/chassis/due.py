"""Deadlines as values: when they come, and what a firing is caused by. Does no I/O."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from contracts.vocabulary import Deadline, Firing
from services.chassis.kept import Foldable, Kept


class HasDeadlines(Foldable, Protocol):
    """A document with clocks."""

    deadlines: dict[str, Deadline]


D = TypeVar("D", bound=HasDeadlines)


@dataclass(frozen=True, slots=True)
class Due:
    """A deadline at one of its two moments."""

    deadline: Deadline
    firing: Firing
    at: datetime

    def cause(self, document_id: str) -> str:
        """Return what the firing's event is caused by."""
        return f"deadline:{document_id}/{self.deadline.name}/{self.deadline.version}/{self.firing}"


def moments(deadlines: Sequence[Deadline]) -> list[Due]:
    """Return all moments that are to come, the earliest first."""
    found = [Due(d, Firing.MISSED, d.due_at) for d in deadlines]
    found += [Due(d, Firing.NEAR, d.near_at) for d in deadlines if d.near_at is not None]
    return sorted(found, key=lambda due: (due.at, due.deadline.name, due.firing))


def next_due(document: HasDeadlines) -> datetime | None:
    """Return when the sweeper has to look at a document next."""
    coming = moments(list(document.deadlines.values()))
    return coming[0].at if coming else None


Fire = Callable[[Kept[D], Due, datetime], None]
"""Records what a due deadline means for its document: (document, due, now)."""
