"""Trains the shipped model from `requests.jsonl`, reproducibly.

    python -m services.triage.training.build

Needs scikit-learn (`pip install jieyou[train]`); the services need only numpy. The card beside the
arrays says from what and how they were made.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse  # type: ignore[import-untyped,import-not-found,unused-ignore]
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold

from contracts.danger import DangerMatcher
from contracts.profile import load_profile
from contracts.text import normalise
from services.triage.domain.features import BUCKETS, COLUMNS, VERSION, Floats, features, prepare
from services.triage.domain.linear import ARRAYS, CARD, TASKS
from services.triage.training.generate import REQUESTS, SEED

MODEL = Path(__file__).resolve().parent.parent / "model"
PROFILE = "zhoukou"  # its danger lexicon gives the danger features
STRENGTH = 6.0  # inverse of the penalty
FEWEST = 2  # requests a bucket must stand in
FOLDS = 5


@dataclass(frozen=True, slots=True)
class Rows:
    """Training requests as a matrix, with their labels by task and the seeds they grew from."""

    matrix: scipy.sparse.csr_matrix
    labels: dict[str, list[str]]
    seeds: list[str]
    rarity: Floats


def read(path: Path = REQUESTS) -> Rows:
    """Features of all training requests; the rarity of each bucket comes from the same texts."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    matcher = DangerMatcher(load_profile(PROFILE))
    normalised = [normalise(record["text"]) for record in records]
    texts = [prepare(text) for text in normalised]
    dangers = [matcher.find_in(text) for text in normalised]
    seen = np.zeros(BUCKETS, dtype=np.float64)
    flat = np.ones(BUCKETS, dtype=np.float32)
    for text in texts:
        columns = features(text, None, flat).columns
        seen[columns[columns < BUCKETS]] += 1
    rarity = (np.log((1 + len(texts)) / (1 + seen)) + 1).astype(np.float32)
    rarity[seen < FEWEST] = 0
    matrix = _matrix([features(t, d, rarity) for t, d in zip(texts, dangers, strict=True)])
    labels = {task: [str(record[task]) for record in records] for task in TASKS}
    return Rows(matrix, labels, [record["seed"] for record in records], rarity)


def _matrix(rows: Sequence[Any]) -> scipy.sparse.csr_matrix:
    starts = np.cumsum([0] + [len(row.columns) for row in rows])
    return scipy.sparse.csr_matrix(
        (
            np.concatenate([row.values for row in rows]),
            np.concatenate([row.columns for row in rows]),
            starts,
        ),
        shape=(len(rows), COLUMNS),
    )


def _fit(matrix: scipy.sparse.csr_matrix, labels: Sequence[str]) -> LogisticRegression:
    model = LogisticRegression(C=STRENGTH, max_iter=300, tol=1e-3)
    # All labels weigh the same in sum: how many of each we wrote says nothing about the world.
    names, counts = np.unique(labels, return_counts=True)
    weight = {n: float(len(labels) / len(names) / c) for n, c in zip(names, counts, strict=True)}
    return model.fit(matrix, labels, sample_weight=[weight[label] for label in labels])


def _temperature(rows: Rows, task: str) -> tuple[float, float]:
    """How much softer the scores must be to tell the truth about seeds never seen, and how often
    the first label is right on those."""
    labels = np.array(rows.labels[task])
    names = np.unique(labels)
    scores = np.zeros((len(labels), len(names)))
    for train, test in GroupKFold(FOLDS).split(rows.matrix, labels, rows.seeds):
        model = _fit(rows.matrix[train], list(labels[train]))
        columns = [list(names).index(name) for name in model.classes_]
        scores[np.ix_(test, columns)] = _scores(model, rows.matrix[test])
    truth = np.searchsorted(names, labels)
    # Never sharper than the model is: other people's sentences are less alike than our own.
    candidates = np.arange(1.0, 6.01, 0.1)
    losses = [_loss(scores / t, truth) for t in candidates]
    right = float((scores.argmax(axis=1) == truth).mean())
    return round(float(candidates[int(np.argmin(losses))]), 2), right


def _scores(model: LogisticRegression, matrix: scipy.sparse.csr_matrix) -> Any:
    return matrix @ model.coef_.T + model.intercept_


def _loss(scores: Any, truth: Any) -> float:
    shifted = scores - scores.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return float(-logs[np.arange(len(truth)), truth].mean())


def build(folder: Path = MODEL) -> dict[str, Any]:
    """Train all tasks, write arrays and card; returns the card."""
    rows = read()
    parts, biases, tasks = [], [], {}
    for task in TASKS:
        model = _fit(rows.matrix, rows.labels[task])
        temperature, right = _temperature(rows, task)
        parts.append(model.coef_.T.astype(np.float32))
        biases.append(model.intercept_.astype(np.float32))
        tasks[task] = {
            "labels": [str(name) for name in model.classes_],
            "temperature": temperature,
            "right_on_unseen_seeds": round(right, 4),
        }
    weights = np.concatenate(parts, axis=1)
    bias = np.concatenate(biases)
    kept = np.flatnonzero(np.abs(weights).max(axis=1) > 0)
    scale = (np.abs(weights).max(axis=0) / 127).astype(np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        folder / ARRAYS,
        rows=kept.astype(np.int32),
        weights=np.rint(weights[kept] / scale).astype(np.int8),
        scale=scale,
        bias=bias,
        rarity=rows.rarity[kept[kept < BUCKETS]].astype(np.float16),
    )
    card = _card(rows, tasks)
    text = json.dumps(card, ensure_ascii=False, indent=2)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")
    return card


def _card(rows: Rows, tasks: dict[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256(REQUESTS.read_bytes()).hexdigest()
    return {
        "version": f"linear-{digest[:8]}",
        "features": VERSION,
        "method": "multinomial logistic regression on hashed character n-grams (1-3), danger signs"
        " and form; weights in 8 bits; confidences scaled by a temperature fitted on unseen seeds",
        "requests": len(rows.seeds),
        "requests_sha256": digest,
        "seeds": len(set(rows.seeds)),
        "seed": SEED,
        "danger_lexicon": PROFILE,
        "combinations": sorted(map(list, set(zip(*(rows.labels[t] for t in TASKS), strict=True)))),
        "strength": STRENGTH,
        "tasks": tasks,
        "made_with": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
        "texts": "written for this project and combined by services/triage/training/generate.py;"
        " no citizen's words are among them",
    }


if __name__ == "__main__":
    print(json.dumps(build(), ensure_ascii=False, indent=2))
