"""`jieyou evaluate`: how well requests are judged, measured on a labelled file."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from services.triage.learning.evaluation import Evaluation
    from services.triage.learning.figures import Figures

_SHOWN = 12  # labels of which the confusion is shown; more don't fit a screen


class Task(StrEnum):
    """What is judged (as services.triage.learning.records.TASKS, not loaded for --help)."""

    CATEGORY = "category"
    TIER = "tier"
    KIND = "kind"
    HOTLINE = "hotline"
    GOVERNMENT = "government"
    SIMILAR = "similar"
    ANSWERS = "answers"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        name="evaluate",
        help="用已标注的文件（JSON 行）检验自动判断的质量：混淆表、F1、红色召回、置信度校准等。",
    )(evaluate)


def evaluate(
    file: Annotated[Path, typer.Argument(help="已标注的文件，每行一个 JSON 对象。")],
    task: Annotated[Task, typer.Option("--task", help="检验哪一项。")],
    model: Annotated[
        Path | None, typer.Option("--model", help="jieyou train 的输出文件夹；默认为自带模型。")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="只输出一行 JSON。")] = False,
    profile: Annotated[
        str, typer.Option(help="配置方案：自带方案的名称，或文件路径。", envvar="JIEYOU_PROFILE")
    ] = "zhoukou",
) -> None:
    """Figures only, never a text of the file: it may hold what citizens wrote."""
    import json
    import math

    from contracts.profile import load_profile
    from deploy.commands.learning_progress import Progress
    from services.triage.learning.evaluation import evaluate as measure
    from services.triage.meaning import installed_meaning

    with Progress() as progress:
        found = measure(
            file,
            task.value,
            load_profile(profile),
            folder=model,
            meaning=installed_meaning() if task in (Task.SIMILAR, Task.ANSWERS) else None,
            say=progress.show,
        )
    if as_json:
        scores = {n: round(v, 4) for n, v in found.scores.items() if math.isfinite(v)}
        typer.echo(json.dumps(scores, ensure_ascii=False))
        return
    from rich.console import Console

    _print(found, Console())


def _print(found: Evaluation, console: Console) -> None:
    names = {
        "macro_f1": "宏平均 F1",
        "accuracy": "准确率",
        "red_recall": "红色召回率",
        "red_precision": "红色精确率",
        "auc": "AUC",
        "hit3": "前三命中",
    }
    console.print(f"{found.task}：{found.count:,} 条，依据 {found.model}", highlight=False)
    if not found.count:
        console.print("文件里没有可检验的内容。")
        return
    console.print(
        "，".join(f"{names[name]} {value:.3f}" for name, value in found.scores.items()),
        highlight=False,
    )
    for name, value in found.compared.items():
        console.print(f"对照（{name}） {value:.3f}", highlight=False)
    for note in found.notes:
        console.print(note, highlight=False)
    if found.figures is not None:
        _print_labels(found.figures, console)
        _print_confusion(found.figures, console)
        _print_bins(found.figures, console)


def _print_labels(figures: Figures, console: Console) -> None:
    from rich.table import Table

    table = Table(title="各标签", title_justify="left")
    table.add_column("标签")
    for heading in ("应有", "判为", "精确率", "召回率", "F1"):
        table.add_column(heading, justify="right")
    for label, one in figures.labels.items():
        shares = (one.precision, one.recall, one.f1)
        table.add_row(label, str(one.there), str(one.said), *(f"{share:.3f}" for share in shares))
    console.print(table)


def _print_confusion(figures: Figures, console: Console) -> None:
    from rich.table import Table

    labels = list(figures.labels)
    if len(labels) > _SHOWN:
        worst = [pair for pair in figures.confusion.items() if pair[0][0] != pair[0][1]]
        table = Table(title="最常见的误判", title_justify="left")
        for heading in ("应为", "判为", "次数"):
            table.add_column(heading)
        for (right, said), count in sorted(worst, key=lambda one: -one[1])[:_SHOWN]:
            table.add_row(right, said, str(count))
    else:
        table = Table(title="混淆表（行：应为，列：判为）", title_justify="left")
        table.add_column("")
        for label in labels:
            table.add_column(label, justify="right")
        for right in labels:
            row = (figures.confusion.get((right, said), 0) for said in labels)
            table.add_row(right, *(str(count or "·") for count in row))
    console.print(table)


def _print_bins(figures: Figures, console: Console) -> None:
    from rich.table import Table

    error = figures.calibration_error
    table = Table(title=f"置信度校准（ECE {error:.3f}）", title_justify="left")
    for heading in ("条数", "平均置信度", "实际正确"):
        table.add_column(heading, justify="right")
    for one in figures.bins:
        table.add_row(str(one.count), f"{one.confidence:.2f}", f"{one.right:.2f}")
    console.print(table)
