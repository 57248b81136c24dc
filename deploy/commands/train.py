"""`jieyou train`: a model from a city's own labelled requests, kept only if it is better."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from services.triage.learning.training import Outcome


class Task(StrEnum):
    """What is learned; `all`: category, tier, kind and hotline together."""

    CATEGORY = "category"
    TIER = "tier"
    KIND = "kind"
    HOTLINE = "hotline"
    ALL = "all"
    GOVERNMENT = "government"


class Base(StrEnum):
    """What a model starts from."""

    SHIPPED = "shipped"
    NONE = "none"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        name="train",
        help="用本市已标注的诉求（JSON 行）训练模型；文件夹里已有更好的模型时不替换，退出码为 1。",
    )(train)


def train(
    files: Annotated[list[Path], typer.Argument(help="已标注的文件，每行一个 JSON 对象。")],
    task: Annotated[Task, typer.Option("--task", help="学哪一项；all 为四项一起。")],
    out: Annotated[Path, typer.Option("--out", help="模型文件夹，可含多项。")],
    base: Annotated[
        Base, typer.Option("--base", help="shipped：从自带模型出发；none：只用这些文件。")
    ] = Base.SHIPPED,
    corrections: Annotated[
        list[Path] | None,
        typer.Option("--corrections", help="值班人员的更正：同样的格式，只写更正了的项。"),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="交叉验证如何分组。", min=0)] = 0,
    force: Annotated[bool, typer.Option("--force", help="即使原有模型更好也替换。")] = False,
    profile: Annotated[
        str, typer.Option(help="配置方案：自带方案的名称，或文件路径。", envvar="JIEYOU_PROFILE")
    ] = "zhoukou",
) -> None:
    """The same files, seed and libraries give the same bytes."""
    from contracts.profile import load_profile
    from deploy.commands.learning_progress import Progress
    from services.triage.learning.errors import LearningError

    try:
        from services.triage.learning.training import gather, tasks_of
        from services.triage.learning.training import train as learn
    except ImportError as error:
        raise LearningError(
            f"training needs scikit-learn ({error.name} is missing): pip install 'jieyou[train]'"
        ) from None

    with Progress() as progress:
        outcome = learn(
            gather(files, corrections or [], tasks_of(task.value)),
            task.value,
            out,
            load_profile(profile),
            from_shipped=base is Base.SHIPPED,
            seed=seed,
            force=force,
            say=progress.show,
        )
    _print(outcome, out)


def _print(outcome: Outcome, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{outcome.texts:,} 条文本的交叉验证", title_justify="left")
    table.add_column("项")
    for heading in ("宏平均 F1", "准确率", "红色召回率", "红色精确率", "ECE"):
        table.add_column(heading, justify="right")
    for name, one in outcome.figures.items():
        red = one.labels.get("red")
        shares = (
            one.macro_f1,
            one.accuracy,
            red.recall if red else None,
            red.precision if red else None,
            one.calibration_error,
        )
        table.add_row(name, *("" if share is None else f"{share:.3f}" for share in shares))
    Console().print(table)
    if outcome.replaced is not None:
        typer.echo(f"替换了原有模型（宏平均 F1 {outcome.replaced:.3f}，同一批文本）。")
    typer.echo(
        f"已写入 {out}：{outcome.version}。检验：jieyou evaluate FILE --task … --model {out}"
    )
