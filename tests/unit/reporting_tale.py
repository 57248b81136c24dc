"""One case told step by step, with the times that matter, for the tests of figures and views."""

from datetime import timedelta
from typing import Any

from contracts import handling as h
from contracts import ids
from contracts import requests as r
from contracts import triage as t
from contracts.envelope import Event
from contracts.lifecycle import CaseState, state_of
from contracts.profile import load_profile
from contracts.vocabulary import (
    Answer,
    Deadline,
    DeadlineKind,
    DecidedBy,
    Decision,
    DeskTask,
    Firing,
    GroupKind,
    Kind,
    Rating,
    Result,
    Role,
    TaskKind,
    Tier,
)
from tests.contract.histories import START, History

PROFILE = load_profile("zhoukou")
ACCEPTED = START + timedelta(minutes=3)
"""When the cases of all tales are accepted: the first event's time."""


class Tale:
    """A history that is written event by event; each takes three minutes, `wait` more."""

    def __init__(self, name: str = "tale") -> None:
        self.history = History(ids.case_number(b"reporting tales", "app", name))
        self.last: Event | None = None

    @property
    def case_no(self) -> str:
        return self.history.case_no

    @property
    def state(self) -> CaseState:
        return state_of(self.case_no, self.history.events)

    def wait(self, **span: float) -> "Tale":
        self.history.now += timedelta(**span)
        return self

    def _triage(self, of: type[t.CaseEvent], **fields: Any) -> "Tale":
        self.last = self.history.by_triage(of, self.history.command(), **fields)
        return self

    def submitted(self, ring: tuple[str, ...] = ()) -> "Tale":
        self.last = self.history.by_intake(
            r.RequestSubmitted,
            request=self.history.content(),
            body_digest="0" * 64,
            accepted_at=ACCEPTED,
            code_version=1,
            ring=ring,
            profile="zhoukou@1",
        )
        return self

    def opened(
        self, tier: Tier = Tier.ORANGE, *, told_within_hours: float = 24, **decided: Any
    ) -> "Tale":
        submission = self.submitted(ring=decided.pop("ring", ())).last
        assert submission is not None
        fields: dict[str, Any] = {
            "category": "medical",
            "category_confidence": 0.9,
            "tier": tier,
            "kind": Kind.ACTION,
            "region": "411603101",
            "decided_by": DecidedBy.RULES,
            "profile": "zhoukou@1",
        }
        due = ACCEPTED + timedelta(hours=told_within_hours)
        self.last = self.history.by_triage(
            t.CaseOpened,
            submission,
            submission_id=submission.id,
            accepted_at=ACCEPTED,
            request=self.history.content(),
            decision=Decision(**{**fields, **decided}),
            sets=(Deadline(name="told", kind=DeadlineKind.TOLD, version=1, due_at=due),),
            opens=(
                DeskTask(task_id="first", kind=TaskKind.ANSWER, since=ACCEPTED, note="PERSONAL"),
            ),
        )
        return self

    def ordered(
        self, department: str = "health", role: Role = Role.LEAD, *, delivered: bool = True
    ) -> str:
        case = self.history.case
        attempt = case.next_attempt(role, department)
        handoff_id = ids.handoff_id(self.case_no, case.round, role, department, attempt)
        category = case.decision.category if case.decision else "medical"
        order = t.HandoffOrder(
            handoff_id=handoff_id,
            department=department,
            role=role,
            attempt=attempt,
            category=category,
            tier=case.tier or Tier.ORANGE,
            region="411603101",
            request=self.history.content(),
        )
        event = self.history.by_triage(
            t.HandoffOrdered,
            self.history.command(),
            handoff_id=handoff_id,
            role=role,
            attempt=attempt,
            order=order,
            person="li",
        )
        self.last = event
        if delivered:
            self.history.by_handoff(
                h.HandoffSent,
                order,
                event,
                by="feed",
                order=order,
                sets=(
                    self._clock(DeadlineKind.SIGNED, hours=1),
                    self._clock(DeadlineKind.RESULT, hours=20),
                ),
            )
        return handoff_id

    def _clock(self, kind: DeadlineKind, hours: float) -> Deadline:
        due = self.history.now + timedelta(hours=hours)
        return Deadline(name=str(kind), kind=kind, version=1, due_at=due)

    def reply(self, handoff_id: str, of: type[h.HandoffEvent], **fields: Any) -> "Tale":
        order = self.history.handoffs[handoff_id].order
        assert order is not None
        self.history.commands += 1
        cause = fields.pop("cause", f"reply:{order.department}/{self.history.commands}")
        self.last = self.history.by_handoff(of, order, cause, **fields)
        return self

    def sign_missed(self, handoff_id: str) -> "Tale":
        due = self.history.handoffs[handoff_id].first_deadlines["signed"].due_at
        return self.reply(
            handoff_id,
            h.HandoffDeadlineFired,
            cause="deadline:signed/1/missed",
            name="signed",
            firing=Firing.MISSED,
            due_at=due,
        )

    def answered(self) -> "Tale":
        answer = Answer(text=self.history.words("answer"))
        return self._triage(t.CaseAnswered, answer=answer, person="li", settles=("first",))

    def not_accepted(self) -> "Tale":
        return self._triage(t.CaseNotAccepted, reason="不在范围", instead="12345", person="li")

    def resolved(self, handoff_id: str) -> "Tale":
        result = Result(text=self.history.words("result"))
        self.reply(handoff_id, h.HandoffResolved, result=result)
        assert self.last is not None
        department = self.history.handoffs[handoff_id].department
        self.last = self.history.by_triage(
            t.CaseResolved,
            self.last,
            handoff_id=handoff_id,
            department=department,
            result=result,
            settles=("first",),
        )
        return self

    def told(self, event: Event | None = None) -> "Tale":
        """The citizen's channel takes the message about an event: the last, if none is named."""
        about = event or self.last
        assert about is not None
        delivery_id = ids.delivery_id(self.case_no, about.id, "app")
        self.last = self.history.by_delivery(
            h.CitizenTold,
            delivery_id,
            about,
            tells=about.id,
            step="told",
            by="callback",
            told_at=self.history.now + timedelta(minutes=3),
            attempts=1,
        )
        return self

    def finished(self) -> "Tale":
        """Told and 办结, at the time of the telling."""
        told = self.told().last
        assert told is not None
        self.last = self.history.by_triage(
            t.CaseFinished,
            told,
            told=told.id,
            finished_at=told.data.occurred_at,
            outcome=self.history.case.outcome.kind if self.history.case.outcome else None,
            clears=tuple(self.history.case.deadlines),
        )
        return self

    def rated(self, level: int, *, solved: bool, credited: str | None = None) -> "Tale":
        rating = Rating(level=level, solved=solved, comment=self.history.words("comment"))
        wish = self.history.by_intake(r.RatingGiven, rating=rating)
        self.last = self.history.by_triage(t.CaseRated, wish, rating=rating, credited=credited)
        return self

    def reopened(self) -> "Tale":
        return self._triage(
            t.CaseReopened, round=self.history.case.round + 1, tier=Tier.RED, ground="not_solved"
        )

    def closed(self) -> "Tale":
        return self._triage(t.CaseClosed, ground="rated")

    def joined(self, group_id: str, anchor: str, kind: GroupKind = GroupKind.SAME_EVENT) -> "Tale":
        return self._triage(
            t.CaseJoinedGroup, group_id=group_id, group_version=1, kind=kind, anchor=anchor, size=3
        )

    def does(self, of: type[t.CaseEvent], **fields: Any) -> "Tale":
        """Any other event of triage."""
        return self._triage(of, **fields)
