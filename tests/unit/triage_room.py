"""A desk without I/O: a case and the means to let things happen to it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts import handling as h
from contracts.envelope import Event, EventData
from contracts.ids import case_number, event_id
from contracts.lifecycle import CaseDocument, Phase
from contracts.profile import Profile, load_profile
from contracts.requests import (
    RatingGiven,
    RequestSubmitted,
    SupplementGiven,
    WithdrawalRequested,
)
from contracts.vocabulary import (
    Contact,
    DecidedBy,
    Decision,
    Kind,
    Rating,
    RequestContent,
    Result,
    Tier,
    TierCause,
)
from services.chassis.kept import Kept
from services.triage.domain.answers import react
from services.triage.domain.occasion import Occasion
from services.triage.domain.opening import open_case
from services.triage.domain.wishes import answer_wish

START = datetime(2022, 1, 18, 8, 0, tzinfo=UTC)
PROFILE: Profile = load_profile("zhoukou")
GOOD = Result(text="已送到家中", acts="送药上门", acted_at=START, contact="市卫健委")


def decision(tier: Tier = Tier.BLUE, **changes: Any) -> Decision:
    """A decision as triage makes it."""
    fields: dict[str, Any] = {
        "category": "policy",
        "category_confidence": 0.9,
        "tier": tier,
        "cause": TierCause.DANGER if tier == Tier.RED else None,
        "kind": Kind.CONSULT if tier == Tier.BLUE else Kind.ACTION,
        "lead": "health",
        "decided_by": DecidedBy.RULES,
        "profile": "zhoukou@test",
        **changes,
    }
    return Decision(**fields)


@dataclass
class Room:
    """One case at the desk."""

    name: str = "a"
    now: datetime = START
    happened: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.case_no = case_number(b"s" * 32, "app", self.name)
        self.kept: Kept[CaseDocument] = Kept(CaseDocument(self.case_no, self.case_no), [], 0)
        self._count = 0

    @property
    def case(self) -> CaseDocument:
        """The case as it stands."""
        return self.kept.document

    @property
    def tasks(self) -> list[str]:
        """The kinds of the open tasks."""
        return sorted(task.kind for task in self.case.tasks.values())

    def phase(self) -> Phase:
        """Where the round stands."""
        return self.case.phase

    def types(self) -> list[str]:
        """The types of all events so far."""
        return [event.type for event in self.kept.events]

    def later(self, **by: float) -> None:
        """Let time pass."""
        self.now += timedelta(**by)

    def occasion(self, cause: str, after: EventData | None = None) -> Occasion:
        """An occasion now."""
        return Occasion(PROFILE, self.now, cause, after=after)

    def submission(self, **request: Any) -> RequestSubmitted:
        """What a citizen writes at first."""
        content = RequestContent(
            channel="app", text="问一下", contact=Contact(name="某", phone="13800000001"), **request
        )
        return RequestSubmitted(
            **self._common("request.submitted"),
            request=content,
            body_digest="0" * 64,
            accepted_at=self.now,
            code_version=1,
            profile="zhoukou@test",
        )

    def open(self, made: Decision | None = None, **request: Any) -> list[Event]:
        """A request comes in."""
        said = self.submission(**request)
        id_ = self._id("request.submitted")
        return open_case(
            self.occasion(f"event:{id_}", said), self.kept, id_, said, made or decision()
        )

    def wish(self, kind: type[EventData], **fields: Any) -> list[Event]:
        """The citizen says something."""
        said = kind(**self._common(kind.type), **fields)
        id_ = self._id(kind.type)
        return answer_wish(self.occasion(f"event:{id_}", said), self.kept, id_, said)

    def supplement(self, text: str = "补充一点") -> list[Event]:
        """The citizen adds something."""
        return self.wish(SupplementGiven, text=text)

    def withdraw(self) -> list[Event]:
        """The citizen withdraws."""
        return self.wish(WithdrawalRequested)

    def rate(self, level: int = 5, *, solved: bool = True) -> list[Event]:
        """The citizen rates."""
        return self.wish(RatingGiven, rating=Rating(level=level, solved=solved))

    def report(
        self, kind: type[EventData], handoff_id: str | None = None, **fields: Any
    ) -> list[Event]:
        """Notify reports something about a hand-off (the leading one, if none is named)."""
        order = self.case.orders[handoff_id or self.case.lead or ""]
        common = self._common(kind.type, order.handoff_id)
        data = kind(
            **common,
            handoff_id=order.handoff_id,
            role=order.role,
            attempt=order.attempt,
            department=order.department,
            **fields,
        )
        return self._react(data)

    def told(self) -> list[Event]:
        """The citizen is told the outcome."""
        assert self.case.outcome is not None
        common = self._common("citizen.told", "delivery")
        return self._react(
            h.CitizenTold(
                **common,
                delivery_id="delivery",
                tells=self.case.outcome.event_id,
                step="answered",
                by="lookup",
                told_at=self.now,
                attempts=0,
            )
        )

    def do(self, act: Callable[..., list[Event]], *args: Any, **kwargs: Any) -> list[Event]:
        """A person does something."""
        self._count += 1
        return act(self.occasion(f"command:{self._count}"), self.kept, *args, **kwargs)

    def assist(self) -> str:
        """The id of the first assisting hand-off."""
        return next(o.handoff_id for o in self.case.orders.values() if o.role == "assist")

    def _react(self, data: EventData) -> list[Event]:
        event = Event.of(self._id(data.type), data)
        return react(self.occasion(f"event:{event.id}", data), self.kept, event)

    def _id(self, kind: str) -> str:
        return event_id(self.case_no, "d", kind, f"test:{self._count}")

    def _common(self, kind: str, document: str | None = None) -> dict[str, Any]:
        self._count += 1
        return {
            "case_no": self.case_no,
            "document_id": document or self.case_no,
            "lc": self.case.lc + 1,
            "caused_by": f"command:{self._count}",
            "round": self.case.round,
            "occurred_at": self.now,
            "recorded_at": self.now,
            **({"seq": 1} if document else {}),
        }
