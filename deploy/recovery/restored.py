"""What a restore is going to do, how far it is, and what it came to."""

from collections.abc import Callable
from dataclasses import dataclass, field

from deploy.local.errors import PlatformError
from deploy.recovery.folding import Flaw, Folded


class RestoreError(PlatformError):
    """A database cannot be restored, or not now; the message is one line."""


@dataclass(frozen=True, slots=True)
class Step:
    """How far a restore is, in offsets of the partitions that it reads."""

    done: int
    total: int
    documents: int


OnStep = Callable[[Step], None]


@dataclass(slots=True)
class Outcome:
    """What was read and written; in a dry run what would be.

    `documents` by collection. `conflicting`: records that are equal to an earlier one in id and
    `rev` and not in their bytes, `unreadable`: origins of records that break the contract; neither
    changes a document. `parked`: citizens' later words that wait for their answer.
    """

    service: str
    is_dry_run: bool
    documents: dict[str, int] = field(default_factory=dict)
    cases: int = 0
    events: int = 0
    parked: int = 0
    policies: int = 0
    erased: int = 0
    conflicting: int = 0
    unreadable: list[str] = field(default_factory=list)
    flaws: list[Flaw] = field(default_factory=list)
    seconds: float = 0.0

    def take(self, document: Folded) -> None:
        """Count a document."""
        name = document.kind.collection.name
        self.documents[name] = self.documents.get(name, 0) + bool(document.row)
        self.events += document.events
        if document.flaw is not None:
            self.flaws.append(document.flaw)

    @property
    def written(self) -> int:
        """How many documents there are in all."""
        return sum(self.documents.values())
