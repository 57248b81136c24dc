"""What can be learned: requests (category, tier, kind, hotline) and letters (government).

A learner holds the texts of one training, fits a model to some of them and says what a model
decides about others, as the service would.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from contracts.danger import DangerMatcher
from contracts.profile import Profile
from contracts.text import normalise
from services.triage.domain import features as requests
from services.triage.domain import plain as letters
from services.triage.domain.classify import MODEL_FOLDER, Classification, Classifier
from services.triage.domain.features import Features, Floats
from services.triage.domain.linear import (
    PLAIN,
    TASKS,
    LinearModel,
    Part,
    Task,
    kept,
    parts_of,
    read_card,
)
from services.triage.learning.errors import FileFormatError
from services.triage.learning.fitting import (
    Doubles,
    Prior,
    balanced,
    fit,
    fit_margins,
    matrix,
    mix,
    targets,
)
from services.triage.learning.records import GOVERNMENT, LabelledText

FEWEST = 2  # texts that a bucket must stand in
Said = tuple[str, float]  # a label and how sure the model is of it


@dataclass(frozen=True, slots=True)
class Fitted:
    """A model just fitted: whole arrays, and how the columns belong to tasks."""

    part: Part

    def arrays(self) -> Mapping[str, Any]:
        """What is written of it."""
        return kept(self.part.weights, self.part.bias, self.part.rarity)

    def tempered(self, temperatures: Mapping[str, float], red_bound: float | None) -> Fitted:
        """The same with what was learned from its mistakes."""
        tasks = tuple(
            replace(
                task, temperature=temperatures[task.name], red_bound=red_bound or task.red_bound
            )
            for task in self.part.tasks
        )
        return Fitted(replace(self.part, tasks=tasks))


class Learner(Protocol):
    """The texts of one training, by number, and what can be done with them."""

    tasks: tuple[str, ...]
    features: str  # the version of how texts are read
    penalty: float
    sharpest: float  # the lowest temperature that may be fitted
    base: str  # the version of the model it starts from, or "none"

    def fit(self, numbers: Sequence[int]) -> Fitted: ...
    def wanted(self, task: str) -> Doubles: ...
    def scores(self, fitted: Fitted, task: str, numbers: Sequence[int]) -> Doubles: ...
    def say(self, parts: Sequence[Part], numbers: Sequence[int]) -> Mapping[str, list[Said]]: ...
    def combinations(self) -> list[list[str]]: ...
    def existing(self, folder: Path, fold: int | None) -> list[Part]: ...


class Requests:
    """Learns one or more of the tasks of a request, starting from the model that ships."""

    features = requests.VERSION
    penalty = 3.0
    mixing = 4.0
    sharpest = 1.0

    def __init__(
        self,
        texts: Sequence[LabelledText],
        tasks: Sequence[str],
        profile: Profile,
        *,
        from_shipped: bool,
    ) -> None:
        self.tasks = tuple(task for task in TASKS if task in tasks)
        self._profile = profile
        self._texts = texts
        self._card = read_card(MODEL_FOLDER)
        self._shipped = parts_of(MODEL_FOLDER, self._card, TASKS)
        others = [task for task in TASKS if task not in tasks]
        self._others = parts_of(MODEL_FOLDER, self._card, others)
        self.base = str(self._card["tasks"][self.tasks[0]]["version"]) if from_shipped else "none"
        self.labels = {task: tuple(self._card["tasks"][task]["labels"]) for task in self.tasks}
        for task in self.tasks:
            _check(texts, task, self.labels[task])
        matcher = DangerMatcher(profile)
        normalised = [normalise(text.text) for text in texts]
        self._prepared = [requests.prepare(text) for text in normalised]
        self._dangers = [matcher.find_in(text) for text in normalised]
        self._buckets = [np.unique(np.concatenate(requests.grams(text))) for text in self._prepared]

    def _prior(self) -> tuple[Prior, Floats]:
        """Where the weights start, and the rarity of the buckets that are known there."""
        width = sum(len(self.labels[task]) for task in self.tasks)
        none = Prior(
            np.zeros((requests.COLUMNS, width), dtype=np.float32),
            np.zeros(width, dtype=np.float32),
        )
        if self.base == "none":
            return none, np.zeros(requests.BUCKETS, dtype=np.float32)
        weights, biases = [], []
        for task in self.tasks:
            for part in self._shipped:
                for own in part.tasks:
                    if own.name == task:
                        columns = slice(own.first, own.first + len(own.labels))
                        weights.append(part.weights[:, columns])
                        biases.append(part.bias[columns])
        return (
            Prior(np.concatenate(weights, axis=1), np.concatenate(biases)),
            self._shipped[0].rarity,
        )

    def fit(self, numbers: Sequence[int]) -> Fitted:
        """Fit all tasks to the texts of these numbers."""
        prior, known = self._prior()
        rarity = rarity_of([self._buckets[n] for n in numbers], known)
        rows = matrix([self._row(n, rarity) for n in numbers], requests.COLUMNS)
        parts, tasks, first = [], [], 0
        for task in self.tasks:
            labels = self.labels[task]
            columns = slice(first, first + len(labels))
            wanted = self.wanted(task)[list(numbers)]
            importance = np.ones(len(numbers)) if self.base != "none" else balanced(wanted)
            start = Prior(prior.weights[:, columns], prior.bias[columns])
            if self.base != "none":
                start = mix(rows, wanted, importance, start, self.mixing)
            parts.append(fit(rows, wanted, importance, start, self.penalty))
            tasks.append(Task(task, labels, first, 1.0))
            first += len(labels)
        weights = np.concatenate([part.weights for part in parts], axis=1)
        bias = np.concatenate([part.bias for part in parts])
        return Fitted(Part(rarity, weights, bias, tuple(tasks)))

    def wanted(self, task: str) -> Doubles:
        """Each text's share of each label; texts that nobody judged for it have none."""
        return targets([text.labels.get(task, ()) for text in self._texts], self.labels[task])

    def scores(self, fitted: Fitted, task: str, numbers: Sequence[int]) -> Doubles:
        """Raw scores of the labels of one task."""
        part = fitted.part
        own = next(one for one in part.tasks if one.name == task)
        columns = slice(own.first, own.first + len(own.labels))
        found = np.zeros((len(numbers), len(own.labels)))
        for place, number in enumerate(numbers):
            row = self._row(number, part.rarity)
            found[place] = row.values @ part.weights[row.columns, columns] + part.bias[columns]
        return found

    def say(self, parts: Sequence[Part], numbers: Sequence[int]) -> Mapping[str, list[Said]]:
        """What the service would decide with these parts, and the shipped ones for other tasks."""
        classifier = Classifier(self._profile, self._model(parts))
        decisions = [classifier.decide(self._texts[number].text) for number in numbers]
        return {task: [said(one, task) for one in decisions] for task in self.tasks}

    def _model(self, parts: Sequence[Part]) -> LinearModel:
        return LinearModel.of([*parts, *self._others], self.combinations(), "trained")

    def combinations(self) -> list[list[str]]:
        """Labels that occur together: those of the shipped model and those of these texts."""
        found = {tuple(row) for row in self._card["combinations"]}
        for text in self._texts:
            if all(task in text.labels for task in TASKS):
                found.update(product(*(text.labels[task] for task in TASKS)))
        return sorted(map(list, found))

    def existing(self, folder: Path, fold: int | None) -> list[Part]:
        """The tasks of a folder's model, or of one of its folds. Raises ModelError."""
        card = read_card(folder)
        there = [task for task in self.tasks if task in card["tasks"]]
        return parts_of(folder, card, there, fold)

    def _row(self, number: int, rarity: Floats) -> Features:
        return requests.features(self._prepared[number], self._dangers[number], rarity)


class Letters:
    """Learns the class of letters to a government, from the files alone."""

    tasks: tuple[str, ...] = (GOVERNMENT,)
    features = PLAIN
    penalty = 6.0
    sharpest = 0.1  # margins are smaller than log-odds
    base = "none"

    def __init__(self, texts: Sequence[LabelledText]) -> None:
        self._texts = texts
        names = sorted({label for text in texts for label in text.labels[GOVERNMENT]})
        if len(names) < 2:
            raise FileFormatError(
                "the files have fewer than two different labels; nothing to learn"
            )
        self.labels = tuple(names)
        self._prepared = [letters.prepare(text.text) for text in texts]
        self._buckets = [
            np.unique(np.concatenate(requests.grams(t, letters.LONGEST, letters.BITS)))
            for t in self._prepared
        ]

    def fit(self, numbers: Sequence[int]) -> Fitted:
        """Fit to the letters of these numbers."""
        none = np.zeros(letters.COLUMNS, dtype=np.float32)
        rarity = rarity_of([self._buckets[n] for n in numbers], none)
        rows = matrix([self._row(n, rarity) for n in numbers], letters.COLUMNS)
        wanted = self.wanted(GOVERNMENT)[list(numbers)]
        found = fit_margins(rows, wanted, self.penalty)
        task = Task(GOVERNMENT, self.labels, 0, 1.0)
        return Fitted(Part(rarity, found.weights, found.bias, (task,)))

    def wanted(self, task: str) -> Doubles:
        """Each letter's share of each label."""
        return targets([text.labels[task] for text in self._texts], self.labels)

    def scores(self, fitted: Fitted, task: str, numbers: Sequence[int]) -> Doubles:
        """Raw scores of the labels."""
        part = fitted.part
        rows = [self._row(number, part.rarity) for number in numbers]
        return np.array([r.values @ part.weights[r.columns] + part.bias for r in rows])

    def say(self, parts: Sequence[Part], numbers: Sequence[int]) -> Mapping[str, list[Said]]:
        """What the model decides."""
        (part,) = parts
        task = part.tasks[0]
        model = letters.PlainModel(
            "trained", task.labels, task.temperature, part.rarity, part.weights, part.bias
        )
        return {GOVERNMENT: model.decide_many([self._texts[number].text for number in numbers])}

    def combinations(self) -> list[list[str]]:
        """None: there is one task."""
        return []

    def existing(self, folder: Path, fold: int | None) -> list[Part]:
        """The folder's model, or one of its folds. Raises ModelError."""
        if GOVERNMENT not in read_card(folder)["tasks"]:
            return []
        model = letters.PlainModel.load(folder, GOVERNMENT, fold)
        task = Task(GOVERNMENT, model.labels, 0, model.temperature)
        return [Part(model.rarity, model.weights, model.bias, (task,))]

    def _row(self, number: int, rarity: Floats) -> Features:
        return letters.features(self._prepared[number], rarity)


def said(decision: Classification, task: str) -> Said:
    """A decision's label for one task, and how sure it is."""
    value = getattr(decision, task)
    return str(getattr(value, "value", value)), float(getattr(decision, f"{task}_confidence"))


def _check(texts: Iterable[LabelledText], task: str, labels: Sequence[str]) -> None:
    for text in texts:
        for label in text.labels.get(task, ()):
            if label not in labels:
                known = ", ".join(labels)
                raise FileFormatError(
                    f"{text.place}, field {task}: unknown label {label[:40]!r}; known: {known}"
                )


def rarity_of(buckets: Sequence[requests.Indices], known: Floats) -> Floats:
    """Inverse document frequency of what is seen often enough; what is known keeps its own."""
    seen = np.bincount(np.concatenate(buckets), minlength=len(known))
    rarity: Floats = (np.log((1 + len(buckets)) / (1 + seen)) + 1).astype(np.float32)
    rarity[seen < FEWEST] = 0
    return np.where(known > 0, known, rarity)
