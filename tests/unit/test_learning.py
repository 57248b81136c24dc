"""`jieyou train` and `jieyou evaluate`: formats, figures, same bytes again, the better model."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from contracts.profile import load_profile
from deploy.cli import make_app
from services.triage.domain.classify import MODEL_FOLDER, Classifier
from services.triage.domain.linear import CARD, ModelError
from services.triage.learning.errors import FileFormatError, WorseModel
from services.triage.learning.figures import area_under_curve, figures
from services.triage.learning.records import read_pairs, read_questions, read_texts
from services.triage.learning.training import gather
from services.triage.training.generate import REQUESTS

ZHOUKOU = load_profile("zhoukou")


def _write(path: Path, rows: Sequence[object]) -> Path:
    path.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return path


def _own_requests(count: int) -> list[dict[str, str]]:
    lines = REQUESTS.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[:: len(lines) // count]][:count]


def _run(*words: object) -> Result:
    return CliRunner().invoke(make_app(), [str(word) for word in words])


def _letters(count: int) -> list[dict[str, str]]:
    topics = {"道路": "路面坑洼积水，公交改线", "学校": "老师补课收费，校服太贵"}
    return [
        {"text": f"第{n}封信：{topics[label]}，请处理{n}", "label": label}
        for n in range(count)
        for label in topics
    ]


def test_json_is_one_line_with_what_applies(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.jsonl", _own_requests(40))
    tier = _run("evaluate", file, "--task", "tier", "--json")
    assert tier.stdout.count("\n") == 1
    assert set(json.loads(tier.stdout)) == {"macro_f1", "accuracy", "red_recall", "red_precision"}
    category = json.loads(_run("evaluate", file, "--task", "category", "--json").stdout)
    assert set(category) == {"macro_f1", "accuracy"}
    assert category["accuracy"] > 0.8


def test_the_table_shows_confusion_and_calibration(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.jsonl", _own_requests(40))
    shown = _run("evaluate", file, "--task", "tier").stdout
    for word in ("红色召回率", "混淆表", "orange", "ECE"):
        assert word in shown


def test_either_of_two_labels_is_right_and_unknown_ones_are_counted(tmp_path: Path) -> None:
    rows = [
        {"text": "健康码突然变黄了怎么办", "category": ["policy", "health_code"]},
        {"text": "周口到郑州的大巴什么时候恢复发车？", "category": "space_travel"},
    ]
    file = _write(tmp_path / "a.jsonl", rows)
    found = json.loads(_run("evaluate", file, "--task", "category", "--json").stdout)
    assert found["accuracy"] == 0.5
    assert found["macro_f1"] == 0.5


@pytest.mark.parametrize("task", ["category", "tier", "similar", "answers"])
def test_an_empty_file_has_no_figures(tmp_path: Path, task: str) -> None:
    result = _run("evaluate", _write(tmp_path / "a.jsonl", []), "--task", task, "--json")
    assert result.exit_code == 0
    assert result.stdout.count("\n") == 1
    assert all(value == 0 for value in json.loads(result.stdout).values())


@pytest.mark.parametrize(
    ("rows", "task", "said"),
    [
        ([{"text": "好", "tier": "red"}], "category", "line 1, field category"),
        ([{"text": "好", "label": "环保"}], "tier", "file for: government"),
        ([{"text": "好", "tier": []}], "tier", "line 1, field tier"),
        ([{"text": 7, "tier": "red"}], "tier", "line 1, field text"),
        ([{"q1": "a", "q2": "b", "same": 1}, {"q1": "a", "q2": "b"}], "similar", "line 2, field"),
        ([{"q1": "a", "q2": "b", "same": 3}], "similar", "field same"),
        ([{"question": "a", "answer": "b"}], "answers", "field doc"),
        (["a text"], "tier", "line 1"),
    ],
)
def test_a_wrong_file_is_refused_with_its_line_and_field(
    tmp_path: Path, rows: list[object], task: str, said: str
) -> None:
    file = _write(tmp_path / "wrong.jsonl", rows)
    error = _run("evaluate", file, "--task", task, "--json").exception
    assert isinstance(error, FileFormatError)
    assert "wrong.jsonl" in str(error)
    assert said in str(error)
    assert "\n" not in str(error)


def test_what_is_no_json_or_no_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "好", "tier": "red"}\n{"text":', encoding="utf-8")
    with pytest.raises(FileFormatError, match="line 2"):
        read_texts(file, "tier")
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileFormatError, match="UTF-8"):
        read_pairs(file)
    with pytest.raises(FileFormatError, match="cannot be read"):
        read_questions(tmp_path / "missing.jsonl")


def test_the_same_training_gives_the_same_bytes_and_is_used(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.jsonl", _own_requests(60))
    for name in ("first", "second"):
        result = _run("train", file, "--task", "category", "--out", tmp_path / name, "--seed", 3)
        assert result.exit_code == 0, result.exception
    first, second = (sorted((tmp_path / name).iterdir()) for name in ("first", "second"))
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    card = json.loads((tmp_path / "first" / CARD).read_text(encoding="utf-8"))["tasks"]["category"]
    assert card["seed"] == 3
    assert card["texts"] == 60
    assert {"macro_f1", "accuracy"} <= set(card["cross_validated"])
    # The folder has one task; the others are the shipped model's.
    decision = Classifier.load(tmp_path / "first", ZHOUKOU).decide("我爸昏迷叫不醒")
    assert card["version"] in {reason.version.split("+")[0] for reason in decision.reasons}
    assert decision.tier.value == "red"
    measured = _run("evaluate", file, "--task", "category", "--model", tmp_path / "first", "--json")
    assert json.loads(measured.stdout)["accuracy"] > 0.9


def test_a_better_model_is_not_replaced_unless_forced(tmp_path: Path) -> None:
    out, file = tmp_path / "out", _write(tmp_path / "a.jsonl", _own_requests(40))
    words = ("train", file, "--task", "kind", "--out", out)
    assert _run(*words).exit_code == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    # Forty texts alone teach less than the shipped model knows.
    error = _run(*words, "--base", "none").exception
    assert isinstance(error, WorseModel)
    better, worse = map(float, re.findall(r"[01]\.\d{4}", str(error)))
    assert better > worse
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    forced = _run(*words, "--base", "none", "--force")
    assert forced.exit_code == 0, forced.exception
    assert set(before) - {CARD} != {path.name for path in out.iterdir()} - {CARD}
    # And the better one takes its place again without force.
    assert _run(*words).exit_code == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_what_a_broken_off_training_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "government-01234567.fold0.npz").write_bytes(b"half")
    (tmp_path / "my-notes.npz").write_bytes(b"mine")
    file = tmp_path / "a.txt"
    _write(file, _letters(30))
    assert _run("train", file, "--task", "government", "--out", tmp_path).exit_code == 0
    names = {path.name for path in tmp_path.iterdir()}
    assert "government-01234567.fold0.npz" not in names
    assert {"my-notes.npz", "a.txt", CARD} <= names
    measured = _run("evaluate", file, "--task", "government", "--model", tmp_path, "--json")
    assert json.loads(measured.stdout)["macro_f1"] == 1.0


def test_arrays_with_objects_are_never_unpickled(tmp_path: Path) -> None:
    card = json.loads((MODEL_FOLDER / CARD).read_text(encoding="utf-8"))
    (tmp_path / CARD).write_text(json.dumps(card), encoding="utf-8")

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    trap = np.array([Trap()], dtype=object)
    arrays = card["tasks"]["category"]["arrays"]
    np.savez(tmp_path / arrays, allow_pickle=True, rows=trap, weights=trap, bias=trap)
    with pytest.raises(ModelError):
        Classifier.load(tmp_path, ZHOUKOU)
    assert not (tmp_path / "sprung").exists()


def test_a_card_names_no_file_outside_its_folder(tmp_path: Path) -> None:
    card = json.loads((MODEL_FOLDER / CARD).read_text(encoding="utf-8"))
    for task in card["tasks"].values():
        task["arrays"] = str(MODEL_FOLDER / task["arrays"])
    (tmp_path / CARD).write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ModelError, match="no readable arrays"):
        Classifier.load(tmp_path, ZHOUKOU)


def test_corrections_replace_what_was_said_and_add_what_was_not(tmp_path: Path) -> None:
    files = [_write(tmp_path / "a.jsonl", [{"text": "甲", "tier": "blue"}])]
    corrections = [
        _write(
            tmp_path / "c.jsonl",
            [
                {"text": "甲", "tier": "red"},
                {"text": "乙", "tier": "orange"},
                {"text": "丙", "category": "food"},
            ],
        )
    ]
    texts = gather(files, corrections, ("tier",))
    assert [(one.text, one.labels["tier"]) for one in texts] == [
        ("甲", ("red",)),
        ("乙", ("orange",)),
    ]


def test_labels_that_the_service_does_not_know_are_not_learned(tmp_path: Path) -> None:
    rows: list[dict[str, str]] = [*_own_requests(30), {"text": "火星票怎么买", "category": "mars"}]
    file = _write(tmp_path / "a.jsonl", rows)
    error = _run("train", file, "--task", "category", "--out", tmp_path / "out").exception
    assert isinstance(error, FileFormatError)
    assert "line 31, field category: unknown label 'mars'" in str(error)


def test_too_few_texts_are_not_learned_from(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.jsonl", _own_requests(5))
    error = _run("train", file, "--task", "tier", "--out", tmp_path / "out").exception
    assert isinstance(error, FileFormatError)


def test_no_model_for_letters_ships_and_the_error_says_what_to_do(tmp_path: Path) -> None:
    file = _write(tmp_path / "a.jsonl", _letters(2))
    error = _run("evaluate", file, "--task", "government").exception
    assert isinstance(error, ModelError)
    assert "jieyou train" in str(error)


def test_figures_are_those_of_the_books() -> None:
    found = figures(
        [("a",), ("a",), ("b",), ("a", "b")], ["a", "b", "b", "b"], [0.9, 0.6, 0.8, 0.7]
    )
    assert found.accuracy == 0.75
    assert found.labels["a"].recall == 0.5
    assert found.labels["a"].precision == 1.0
    assert found.labels["b"].precision == pytest.approx(2 / 3)
    assert found.macro_f1 == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert found.confusion["a", "b"] == 1
    assert found.calibration_error == pytest.approx((0.1 + 0.6 + 0.2 + 0.3) / 4)
    assert area_under_curve([1, 2, 2, 3], [0, 0, 1, 1]) == pytest.approx(0.875)
    assert np.isnan(area_under_curve([1, 2], [1, 1]))
