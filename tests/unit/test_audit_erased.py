"""What the audit finds of an erased case that still holds its person."""

from dataclasses import replace
from datetime import UTC, datetime

from contracts.envelope import REMOVED
from deploy.audit.beside import Named
from deploy.audit.cases import Beyond, CaseFile, report_on
from deploy.audit.findings import FindingKind, Standing
from deploy.erasure.personal import event_holds_person
from tests.contract.histories import History
from tests.contract.stories import history_from
from tests.unit.audit_files import all_handled, audited, file_of, kinds


def erased() -> History:
    """A case that a department resolved, closed and then erased."""
    history = next(
        one
        for one in (history_from(seed, "nothing special", erased=True) for seed in range(200))
        if any(handoff.sent_by == "feed" for handoff in one.handoffs.values())
    )
    assert kinds(audited(file_of(history))) <= {FindingKind.STRANDED, FindingKind.UNANSWERED}
    return history


def unerased(file: CaseFile, beyond: Beyond | None = None) -> list[str]:
    """What is said to hold the person still."""
    report = audited(file, beyond)
    assert not report.is_erasing
    return [one.what for one in sorted(report.findings) if one.kind is FindingKind.UNERASED]


def test_a_personal_record_as_the_last_of_its_key_is_found() -> None:
    history = erased()
    assert unerased(file_of(history)) == []
    personal = next(e for e in history.events if event_holds_person(e))
    left = [record.event() for record in file_of(history).records]
    late = file_of(history, [*left, personal])
    (what,) = unerased(late)
    assert late.records[-1].place.origin in what
    assert audited(late).standing is Standing.FAULTY
    before = file_of(history, [personal, *left])
    assert unerased(before) == []


def test_what_is_unreadable_of_an_erased_case_may_hold_the_person() -> None:
    file = file_of(erased())
    last = replace(file.records[-1], value=b"{")
    file.records.append(replace(last, place=replace(last.place, offset=last.place.offset + 1)))
    assert len(unerased(file)) == 1
    headers = ("1.0", REMOVED, "", file.case_no)
    place = replace(last.place, offset=last.place.offset + 2)
    file.records.append(replace(last, place=place, headers=headers, value=None))
    assert unerased(file) == []
    assert FindingKind.UNREADABLE not in kinds(audited(file))


def test_copies_beside_the_log_are_found() -> None:
    history = erased()
    file = file_of(history)
    handoff_id = next(one.document_id for one in history.handoffs.values() if one.sent_by == "feed")
    file.feeds = {**file.feeds, handoff_id: replace(file.feeds[handoff_id], erased=False)}
    assert file.stored is not None
    file.stored.redacted.discard(handoff_id)
    file.stored.passed.discard("intake")
    letter = Named("notify", "replies.health.v1-0-7", 0)
    beyond = replace(all_handled(), letters_by_name={handoff_id: [letter]})
    assert unerased(file, beyond) == [
        "dead letter notify/replies.health.v1-0-7",
        f"document {handoff_id} in the store",
        f"hand-off {handoff_id} in its feed",
        "intake has not gone through what it keeps",
    ]


def test_an_erasure_that_is_just_decided_is_under_way() -> None:
    history = erased()
    file = file_of(history)
    assert file.stored is not None
    file.stored.passed.clear()
    now = datetime.fromtimestamp(max(r.place.written_ms for r in file.records) / 1_000, UTC)
    report = report_on(file, all_handled(), now)
    assert report.is_erasing
    assert FindingKind.UNERASED not in kinds(report)
    assert FindingKind.UNERASED in kinds(audited(file))
