"""How the processes of a platform are shown."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from deploy.local import control
from deploy.local.control import ProcessReport
from deploy.local.folders import PlatformFolder
from deploy.local.state import Condition


def print_processes(folder: PlatformFolder, *, title: str) -> list[ProcessReport]:
    """Ask every process for its health and print them; returns what was found."""
    reports = control.report(folder)
    table = Table(title=title, title_justify="left")
    for heading in ("进程", "进程号", "地址", "健康", "重启"):
        table.add_column(heading)
    for one in reports:
        health = "[green]正常[/]" if one.is_healthy else _trouble(one)
        pid = str(one.pid) if one.pid else "—"
        table.add_row(one.name, pid, one.address or "—", health, str(one.restarts))
    Console().print(table)
    return reports


def _trouble(one: ProcessReport) -> str:
    if one.condition == Condition.HELD:
        return "[yellow]已暂停[/]"
    return f"[red]异常（{one.condition}）[/]"
