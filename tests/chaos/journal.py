"""Journals: what clients and receivers saw, a line of JSON each, for the check afterwards."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from deploy.simulators.room import Journal

ASKED, ANSWERS, ACCEPTED = "asked", "answers", "accepted"
ARRIVALS, WEBHOOKS, TOLD, POISON, FAULTS = "arrivals", "webhooks", "told", "poison", "faults"
NAMES = (ASKED, ANSWERS, ACCEPTED, ARRIVALS, WEBHOOKS, TOLD, POISON, FAULTS)


class Journals:
    """All journals of a run, open together."""

    def __init__(self, folder: Path) -> None:
        self._open = {name: Journal(folder / f"{name}.jsonl") for name in NAMES}

    def __enter__(self) -> "Journals":
        for journal in self._open.values():
            journal.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        for journal in self._open.values():
            journal.__exit__(None, None, None)

    def __getitem__(self, name: str) -> Journal:
        return self._open[name]


def read(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """Yield the lines of a journal; the last may be torn if the run was killed."""
    path = folder / f"{name}.jsonl"
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield orjson.loads(line)
