"""What intake's clients were answered, and which 5xx had no excuse."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import journal

Spans = Mapping[str, Sequence[tuple[float, float]]]


@dataclass(slots=True)
class Answers:
    """Answers by status; what broke off stands under the error's name."""

    by_status: Counter[str] = field(default_factory=Counter)
    unexcused: list[str] = field(default_factory=list)
    """5xx of a request that began while broker or store were up."""
    repeated: int = 0
    slowest_s: float = 0.0
    p50_s: float = 0.0
    p99_s: float = 0.0


def count(folder: Path, down: Spans) -> Answers:
    """Count the answers to all calls of citizens and channels."""
    answers = Answers()
    took: list[float] = []
    for one in journal.read(folder, journal.ANSWERS):
        answers.by_status[str(one["status"])] += 1
        answers.repeated += one["attempt"] > 1
        if isinstance(one["status"], int) and one["status"] < 300:
            took.append(one["took_s"])
        elif isinstance(one["status"], int) and one["status"] >= 500:
            began, ended = one["began"], one["began"] + one["took_s"]
            if not _both_down(began, ended, down):
                answers.unexcused.append(f"{one['status']} {one['what']} at {began:.1f}")
    if took:
        took.sort()
        answers.p50_s, answers.slowest_s = took[len(took) // 2], took[-1]
        answers.p99_s = took[int(len(took) * 0.99)]
    return answers


def _both_down(began: float, ended: float, down: Spans) -> bool:
    """Whether at some moment of the call neither was there."""
    return any(
        max(began, bus[0], store[0]) <= min(ended, bus[1], store[1])
        for bus in down.get("bus", ())
        for store in down.get("store", ())
    )
