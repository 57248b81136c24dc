"""Measures the shipped classifier on all four labels of a file, and its speed.

    python -m services.triage.training.evaluate FILE

`jieyou evaluate FILE --task TASK` shows one of them in full.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from contracts.profile import load_profile
from services.triage.domain.classify import MODEL_FOLDER, Asked, Classifier
from services.triage.learning.evaluation import evaluate
from services.triage.learning.records import REQUEST_TASKS, read_texts
from services.triage.training.build import PROFILE


def main(path: Path) -> None:
    """Print the figures of `path` and how many decisions a second of processor time were made."""
    profile = load_profile(PROFILE)
    for task in REQUEST_TASKS:
        found = evaluate(path, task, profile)
        print(task, *(f"{name} {value:.3f}" for name, value in found.scores.items()))
    asked = [Asked(one.text) for one in read_texts(path, REQUEST_TASKS[0])]
    classifier = Classifier.load(MODEL_FOLDER, profile)
    start = time.process_time()
    classifier.decide_many(asked)
    rate = len(asked) / (time.process_time() - start)
    print(f"{rate:,.0f} decisions a second of processor time")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
