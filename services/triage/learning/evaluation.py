"""Measures what is decided about a labelled file, by the shipped model or a trained one.

Likeness and answers need no model of their own: `domain/similarity.py` and `domain/passages.py`,
with embeddings where they are installed (`services/triage/meaning.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from contracts.profile import Profile
from services.triage.domain.classify import MODEL_FOLDER, Classifier
from services.triage.domain.linear import ModelError
from services.triage.domain.passages import Passage, PassageIndex
from services.triage.domain.plain import PlainModel
from services.triage.domain.similarity import Wording, likeness
from services.triage.learning.errors import FileFormatError
from services.triage.learning.figures import Figures, area_under_curve, figures
from services.triage.learning.learners import said
from services.triage.learning.records import (
    GOVERNMENT,
    REQUEST_TASKS,
    read_pairs,
    read_questions,
    read_texts,
)
from services.triage.meaning import Meaning

FIRST = 3  # places in which the right document counts as found


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was measured: `scores` is what `--json` prints, by name; `figures` for the tables."""

    task: str
    count: int
    scores: dict[str, float]
    model: str
    figures: Figures | None = None
    notes: tuple[str, ...] = ()
    compared: dict[str, float] = field(default_factory=dict)  # the same by simpler means


def evaluate(
    path: Path,
    task: str,
    profile: Profile,
    *,
    folder: Path | None = None,
    meaning: Meaning | None = None,
    say: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Evaluation:
    """Measure `task` on a file. Raises FileFormatError and ModelError."""
    if task in REQUEST_TASKS:
        return _requests(path, task, profile, folder or MODEL_FOLDER, say)
    if task == GOVERNMENT:
        return _letters(path, folder, say)
    if folder is not None:
        raise ModelError(f"task {task} is not answered by a trained model; leave --model out")
    return _pairs(path, meaning, say) if task == "similar" else _questions(path, meaning, say)


def _requests(
    path: Path, task: str, profile: Profile, folder: Path, say: Callable[[str, int, int], None]
) -> Evaluation:
    texts = read_texts(path, task)
    classifier = Classifier.load(folder, profile)
    told = []
    for number, text in enumerate(texts):
        if number % 500 == 0:
            say("deciding", number, len(texts))
        told.append(said(classifier.decide(text.text), task))
    found = figures([t.labels[task] for t in texts], [s for s, _ in told], [c for _, c in told])
    return Evaluation(task, len(texts), _scores(found), classifier.model_version, found)


def _letters(path: Path, folder: Path | None, say: Callable[[str, int, int], None]) -> Evaluation:
    texts = read_texts(path, GOVERNMENT)
    if folder is None:
        raise ModelError(
            "no model for government ships; train one (`jieyou train FILE --task government"
            " --out FOLDER`) and name it with --model"
        )
    model = PlainModel.load(folder, GOVERNMENT)
    told = []
    for number, text in enumerate(texts):
        if number % 500 == 0:
            say("deciding", number, len(texts))
        told.append(model.decide(text.text))
    truth = [text.labels[GOVERNMENT] for text in texts]
    found = figures(truth, [s for s, _ in told], [c for _, c in told])
    return Evaluation(GOVERNMENT, len(texts), _scores(found), model.version, found)


def _scores(found: Figures) -> dict[str, float]:
    scores = {"macro_f1": found.macro_f1, "accuracy": found.accuracy}
    if "red" in found.labels and found.count:
        scores["red_recall"] = found.labels["red"].recall
        scores["red_precision"] = found.labels["red"].precision
    return scores


def _pairs(path: Path, meaning: Meaning | None, say: Callable[[str, int, int], None]) -> Evaluation:
    pairs = read_pairs(path)
    same = [pair.is_same for pair in pairs]
    if pairs and len(set(same)) < 2:
        raise FileFormatError(f"{path}: needs pairs of both kinds, same 0 and same 1")
    texts = list(dict.fromkeys(text for pair in pairs for text in (pair.first, pair.second)))
    vectors = dict(zip(texts, meaning.of(texts, say), strict=True)) if meaning else {}
    wordings = {text: Wording.of(text) for text in texts}
    alike, by_letters, by_meaning = [], [], []
    for pair in pairs:
        first, second = wordings[pair.first], wordings[pair.second]
        cosine = float(vectors[pair.first] @ vectors[pair.second]) if vectors else None
        alike.append(likeness(first, second, cosine).score)
        by_letters.append(first.overlap(second))
        by_meaning.append(cosine or 0.0)
    if not pairs:
        return Evaluation("similar", 0, {}, _how(meaning))
    compared = {"字符重合": area_under_curve(by_letters, same)}
    if vectors:
        compared["语义向量"] = area_under_curve(by_meaning, same)
    scores = {"auc": area_under_curve(alike, same)}
    return Evaluation("similar", len(pairs), scores, _how(meaning), compared=compared)


def _questions(
    path: Path, meaning: Meaning | None, say: Callable[[str, int, int], None]
) -> Evaluation:
    """Each question is asked of all others: its document is found by its other questions alone."""
    rows = [q for q in read_questions(path) if q.document is not None]
    count = Counter(q.document for q in rows)
    index = PassageIndex(
        [Passage(str(q.document), q.question, q.answer or "") for q in rows],
        meaning.of([q.question for q in rows], say) if meaning else None,
    )
    hits, bare, asked = 0, 0, 0
    for number, question in enumerate(rows):
        if count[question.document] < 2:
            continue
        if asked % 200 == 0:
            say("searching", number, len(rows))
        asked += 1
        right = str(question.document)
        hits += right in index.search_like(number, FIRST)
        bare += right in index.search_like(number, FIRST, plain=True)
    alone = sum(number == 1 for number in count.values())
    notes = (f"另有 {alone} 个问题的文件没有其他问题涉及，无从找到，不计。",)
    scores = {"hit3": hits / asked} if asked else {}
    compared = {"仅 BM25": bare / asked} if asked else {}
    return Evaluation("answers", asked, scores, _how(meaning), notes=notes, compared=compared)


def _how(meaning: Meaning | None) -> str:
    return f"wording and {meaning.version}" if meaning else "wording alone"
