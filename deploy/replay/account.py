"""The account of a replay: what became of every line."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from contracts.lifecycle import CaseState
from contracts.triage import CaseOpened
from contracts.vocabulary import Decision
from deploy.replay.lines import Line, Unreadable


@dataclass(frozen=True, slots=True)
class Taken:
    """A line that intake accepted. `is_new` is false if an earlier replay asked for the same."""

    line: Line
    case_no: str
    code: str = field(repr=False)
    is_new: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that intake refused: why, field by field, never the text."""

    line: Line
    why: tuple[str, ...]


@dataclass(slots=True)
class Account:
    """What became of the lines. Each ends as unreadable, refused or taken."""

    lines: int = 0
    unreadable: list[Unreadable] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    taken: dict[str, Taken] = field(default_factory=dict)
    """By case number."""
    shared: int = 0
    """Lines whose number another line has already: intake gave one number twice."""

    def take(self, taken: Taken) -> None:
        """Enter an accepted line."""
        if taken.case_no in self.taken:
            self.shared += 1
        self.taken[taken.case_no] = taken

    @property
    def is_whole(self) -> bool:
        """Whether every line is accounted for, each under a number of its own."""
        ended = len(self.unreadable) + len(self.refused) + len(self.taken)
        return ended == self.lines and not self.shared

    @property
    def new(self) -> int:
        """How many cases this replay made."""
        return sum(one.is_new for one in self.taken.values())

    @property
    def repeated(self) -> int:
        """How many texts say what an earlier line says; each is a request of its own."""
        lines = [one.line for one in self.taken.values()] + [one.line for one in self.refused]
        return sum(line.repeats is not None for line in lines)

    def refusals(self) -> Counter[str]:
        """Return how often each field was refused, and why; a line may have several."""
        return Counter(why for one in self.refused for why in one.why)

    def reasons_unreadable(self) -> Counter[str]:
        """Return how often lines were unreadable, and why."""
        return Counter(one.why for one in self.unreadable)


@dataclass(slots=True)
class Agreement:
    """How often the first decision is what the file's labels say."""

    labelled: int = 0
    agreed: int = 0

    def compare(self, labels: tuple[str, ...], decided: str) -> None:
        """Compare one decision; either of several labels is right."""
        if labels:
            self.labelled += 1
            self.agreed += decided in labels


@dataclass(slots=True)
class Triaged:
    """How triage decided on the replayed cases at first sight, before any person did."""

    by_category: Counter[str] = field(default_factory=Counter)
    by_tier: Counter[str] = field(default_factory=Counter)
    category: Agreement = field(default_factory=Agreement)
    tier: Agreement = field(default_factory=Agreement)

    def see(self, state: CaseState, taken: Mapping[str, Taken]) -> None:
        """Count a case if it is of this replay and triage has opened it."""
        own = taken.get(state.case_no)
        decision = first_decision(state)
        if own is None or decision is None:
            return
        self.by_category[decision.category] += 1
        self.by_tier[decision.tier.value] += 1
        self.category.compare(own.line.categories, decision.category)
        self.tier.compare(own.line.tiers, decision.tier.value)


def first_decision(state: CaseState) -> Decision | None:
    """Return the decision with which triage opened a case."""
    opened = (e.data for e in state.timeline if isinstance(e.data, CaseOpened))
    return next((one.decision for one in opened), None)
