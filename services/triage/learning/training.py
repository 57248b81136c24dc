"""Trains a model from labelled files, measures it on texts it has not seen, and keeps the better.

Which texts are held out together depends on the text and the seed alone. The models of the
cross-validation are kept beside the final one: so a later training can judge an older model
fairly on any files, each text by a model that has not seen it, and refuse to replace a better one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contracts.profile import Profile
from services.triage.domain.linear import CARD, Part, read_card
from services.triage.learning import keeping
from services.triage.learning.errors import FileFormatError, WorseModel
from services.triage.learning.figures import Figures, figures
from services.triage.learning.fitting import one_thread, temperature
from services.triage.learning.learners import Fitted, Learner, Letters, Requests, Said
from services.triage.learning.records import (
    GOVERNMENT,
    REQUEST_TASKS,
    LabelledText,
    read_texts,
)

FOLDS = 5
FEWEST = 20  # texts without which a cross-validation says nothing
RED_PRECISION = 0.80  # on unseen texts; the promise is 0.75
_RED_BOUNDS = (0.5, 0.4, 0.3, 0.25, 0.2, 0.15, 0.12, 0.1, 0.08, 0.06, 0.05, 0.04)
_RED_SAMPLE = 3_000  # texts on which the bound is sought: more cost time and change nothing

Say = Callable[[str, int, int], None]  # what is done, how much of how much


@dataclass(frozen=True, slots=True)
class Outcome:
    """A training that was written: its version and what it is worth on texts it had not seen."""

    version: str
    texts: int
    figures: Mapping[str, Figures]
    replaced: float | None  # the macro-F1 (mean of the tasks) of the model that stood there


def tasks_of(name: str) -> tuple[str, ...]:
    """The tasks that `--task name` trains: one, or with "all" the four of a request."""
    return REQUEST_TASKS if name == "all" else (name,)


def gather(
    files: Sequence[Path], corrections: Sequence[Path], tasks: Sequence[str]
) -> list[LabelledText]:
    """Texts of all files; a correction replaces the labels it gives of the same text, or adds it.

    Raises FileFormatError.
    """
    texts: list[LabelledText] = []
    for path in files:
        for task in tasks:  # every task's field is checked, with its own line in an error
            found = read_texts(path, task)
        texts += found
    corrected: dict[str, LabelledText] = {}
    for path in corrections:
        for one in read_texts(path, tasks[0], partial=True):
            earlier = corrected.get(one.text)
            labels = {**(earlier.labels if earlier else {}), **one.labels}
            corrected[one.text] = LabelledText(one.text, labels, one.place)
    merged = []
    for text in texts:
        better = corrected.get(text.text)
        merged.append(
            LabelledText(text.text, {**text.labels, **better.labels}, better.place)
            if better
            else text
        )
    known = {text.text for text in texts}
    merged += [one for one in corrected.values() if one.text not in known]
    return [one for one in merged if all(task in one.labels for task in tasks)]


def train(
    texts: Sequence[LabelledText],
    name: str,
    folder: Path,
    profile: Profile,
    *,
    from_shipped: bool = True,
    seed: int = 0,
    force: bool = False,
    say: Say = lambda what, done, total: None,
) -> Outcome:
    """Fit, cross-validate, compare and write. Raises WorseModel, FileFormatError, ModelError."""
    tasks = tasks_of(name)
    if len(texts) < FEWEST:
        raise FileFormatError(f"{len(texts)} labelled texts are too few; {FEWEST} at least")
    learner: Learner
    if name == GOVERNMENT:
        learner = Letters(texts)
    else:
        learner = Requests(texts, tasks, profile, from_shipped=from_shipped)
    folds = _folds(texts, seed)
    with one_thread():
        fitted = _fit_folds(learner, folds, say)
    told = _measure(learner, fitted, folds, texts)
    new = _mean(told, tasks)
    old = _existing(learner, texts, folder, say)
    if old is not None and old > new + 1e-9 and not force:
        raise WorseModel(
            f"{folder} holds a better model: macro-F1 {old:.4f}, the new one has {new:.4f} (on"
            f" these {len(texts)} texts, each judged by a model that had not seen it); nothing is"
            " replaced, --force would"
        )
    say("fitting", 0, 1)
    with one_thread():
        final = _like(learner.fit(range(len(texts))), fitted[0])
    about = keeping.about(learner, texts, name, seed, told)
    keeping.write(learner, final, fitted, folder, about)
    return Outcome(str(about["version"]), len(texts), told, old)


def _folds(texts: Sequence[LabelledText], seed: int) -> list[int]:
    return [
        int.from_bytes(
            hashlib.sha256(f"{seed}:{text.text}".encode("utf-8", "replace")).digest()[:4]
        )
        % FOLDS
        for text in texts
    ]


def _fit_folds(learner: Learner, folds: Sequence[int], say: Say) -> list[Fitted]:
    """A model for each fold, fitted to the others; softened and bounded by what it did not see."""
    fitted = []
    for fold in range(FOLDS):
        say("folds", fold + 1, FOLDS)
        fitted.append(learner.fit([n for n, own in enumerate(folds) if own != fold]))
    temperatures = {}
    for task in learner.tasks:
        wanted = learner.wanted(task)
        scores = np.zeros_like(wanted)
        for fold in range(FOLDS):
            numbers = [n for n, own in enumerate(folds) if own == fold]
            if numbers:
                scores[numbers] = learner.scores(fitted[fold], task, numbers)
        temperatures[task] = temperature(scores, wanted, learner.sharpest)
    fitted = [one.tempered(temperatures, None) for one in fitted]
    if "tier" not in learner.tasks:
        return fitted
    bound = _red_bound(learner, fitted, folds, say)
    return [one.tempered(temperatures, bound) for one in fitted]


def _like(final: Fitted, fold: Fitted) -> Fitted:
    """The final model with the temperatures and the bound that the folds were found to need."""
    return final.tempered(
        {task.name: task.temperature for task in fold.part.tasks},
        next((task.red_bound for task in fold.part.tasks if task.name == "tier"), None),
    )


def _red_bound(learner: Learner, fitted: Sequence[Fitted], folds: Sequence[int], say: Say) -> float:
    """The probability from which a request is red: recall as high as precision allows."""
    wanted = learner.wanted("tier")
    red = fitted[0].part.tasks[learner.tasks.index("tier")].labels.index("red")
    sample = range(min(len(folds), _RED_SAMPLE))
    best, best_recall = _RED_BOUNDS[0], -1.0
    for step, bound in enumerate(_RED_BOUNDS, 1):
        say("red", step, len(_RED_BOUNDS))
        bounded = [
            one.tempered({t.name: t.temperature for t in one.part.tasks}, bound) for one in fitted
        ]
        said = _said(learner, [[one.part] for one in bounded], [folds[n] for n in sample])["tier"]
        named = np.array([label == "red" for label, _ in said])
        right = wanted[list(sample), red] > 0
        hits = float((named & right).sum())
        precision = hits / named.sum() if named.any() else 0.0
        recall = hits / max(float((wanted[list(sample), red] == 1).sum()), 1.0)
        if precision >= RED_PRECISION and recall > best_recall:
            best, best_recall = bound, recall
    return best


def _said(
    learner: Learner, parts: Sequence[Sequence[Part]], folds: Sequence[int]
) -> dict[str, list[Said]]:
    """What is said of each text by the model of its fold."""
    found: dict[str, list[Said]] = {task: [("", 0.0)] * len(folds) for task in learner.tasks}
    for fold, own in enumerate(parts):
        numbers = [n for n, at in enumerate(folds) if at == fold]
        if not numbers:
            continue
        for task, told in learner.say(own, numbers).items():
            for number, one in zip(numbers, told, strict=True):
                found[task][number] = one
    return found


def _measure(
    learner: Learner,
    fitted: Sequence[Fitted],
    folds: Sequence[int],
    texts: Sequence[LabelledText],
) -> dict[str, Figures]:
    return _figures(_said(learner, [[one.part] for one in fitted], folds), texts)


def _figures(
    said: Mapping[str, Sequence[Said]], texts: Sequence[LabelledText]
) -> dict[str, Figures]:
    return {
        task: figures(
            [text.labels[task] for text in texts],
            [one for one, _ in own],
            [sure for _, sure in own],
        )
        for task, own in said.items()
    }


def _mean(told: Mapping[str, Figures], tasks: Sequence[str]) -> float:
    return sum(told[task].macro_f1 for task in tasks) / len(tasks)


def _existing(
    learner: Learner,
    texts: Sequence[LabelledText],
    folder: Path,
    say: Say,
) -> float | None:
    """What the folder's model is worth on these texts, or None if it lacks one of the tasks."""
    if not (folder / CARD).exists():
        return None
    card = read_card(folder)
    there = [task for task in learner.tasks if task in card["tasks"]]
    if len(there) < len(learner.tasks):
        return None
    say("existing", 0, 1)
    about = card["tasks"][there[0]]
    if about.get("folds"):
        folds = _folds(texts, int(about["seed"]))
        parts = [learner.existing(folder, fold) for fold in range(FOLDS)]
    else:  # the shipped one has seen no file
        folds, parts = [0] * len(texts), [learner.existing(folder, None)]
    return _mean(_figures(_said(learner, parts, folds), texts), learner.tasks)
