"""The labelled files that are learned from and measured on: four formats of JSON lines.

| task | fields of a line |
|---|---|
| category, tier, kind, hotline | `text` and the task's name: a label, or a list: any is right |
| government | `text`, `label` |
| similar | `q1`, `q2`, `same` (0 or 1) |
| answers | `question`, `answer`, `doc` (the document's id); null where nobody knows it |

Other fields are ignored. Error texts name file, line and field, never what a citizen wrote.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from services.triage.learning.errors import FileFormatError

REQUEST_TASKS = ("category", "tier", "kind", "hotline")
GOVERNMENT = "government"
TASKS = (*REQUEST_TASKS, GOVERNMENT, "similar", "answers")
_FIELDS = {
    **{task: ("text", task) for task in REQUEST_TASKS},
    GOVERNMENT: ("text", "label"),
    "similar": ("q1", "q2", "same"),
    "answers": ("question", "answer", "doc"),
}


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text with, for each task that somebody judged, the labels of which any is right."""

    text: str
    labels: Mapping[str, tuple[str, ...]]
    place: str = ""  # its file and line, for error texts


@dataclass(frozen=True, slots=True)
class Pair:
    """Two questions, and whether they ask the same."""

    first: str
    second: str
    is_same: bool


@dataclass(frozen=True, slots=True)
class PolicyQuestion:
    """A question on policy with its answer and document, where these are known."""

    question: str
    answer: str | None
    document: str | None


def read_texts(path: Path, task: str, *, partial: bool = False) -> list[LabelledText]:
    """Labelled texts of a file for `task`; its other request tasks are read where they stand.

    With `partial` a line may lack the task: a correction of something else. Raises FileFormatError.
    """
    field = _FIELDS[task][1]
    found: list[LabelledText] = []
    for line in _lines(path, () if partial else _FIELDS[task], task):
        text = line.text("text")
        labels: dict[str, tuple[str, ...]] = {}
        if field in line.values:
            labels[task] = line.labels(field)
        for other in REQUEST_TASKS if task in REQUEST_TASKS else ():
            if other != task and other in line.values:
                labels[other] = line.labels(other)
        found.append(LabelledText(text, labels, f"{path}, line {line.number}"))
    return found


def read_pairs(path: Path) -> list[Pair]:
    """Pairs of questions. Raises FileFormatError."""
    return [
        Pair(line.text("q1"), line.text("q2"), line.yes_or_no("same"))
        for line in _lines(path, _FIELDS["similar"], "similar")
    ]


def read_questions(path: Path) -> list[PolicyQuestion]:
    """Questions on policy, those without document too. Raises FileFormatError."""
    return [
        PolicyQuestion(line.text("question"), line.optional("answer"), line.optional("doc"))
        for line in _lines(path, _FIELDS["answers"], "answers")
    ]


@dataclass(frozen=True, slots=True)
class _Line:
    path: Path
    number: int
    values: dict[str, Any]

    def text(self, field: str) -> str:
        value = self.values.get(field)
        return value if isinstance(value, str) else self._refuse(field, "a text is expected")

    def optional(self, field: str) -> str | None:
        value = self.values[field]
        return None if value is None or value == "" else self.text(field)

    def labels(self, field: str) -> tuple[str, ...]:
        value = self.values[field]
        labels = value if isinstance(value, list) else [value]
        if not labels or not all(isinstance(label, str) and label.strip() for label in labels):
            self._refuse(field, "a label or a list of labels is expected")
        return tuple(dict.fromkeys(label.strip() for label in labels))

    def yes_or_no(self, field: str) -> bool:
        value = self.values[field]
        if value not in (0, 1):
            self._refuse(field, "0 or 1 is expected")
        return bool(value)

    def _refuse(self, field: str, why: str) -> NoReturn:
        raise FileFormatError(f"{self.path}, line {self.number}, field {field}: {why}")


def _lines(path: Path, fields: tuple[str, ...], task: str) -> Iterator[_Line]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, raw in enumerate(file, 1):
                if raw.strip():
                    yield _line(path, number, raw, fields, task)
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise FileFormatError(f"{path}: is not UTF-8 text; save it as UTF-8 JSON lines") from None


def _line(path: Path, number: int, raw: str, fields: tuple[str, ...], task: str) -> _Line:
    try:
        values = json.loads(raw)
    except (ValueError, RecursionError):
        raise FileFormatError(f"{path}, line {number}: is not JSON (one object a line)") from None
    if not isinstance(values, dict):
        raise FileFormatError(f"{path}, line {number}: is not a JSON object")
    for field in fields:
        if field not in values:
            raise FileFormatError(
                f"{path}, line {number}, field {field}: is missing; task {task} needs"
                f" {', '.join(fields)}{_looks_like(values, task)}"
            )
    return _Line(path, number, values)


def _looks_like(values: Mapping[str, Any], task: str) -> str:
    fitting = [t for t in TASKS if t != task and all(field in values for field in _FIELDS[t])]
    return f" (this looks like a file for: {', '.join(fitting)})" if fitting else ""
