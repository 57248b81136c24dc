"""What a replay reads from a file, posts, and enters in its account."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from deploy.replay.account import Account, Agreement, Refused, Taken, Triaged
from deploy.replay.lines import Line, NotReadable, Unreadable, key_of, lines_of, read_lines
from deploy.replay.submitting import body_of, outcome_of
from deploy.simulators.calls import Answer
from tests.contract.properties import full_state
from tests.contract.stories import history_from

_NAME = "texts.jsonl"
BEGAN = datetime(2022, 1, 11, 8, tzinfo=UTC)


def read(*raw: str) -> list[Line | Unreadable]:
    return list(lines_of(_NAME, [one.encode() for one in raw]))


def only(*raw: str) -> Line:
    (found,) = read(*raw)
    assert isinstance(found, Line)
    return found


@pytest.mark.parametrize(
    "raw",
    [
        '{"text": "求助"}',
        '{"text": "求助", "category": ["policy"], "kind": ["consult"]}',
        '{"question": "求助", "answer": "答复", "doc": "d1"}',
        '{"text": "求助", "label": "交通运输"}',
    ],
)
def test_a_text_is_found_in_every_shape(raw: str) -> None:
    assert only(raw).text == "求助"


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        ("", "空行"),
        ("   \n", "空行"),
        ("{", "不是有效的 JSON"),
        ('["text"]', "不是 JSON 对象"),
        ('{"text": 7}', "没有 text 或 question"),
        ('{"answer": "答复"}', "没有 text 或 question"),
    ],
)
def test_a_line_without_a_text_says_why(raw: str, why: str) -> None:
    assert read(raw) == [Unreadable(1, why)]


def test_bytes_that_are_no_utf_8_are_unreadable_and_stop_nothing() -> None:
    found = list(lines_of(_NAME, [b'{"text": "\xff"}', b'{"text": "ok"}']))
    assert isinstance(found[0], Unreadable)
    assert isinstance(found[1], Line)


def test_labels_are_only_the_platforms_own_codes() -> None:
    line = only('{"text": "a", "category": ["policy", "交通"], "tier": "red"}')
    assert (line.categories, line.tiers) == (("policy",), ("red",))
    assert only('{"text": "a", "category": null, "tier": 3}').categories == ()


def test_the_same_text_on_another_line_is_another_request() -> None:
    first, second = read('{"text": "a"}', '{"text": "a "}')
    assert isinstance(first, Line)
    assert isinstance(second, Line)
    assert (first.repeats, second.repeats) == (None, 1)
    assert first.key != second.key


def test_the_key_is_of_name_number_and_text() -> None:
    keys = {key_of("a", 1, "x"), key_of("b", 1, "x"), key_of("a", 2, "x"), key_of("a", 1, "y")}
    assert len(keys) == 4
    assert key_of("a", 1, "x") == only_key("a", 1, "x")


def only_key(name: str, number: int, text: str) -> str:
    (line,) = lines_of(name, [f'{{"text": "{text}"}}'.encode()])
    assert isinstance(line, Line)
    assert line.number == number
    return line.key


def test_reading_stops_at_the_limit_and_names_a_missing_file(tmp_path: Path) -> None:
    path = tmp_path / _NAME
    path.write_text('{"text": "a"}\n' * 5, encoding="utf-8")
    assert len(list(read_lines(path, 3))) == 3
    with pytest.raises(NotReadable, match="missing"):
        list(read_lines(tmp_path / "missing.jsonl"))


def test_labels_are_not_posted() -> None:
    body = body_of(only('{"text": "a", "category": ["policy"], "tier": ["red"]}'))
    assert body.keys() == {"text", "external_id"}


def accepted(at: datetime) -> Answer:
    document = {"case_no": "0000000000000", "retrieval_code": "c", "accepted_at": at.isoformat()}
    return Answer(202, document)


def test_what_was_accepted_before_is_not_new() -> None:
    line = only('{"text": "a"}')
    new = outcome_of(line, accepted(BEGAN + timedelta(seconds=1)), BEGAN)
    old = outcome_of(line, accepted(BEGAN - timedelta(hours=1)), BEGAN)
    assert isinstance(new, Taken)
    assert isinstance(old, Taken)
    assert (new.is_new, old.is_new) == (True, False)


def test_a_refusal_names_each_field() -> None:
    errors = [{"field": "text", "why": "最多 4000 个字符"}, {"field": "region", "why": "没有"}]
    refused = outcome_of(only('{"text": "a"}'), Answer(422, {"errors": errors}), BEGAN)
    assert isinstance(refused, Refused)
    assert refused.why == ("text：最多 4000 个字符", "region：没有")
    bare = outcome_of(only('{"text": "a"}'), Answer(403, {"title": "不允许"}), BEGAN)
    assert isinstance(bare, Refused)
    assert bare.why == ("不允许",)


def account_of(lines: int, refused: int = 0, *numbers: str) -> Account:
    """Return an account of so many lines, of which some are refused and some have numbers."""
    read_lines = read(*(f'{{"text": "{n}"}}' for n in range(lines)))
    whole = [line for line in read_lines if isinstance(line, Line)]
    account = Account(
        lines=lines, refused=[Refused(one, ("text：必填",)) for one in whole[:refused]]
    )
    for line, case_no in zip(whole[refused:], numbers, strict=False):
        account.take(Taken(line, case_no, "c", True))
    return account


def test_an_account_is_whole_only_if_each_line_has_its_own_end() -> None:
    assert account_of(3, 1, "A", "B").is_whole
    assert not account_of(3, 1, "A").is_whole
    assert not account_of(3, 1, "A", "A").is_whole
    unreadable = account_of(1)
    unreadable.unreadable.append(Unreadable(1, "空行"))
    assert unreadable.is_whole
    assert account_of(3, 2, "A").refusals() == {"text：必填": 2}


def test_agreement_takes_either_label_and_leaves_unlabelled_lines_out() -> None:
    agreement = Agreement()
    agreement.compare(("policy", "info"), "info")
    agreement.compare(("policy",), "other")
    agreement.compare((), "other")
    assert (agreement.agreed, agreement.labelled) == (1, 2)


def test_what_triage_decided_first_is_counted_for_our_cases_alone() -> None:
    history = history_from(3)
    state = full_state(history)
    line = Line(1, "k", "a", categories=("policy",), tiers=("blue",))
    triaged = Triaged()
    triaged.see(state, {})
    assert triaged.by_tier.total() == 0
    triaged.see(state, {history.case_no: Taken(line, history.case_no, "c", True)})
    assert triaged.by_tier.total() == 1
    assert triaged.category.labelled == triaged.tier.labelled == 1
