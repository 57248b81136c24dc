"""Writes a trained model to its folder: the arrays, those of the cross-validation, and the card."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy  # type: ignore[import-untyped,import-not-found,unused-ignore]

from services.triage.domain.linear import CARD, read_card
from services.triage.learning.figures import Figures
from services.triage.learning.learners import Fitted, Learner
from services.triage.learning.records import GOVERNMENT, REQUEST_TASKS, LabelledText

_OWN = re.compile(
    rf"({'|'.join((*REQUEST_TASKS, GOVERNMENT, 'all'))})-[0-9a-f]{{8}}(\.fold\d+)?\.(npz|part)"
)


def about(
    learner: Learner,
    texts: Sequence[LabelledText],
    name: str,
    seed: int,
    told: Mapping[str, Figures],
) -> dict[str, Any]:
    """What the card says of this training: enough to do it again and to trust it or not."""
    rows = [[one.text, [list(one.labels[task]) for task in learner.tasks]] for one in texts]
    digest = hashlib.sha256(json.dumps(rows, ensure_ascii=True).encode()).hexdigest()
    recipe = f"{name}:{seed}:{learner.base}:{learner.penalty}:{learner.features}:{digest}"
    return {
        "name": name,
        "version": f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}",
        "features": learner.features,
        "base": learner.base,
        "seed": seed,
        "penalty": learner.penalty,
        "texts": len(texts),
        "texts_sha256": digest,
        "cross_validated": {task: _short(one) for task, one in told.items()},
        "made_with": {"numpy": np.__version__, "scipy": scipy.__version__},
    }


def _short(one: Figures) -> dict[str, float]:
    short = {
        "macro_f1": one.macro_f1,
        "accuracy": one.accuracy,
        "calibration_error": one.calibration_error,
    }
    if "red" in one.labels:
        short["red_recall"] = one.labels["red"].recall
        short["red_precision"] = one.labels["red"].precision
    return {name: round(value, 4) for name, value in short.items()}


def write(
    learner: Learner,
    final: Fitted,
    folds: Sequence[Fitted],
    folder: Path,
    card_entry: Mapping[str, Any],
) -> None:
    """Arrays first, the card that names them last: a reader finds the old model or the new one."""
    folder.mkdir(parents=True, exist_ok=True)
    version = str(card_entry["version"])
    arrays = f"{version}.npz"
    fold_files = [f"{version}.fold{number}.npz" for number in range(len(folds))]
    for file, one in zip((arrays, *fold_files), (final, *folds), strict=True):
        write_arrays(folder / file, one.arrays())
    card = read_card(folder) if (folder / CARD).exists() else {"tasks": {}}
    common = {k: v for k, v in card_entry.items() if k not in ("name", "cross_validated")}
    for task in final.part.tasks:
        card["tasks"][task.name] = {
            **common,
            "arrays": arrays,
            "folds": fold_files,
            "first": task.first,
            "labels": list(task.labels),
            "temperature": task.temperature,
            **({"red_bound": task.red_bound} if task.name == "tier" else {}),
            "cross_validated": card_entry["cross_validated"][task.name],
        }
    rows = {tuple(row) for row in (*card.get("combinations", ()), *learner.combinations())}
    card["combinations"] = sorted(map(list, rows))
    card["tasks"] = dict(sorted(card["tasks"].items()))
    text = json.dumps(card, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    temporary = folder / f"{CARD}.part"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(folder / CARD)
    _sweep(folder, card)


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Write arrays so that a reader finds a whole file or none; equal arrays give equal bytes."""
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _sweep(folder: Path, card: Mapping[str, Any]) -> None:
    """Remove what an earlier or a broken-off training left; other people's files stay."""
    used = {f for one in card["tasks"].values() for f in (one["arrays"], *one.get("folds", ()))}
    for path in folder.iterdir():
        if _OWN.fullmatch(path.name) and path.name not in used:
            path.unlink()
