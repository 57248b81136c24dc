"""`jieyou up`: start the local platform and leave it running."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import TaskID

    from deploy.local.state import PlatformState


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        name="up", help="启动本机平台（Kafka、数据库、各服务），就绪后返回，平台留在后台运行。"
    )(up)


def up(
    profile: Annotated[
        str, typer.Option(help="配置方案：自带方案的名称，或文件路径。", envvar="JIEYOU_PROFILE")
    ] = "zhoukou",
    scale: Annotated[
        list[str] | None,
        typer.Option(help="服务=实例数，可重复，如 --scale triage=2；0 表示不启动该服务。"),
    ] = None,
) -> None:
    """Start everything, with a line for each step, and print where it answers."""
    from deploy.commands.process_table import print_processes
    from deploy.local import control, holding, platform
    from deploy.local.errors import PlatformError
    from deploy.local.folders import PlatformFolder

    folder = PlatformFolder.current()
    instances = _instances(scale or [])
    released = holding.release_abandoned(folder)
    if control.running(folder) is not None:
        if released:
            typer.echo(f"已解除暂停：{'、'.join(released)}")
        if instances:
            raise PlatformError("the platform runs already: `jieyou down` before another --scale")
        print_processes(folder, title="平台已在运行")
        return
    plan = platform.plan(folder, platform.PlatformOptions(profile, instances))
    steps = StepDisplay()
    try:
        with steps:
            control.start(folder, plan, steps.show)
    except KeyboardInterrupt:
        control.stop(folder)
        raise
    reports = print_processes(folder, title="平台已启动")
    typer.echo(f"数据与日志：{_short(folder.root)}    访问密钥：{_short(folder.tokens_file)}")
    typer.echo("查看状态：jieyou status    停止：jieyou down")
    if not all(one.is_healthy for one in reports):
        raise typer.Exit(1)


class StepDisplay:
    """A line for each process of the plan: a spinner, then a tick and the seconds it took."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[condition]}"),
            console=Console(stderr=True),
        )
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> StepDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, state: PlatformState) -> None:
        """Bring the lines up to date with the supervisor's state."""
        from deploy.local.state import Condition

        words = {Condition.STARTING: "启动中", Condition.BROKEN: "[red]已退出，将重试[/]"}
        words[Condition.HELD] = "[yellow]已暂停[/]"
        for process in state.processes:
            if process.condition is Condition.WAITING:
                continue
            if process.name not in self._tasks:
                self._tasks[process.name] = self._progress.add_task(
                    process.name.ljust(14), total=1, condition=""
                )
            is_up = process.condition in (Condition.READY, Condition.DONE, Condition.HELD)
            self._progress.update(
                self._tasks[process.name],
                completed=int(is_up),
                condition=words.get(process.condition, process.address or ""),
            )


def _instances(scale: list[str]) -> dict[str, int]:
    instances = {}
    for entry in scale:
        service, _, number = entry.partition("=")
        if not number.isdecimal() or int(number) > _MOST_INSTANCES:
            raise typer.BadParameter(f"{entry}：应为 服务=实例数（0–{_MOST_INSTANCES}）")
        instances[service] = int(number)
    return instances


_MOST_INSTANCES = 12  # more than the partitions of a case topic would stand idle


def _short(path: os.PathLike[str]) -> str:
    shorter = os.path.relpath(path)
    return shorter if len(shorter) < len(os.fspath(path)) else os.fspath(path)
