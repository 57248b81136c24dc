"""What an audit finds: where each accepted case stands, what is missing, what is double."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class FindingKind(StrEnum):
    """What is wrong. The first kinds are losses, those from `TWO_CONTENTS` on are doubles."""

    GAP = "gap"
    """A document lacks an event between two others."""
    UNSEEN_CAUSE = "unseen_cause"
    """An event names another one that does not stand on the log."""
    UNSEEN_DOCUMENT = "unseen_document"
    """A hand-off, group or opening that is named does not stand on the log."""
    NOT_LOGGED = "not_logged"
    """Intake accepted it, and the log does not have it."""
    STORE_AHEAD = "store_ahead"
    """A document in the store has events that the log lacks."""
    STORE_BEHIND = "store_behind"
    """The log has events of a document that the store lacks."""
    UNANSWERED = "unanswered"
    """A service has passed an event, and what must follow from it did not."""
    UNANSWERED_REPLY = "unanswered_reply"
    """Notify has passed a department's reply, and no event came of it."""
    STRANDED = "stranded"
    """The case is open and waits for nobody and nothing."""
    NOT_ENDED = "not_ended"
    """The case is over for a department, whose hand-off was left open."""
    NOT_IN_FEED = "not_in_feed"
    """A department's feed lacks a hand-off, or its newest version."""
    UNKNOWN_IN_FEED = "unknown_in_feed"
    """A department's feed has a hand-off that the log does not have."""
    UNREADABLE = "unreadable"
    """A record on a case topic breaks the contract."""
    UNERASED = "unerased"
    """The case is erased, and something of it still holds the person."""

    TWO_CONTENTS = "two_contents"
    """One event id and `rev`, two contents."""
    TWO_OF_ONE_SEQ = "two_of_one_seq"
    """Two events have the same place in a document."""
    DECIDED_TWICE = "decided_twice"
    """One cause had one effect twice, or one round had two ends."""
    TOLD_TWICE = "told_twice"
    """The citizen was told one thing twice."""
    TWO_LEADS = "two_leads"
    """Two leading hand-offs are open at once."""
    ORDERED_TWICE = "ordered_twice"
    """A department got one order under two ids."""

    @property
    def is_double(self) -> bool:
        """Whether something happened twice, else something is missing."""
        return self in _DOUBLE


_DOUBLE = frozenset(
    {
        FindingKind.TWO_CONTENTS,
        FindingKind.TWO_OF_ONE_SEQ,
        FindingKind.DECIDED_TWICE,
        FindingKind.TOLD_TWICE,
        FindingKind.TWO_LEADS,
        FindingKind.ORDERED_TWICE,
    }
)


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One thing that is wrong. `what` names events, documents and numbers, never a person."""

    kind: FindingKind
    case_no: str | None
    what: str


@dataclass(frozen=True, slots=True, order=True)
class DeadLetter:
    """A record that a service could not handle. `origin` is its topic, partition and offset."""

    service: str
    origin: str
    reason: str
    case_no: str | None = None


class Standing(StrEnum):
    """Where an accepted case stands; each stands in exactly one."""

    CLOSED = "closed"
    FINISHED = "finished"
    """办结: told; only the citizen's word or the end of its time is still expected."""
    WAITING = "waiting"
    """A person of the desk must act."""
    IN_FLIGHT = "in_flight"
    """A service, a department or a delivery must act."""
    BLOCKED = "blocked"
    """A record of the case lies among the dead letters."""
    FAULTY = "faulty"
    """Something of it is missing or double."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What an audit found. Lists of cases are sorted; `waiting` and `in_flight` are by queue."""

    standings: Mapping[str, Standing]
    waiting: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    in_flight: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: tuple[Finding, ...] = ()
    """What is missing, and of erased cases what is not."""
    double: tuple[Finding, ...] = ()
    blocked: Mapping[str, tuple[DeadLetter, ...]] = field(default_factory=dict)
    dead_letters: tuple[DeadLetter, ...] = ()
    parked: tuple[str, ...] = ()
    """Events that triage keeps until their case arrives."""
    open_wishes: tuple[str, ...] = ()
    """Citizens' later words that triage has not answered yet."""
    overdue: tuple[str, ...] = ()
    """Cases with a clock that has run out."""
    erasing: tuple[str, ...] = ()
    """Erased cases that are still being gone through."""
    events: int = 0
    """How many different case events the log holds."""
    stores_were_read: bool = False
    took_seconds: float = 0.0

    @property
    def accepted(self) -> int:
        """How many case numbers have a submission."""
        return len(self.standings)

    @property
    def closed(self) -> int:
        """How many cases are over, nothing of them missing or double."""
        return self.count(Standing.CLOSED)

    @property
    def finished(self) -> int:
        """How many cases were told their outcome and wait for the citizen's word alone."""
        return self.count(Standing.FINISHED)

    @property
    def complete(self) -> int:
        """How many cases are finished or closed, nothing of them missing or double."""
        return self.closed + self.finished

    @property
    def lost(self) -> int:
        """How many losses were found."""
        return len(self.missing)

    @property
    def is_clean(self) -> bool:
        """Whether nothing is missing or double, and nothing lies among the dead letters."""
        return not (self.missing or self.double or self.blocked or self.dead_letters)

    def count(self, standing: Standing) -> int:
        """Return how many cases stand there."""
        return sum(one is standing for one in self.standings.values())

    def cases(self, standing: Standing) -> tuple[str, ...]:
        """Return the cases that stand there."""
        return tuple(sorted(no for no, one in self.standings.items() if one is standing))
