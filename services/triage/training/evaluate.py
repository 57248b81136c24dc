"""Measures the shipped classifier on labelled requests.

    python -m services.triage.training.evaluate FILE [--profile zhoukou] [--wrong TASK]

FILE holds JSON lines with `text` and, for each of category, tier, kind and hotline, a label or a
list of labels of which any is right. Prints F1, recall and precision of each label, the macro mean,
how often what was said with confidence is right, and the speed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from contracts.profile import load_profile
from services.triage.domain.classify import MODEL_FOLDER, Asked, Classification, Classifier
from services.triage.domain.linear import TASKS

Labels = Sequence[str]


def _said(decision: Classification, task: str) -> str:
    value = getattr(decision, task)
    return str(getattr(value, "value", value))


def figures(truth: Sequence[Labels], said: Sequence[str]) -> dict[str, tuple[float, float, float]]:
    """F1, recall and precision by label; of several right labels the one that was said counts."""
    pairs = [(s if s in right else right[0], s) for right, s in zip(truth, said, strict=True)]
    result: dict[str, tuple[float, float, float]] = {}
    for label in sorted({label for right in truth for label in right}):
        hits = sum(t == s == label for t, s in pairs)
        named = sum(s == label for _, s in pairs)
        there = sum(t == label for t, _ in pairs)
        total = named + there
        result[label] = (
            2 * hits / total if total else 0.0,
            hits / there if there else 0.0,
            hits / named if named else 0.0,
        )
    return result


def _sure(decisions: Sequence[Classification], truth: Sequence[Labels], task: str) -> str:
    rights = [
        _said(decision, task) in right
        for decision, right in zip(decisions, truth, strict=True)
        if task not in decision.unsure
    ]
    if not rights:
        return "none said with confidence"
    share = len(rights) / len(decisions)
    return f"said with confidence {share:.0%}, of these right {sum(rights) / len(rights):.1%}"


def evaluate(path: Path, profile_name: str, wrong: str | None) -> None:
    """Print the figures of `path`."""
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line]
    classifier = Classifier.load(MODEL_FOLDER, load_profile(profile_name))
    asked = [Asked(record["text"]) for record in records]
    classifier.decide_many(asked[:20])
    start = time.process_time()
    decisions = classifier.decide_many(asked)
    seconds = time.process_time() - start
    rate = len(records) / seconds
    print(f"{len(records)} requests, {rate:,.0f} decisions a second of processor time")
    for task in TASKS:
        truth = [[r[task]] if isinstance(r[task], str) else r[task] for r in records]
        said = [_said(decision, task) for decision in decisions]
        by_label = figures(truth, said)
        macro = sum(f1 for f1, _, _ in by_label.values()) / len(by_label)
        right = sum(s in t for s, t in zip(said, truth, strict=True)) / len(said)
        print(
            f"\n{task}: macro-F1 {macro:.3f}, accuracy {right:.3f}; {_sure(decisions, truth, task)}"
        )
        for label, (f1, recall, precision) in by_label.items():
            print(f"  {label:12} F1 {f1:.3f}  recall {recall:.3f}  precision {precision:.3f}")
        if wrong == task:
            for record, t, s in zip(records, truth, said, strict=True):
                if s not in t:
                    print(f"  {'|'.join(t)} -> {s}: {record.get('id', '')}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure the shipped classifier.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--profile", default="zhoukou")
    parser.add_argument("--wrong", choices=TASKS)
    options = parser.parse_args()
    evaluate(options.file, options.profile, options.wrong)
