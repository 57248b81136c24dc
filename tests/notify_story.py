"""Cases as triage writes them, for the tests of notify: real events by the real contract."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts import triage as t
from contracts.envelope import Event, EventData
from contracts.ids import case_number, handoff_id
from contracts.lifecycle import CaseDocument
from contracts.triage import HandoffOrder
from contracts.vocabulary import (
    Answer,
    Contact,
    Deadline,
    DeadlineKind,
    DecidedBy,
    Decision,
    Kind,
    OnBehalfOf,
    OutcomeKind,
    RequestContent,
    Result,
    Role,
    Tier,
)
from services.chassis.kept import Kept

START = datetime(2022, 1, 18, 7, 0, tzinfo=UTC)
NAME, PHONE, TEXT = "张三丰", "13800138000", "母亲在鹿邑县等药，已经两天了"
EXTERNAL_ID = "app-4711"


def new_case_no() -> str:
    """Return a case number that no other test has."""
    return case_number(b"s" * 32, "app", secrets.token_hex(8))


class CaseStory:
    """One case with the events that triage has written about it, in order."""

    def __init__(
        self,
        *,
        callback_url: str | None = None,
        channel: str = "app",
        at: datetime = START,
        case_no: str | None = None,
    ) -> None:
        self.case_no = case_no or new_case_no()
        self.at = at
        self.callback_url = callback_url
        self.kept = Kept(CaseDocument(self.case_no, self.case_no), [], 0)
        self.request = RequestContent(
            channel=channel,
            text=TEXT,
            contact=Contact(name=NAME, phone=PHONE),
            on_behalf_of=OnBehalfOf(relation="母亲", age=78),
            external_id=EXTERNAL_ID,
            callback_url=callback_url,
        )

    def write(self, data_type: type[EventData], **fields: Any) -> Event:
        """Record the next event of the case."""
        cause = f"command:{len(self.kept.events)}"
        return self.kept.record(data_type, cause=cause, now=self.at, **fields)

    def opened(self, tier: Tier = Tier.ORANGE) -> Event:
        """受理."""
        decision = Decision(
            category="medical",
            category_confidence=0.9,
            tier=tier,
            kind=Kind.ACTION,
            decided_by=DecidedBy.RULES,
            profile="zhoukou",
        )
        told = Deadline(
            name="told",
            kind=DeadlineKind.TOLD,
            version=1,
            due_at=self.at + timedelta(hours=24),
        )
        return self.write(
            t.CaseOpened,
            submission_id="0b0f4f6e-4a52-5b0c-9d6b-4a4b9a6a7f10",
            accepted_at=self.at,
            request=self.request,
            decision=decision,
            sets=(told,),
            callback_url=self.callback_url,
        )

    def ordered(
        self,
        department: str = "health",
        *,
        role: Role = Role.LEAD,
        tier: Tier = Tier.ORANGE,
        **order: Any,
    ) -> Event:
        """交办."""
        attempt = self.kept.document.next_attempt(role, department)
        id_ = handoff_id(self.case_no, self.kept.document.round, role, department, attempt)
        fields: dict[str, Any] = {
            "sign_due_at": self.at + timedelta(minutes=60),
            "return_until": self.at + timedelta(minutes=60),
            "result_due_at": self.at + timedelta(minutes=480),
            **order,
        }
        return self.write(
            t.HandoffOrdered,
            handoff_id=id_,
            role=role,
            attempt=attempt,
            order=HandoffOrder(
                handoff_id=id_,
                department=department,
                role=role,
                attempt=attempt,
                category="medical",
                tier=tier,
                request=self.request,
                **fields,
            ),
        )

    def recalled(self, handoff: str) -> Event:
        """The order is to be taken back."""
        return self.write(t.RecallOrdered, handoff_id=handoff, ground="rerouted")

    def answered(self, text: str = "带上病历可以出城就医。", ends: tuple[str, ...] = ()) -> Event:
        """The desk answers."""
        return self.write(
            t.CaseAnswered,
            answer=Answer(text=text),
            person="desk-1",
            ends=ends,
            callback_url=self.callback_url,
        )

    def resolved(self, handoff: str, department: str, ends: tuple[str, ...] = ()) -> Event:
        """The lead's result stands."""
        return self.write(
            t.CaseResolved,
            handoff_id=handoff,
            department=department,
            result=Result(text="药已送到"),
            ends=ends,
            callback_url=self.callback_url,
        )

    def finished(self, outcome: OutcomeKind | None = OutcomeKind.ANSWER) -> Event:
        """办结."""
        return self.write(
            t.CaseFinished,
            told="x",
            finished_at=self.at,
            outcome=outcome,
            callback_url=self.callback_url,
        )
