"""What an audit shows to people and machines: where cases stand, and nobody's words."""

import io
import json

from rich.console import Console

from contracts.vocabulary import TaskKind
from deploy.audit.findings import Audit, DeadLetter, Finding, FindingKind, Standing
from deploy.audit.showing import print_audit, print_story, queue_name, shown_cause
from deploy.audit.tally import Tally
from deploy.commands.audit import as_document, story_row
from tests.contract.histories import MARKER, History
from tests.contract.stories import SCRIPTS, history_from
from tests.unit.audit_files import audited, file_of


def printed(audit: Audit, *, with_cases: bool = False) -> str:
    stream = io.StringIO()
    print_audit(audit, with_cases=with_cases, console=Console(file=stream, width=120))
    return stream.getvalue()


def audit_of(*histories: History, **more: object) -> Audit:
    tally = Tally()
    for history in histories:
        tally.add(audited(file_of(history)))
    facts = {"blocked": {}, "dead_letters": (), "stores_were_read": True, "took_seconds": 1.0}
    return tally.result(**{**facts, **more})  # type: ignore[arg-type]


def closed_history() -> History:
    return next(
        one
        for seed in range(200)
        if (one := history_from(seed, "nothing special", steps=0)).case.closed_ground
    )


def test_every_accepted_case_stands_in_exactly_one_place() -> None:
    audit = audit_of(closed_history())
    assert audit.accepted == sum(audit.count(standing) for standing in Standing) == 1
    assert audit.is_clean
    assert audit.complete == audit.closed == 1


def test_a_dead_letter_alone_is_not_clean() -> None:
    letter = DeadLetter("notify", "replies.health.v1-0-3", "is null")
    audit = audit_of(closed_history(), dead_letters=(letter,))
    assert not audit.is_clean
    assert letter.origin in printed(audit)


def test_findings_are_shown_with_case_and_kind() -> None:
    tally = Tally()
    tally.find(
        [
            Finding(FindingKind.GAP, "0000000000000", "document d lacks seq 2"),
            Finding(FindingKind.TOLD_TWICE, "0000000000000", "2 × citizen.told of e"),
        ]
    )
    audit = tally.result(blocked={}, dead_letters=(), stores_were_read=False, took_seconds=0.1)
    assert (audit.lost, len(audit.double), audit.is_clean) == (1, 1, False)
    shown = printed(audit)
    assert "事件缺号" in shown
    assert "重复告知" in shown
    assert "document d lacks seq 2" in shown
    assert "仅日志" in shown


def test_machines_get_case_numbers_of_queues_only_when_they_ask() -> None:
    audit = Audit({"A": Standing.WAITING}, waiting={"answer": ("A",)})
    assert as_document(audit, with_cases=False)["waiting"] == {"answer": 1}
    assert as_document(audit, with_cases=True)["waiting"] == {"answer": ["A"]}
    assert "    A" in printed(audit, with_cases=True)


def test_every_queue_has_a_name() -> None:
    for kind in TaskKind:
        assert queue_name(kind.value) != kind.value
    assert "health" in queue_name("department:health")


def test_a_story_shows_types_and_causes_and_nothing_personal() -> None:
    for seed, script in enumerate(sorted(SCRIPTS)):
        history = history_from(seed, script)
        stream = io.StringIO()
        print_story(history.case_no, history.events, Console(file=stream, width=160))
        rows = json.dumps([story_row(event) for event in history.events])
        for shown in (stream.getvalue(), rows):
            assert "request.submitted" in shown
            assert MARKER not in shown


def test_names_that_clients_give_are_shown_as_digests() -> None:
    assert "13800001234" not in shown_cause("command:13800001234")
    assert shown_cause("command:a") != shown_cause("command:b")
    assert shown_cause("reply:health/h-1/13800001234").startswith("reply:health/")
    assert "1380000" not in shown_cause("reply:health/h-1/13800001234")
    assert shown_cause("event:e-1") == "event:e-1"
