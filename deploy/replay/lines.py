"""The lines of a JSONL file of citizens' texts, in the shapes that such files have.

A text stands under `text` or, in files of questions and answers, under `question`. `category` and
`tier` are labels where they hold the platform's own codes; a list means that either is right.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, get_args

import orjson

from contracts.profile import CategoryCode, TierCode

_TEXTS = ("text", "question")
_LABELS = {"category": frozenset(get_args(CategoryCode)), "tier": frozenset(get_args(TierCode))}


class NotReadable(Exception):
    """The file cannot be read; the message is one line."""


@dataclass(frozen=True, slots=True)
class Line:
    """A text of the file. `key` is the same whenever the same line is replayed."""

    number: int
    key: str
    text: str = field(repr=False)
    categories: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    repeats: int | None = None
    """The first line with the same text: another citizen who writes the same."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line without a text, and why."""

    number: int
    why: str


def read_lines(path: Path, limit: int | None = None) -> Iterator[Line | Unreadable]:
    """Yield what each line holds, the first `limit` of them. Raises NotReadable."""
    try:
        with path.open("rb") as file:
            yield from lines_of(path.name, file, limit)
    except OSError as error:
        raise NotReadable(f"{path}: {error.strerror or type(error).__name__}") from None


def lines_of(
    name: str, raw_lines: Iterable[bytes], limit: int | None = None
) -> Iterator[Line | Unreadable]:
    """Yield what each line of a file of this name holds."""
    first_with: dict[bytes, int] = {}
    for number, raw in enumerate(raw_lines, start=1):
        if limit is not None and number > limit:
            return
        found = _read(raw)
        if isinstance(found, str):
            yield Unreadable(number, found)
            continue
        text, content = found
        digest = sha256(text.strip().encode("utf-8", "surrogatepass")).digest()
        first = first_with.setdefault(digest, number)
        yield Line(
            number,
            key_of(name, number, text),
            text,
            _label(content, "category"),
            _label(content, "tier"),
            first if first != number else None,
        )


def key_of(name: str, number: int, text: str) -> str:
    """Return the idempotency key of a line: a second replay of the file asks for nothing new."""
    parts = f"{name}\n{number}\n{text}".encode("utf-8", "surrogatepass")
    return f"replay-{sha256(parts).hexdigest()}"


def _read(raw: bytes) -> tuple[str, dict[str, Any]] | str:
    """Return text and content of a line, or why there is none."""
    if not raw.strip():
        return "空行"
    try:
        content = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return "不是有效的 JSON"
    if not isinstance(content, dict):
        return "不是 JSON 对象"
    for name in _TEXTS:
        if isinstance(content.get(name), str):
            return content[name], content
    return "没有 text 或 question"


def _label(content: dict[str, Any], name: str) -> tuple[str, ...]:
    given = content.get(name)
    values = given if isinstance(given, list) else [given]
    return tuple(one for one in values if isinstance(one, str) and one in _LABELS[name])
