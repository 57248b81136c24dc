"""Likeness of texts and the search for documents: what they tell apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from deploy.cli import make_app
from services.triage.domain.features import Floats
from services.triage.domain.passages import Passage, PassageIndex
from services.triage.domain.similarity import Wording, band_keys, likeness, signature
from services.triage.meaning import Meaning


def _score(first: str, second: str, cosine: float | None = None) -> float:
    return likeness(Wording.of(first), Wording.of(second), cosine).score


def test_other_words_for_the_same_aspect_are_more_alike_than_another_aspect() -> None:
    asked = "健康码转绿需要多久"
    assert _score(asked, "健康码转绿要几天") > _score(asked, "健康码转绿找谁办理")
    assert _score(asked, "健康码转绿要几天", 0.95) > _score(asked, "健康码转绿找谁办理", 0.95)


def test_meaning_raises_the_score_and_the_same_text_is_alike() -> None:
    first, second = "透析的班车几点来", "接透析病人的车什么时候到"
    assert _score(first, second, 0.97) > _score(first, second, 0.80)
    assert _score(first, first, 1.0) > 0.9
    assert _score(first, "超市几点开门", 0.78) < 0.2


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=80), st.text(max_size=80))
def test_likeness_is_the_same_both_ways_for_any_texts(first: str, second: str) -> None:
    assert 0 <= _score(first, second) <= 1
    assert _score(first, second) == pytest.approx(_score(second, first))
    assert len(band_keys(signature(first))) == 16


def test_minhash_estimates_the_overlap_and_near_copies_share_a_key() -> None:
    first = "李庄村口被土堆堵死了，救护车进不来，请派人来挖开，村里有透析病人要出去"
    second = "李庄村口被土堆堵死了，救护车进不来，请尽快派人挖开，村里有透析病人要出去！"
    other = "高三什么时候返校，要不要核酸证明，家长能不能送进校门"
    pairs = Wording.of(first).pairs, Wording.of(second).pairs
    jaccard = len(pairs[0] & pairs[1]) / len(pairs[0] | pairs[1])
    estimate = float((signature(first) == signature(second)).mean())
    assert estimate == pytest.approx(jaccard, abs=0.2)
    assert set(band_keys(signature(first))) & set(band_keys(signature(second)))
    assert not set(band_keys(signature(first))) & set(band_keys(signature(other)))


POLICIES = [
    Passage("a", "太康县返乡人员要隔离几天？", "集中隔离十四天"),
    Passage("a", "太康县返乡要提前报备吗？", "提前三天向村委报备"),
    Passage("b", "鹿邑县返乡人员要隔离几天？", "居家隔离七天"),
    Passage("b", "鹿邑县哪里可以做核酸？", "县医院"),
    Passage("c", "小微企业贷款怎么延期？", "向开户银行申请"),
]


def test_the_place_decides_between_documents_that_say_the_same() -> None:
    index = PassageIndex(POLICIES)
    assert index.search("从外地回鹿邑县隔离多少天", 1) == ["b"]
    assert index.search("从外地回太康县隔离多少天", 1) == ["a"]
    assert index.search("企业的贷款能延期还吗", 2)[0] == "c"
    assert len(index.search("隔离", 10)) == 3


def test_a_left_out_passage_is_found_by_the_others_of_its_document_alone() -> None:
    index = PassageIndex(POLICIES)
    assert index.search_like(0, 2)[0] == "a"
    assert PassageIndex(POLICIES[2:]).search_like(0, 1) == ["b"]
    assert "c" not in index.search_like(4, 3)


def test_meaning_finds_what_shares_no_character() -> None:
    vectors = np.eye(5, dtype=np.float32)
    index = PassageIndex(POLICIES, vectors)
    assert index.search("XYZ", 1, vectors[4]) == ["c"]


class _Letters:
    """An encoder for tests: counts what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def query(self, texts: list[str]) -> Floats:
        self.asked += texts
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


def test_each_text_is_embedded_once_and_keeps_its_place() -> None:
    encoder = _Letters()
    meaning = Meaning(encoder, "test")
    vectors = meaning.of(["甲乙丙", "甲", "甲乙丙"])
    assert vectors[:, 0].tolist() == [3, 1, 3]
    meaning.of(["甲"])
    assert sorted(encoder.asked) == ["甲", "甲乙丙"]
    assert max(map(len, meaning.of(["长" * 4000]).shape and encoder.asked)) <= 500


def test_similar_and_answers_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.triage.meaning.installed_meaning", lambda: None)
    pairs = tmp_path / "pairs.jsonl"
    rows: list[dict[str, object]] = [
        {"q1": "高铁几点开", "q2": "高铁什么时候开", "same": 1},
        {"q1": "高铁几点开", "q2": "口罩多少钱", "same": 0},
    ]
    pairs.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    run = CliRunner().invoke(make_app(), ["evaluate", str(pairs), "--task", "similar", "--json"])
    assert json.loads(run.stdout) == {"auc": 1.0}
    questions = tmp_path / "questions.jsonl"
    rows = [{"question": p.heading, "answer": p.body, "doc": p.document} for p in POLICIES]
    rows.append({"question": "谁也不知道的", "answer": None, "doc": None})
    questions.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    words = ["evaluate", str(questions), "--task", "answers", "--json"]
    assert json.loads(CliRunner().invoke(make_app(), words).stdout) == {"hit3": 1.0}
