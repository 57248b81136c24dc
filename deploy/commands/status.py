"""`jieyou status`: every process with its address and its health as asked now."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="status", help="逐个询问各进程的健康状况；有异常时退出码为 1。")(status)


def status(
    as_json: Annotated[bool, typer.Option("--json", help="以 JSON 输出。")] = False,
) -> None:
    """Exit code 0 when all are well, 1 when one is not or no platform runs."""
    import json
    from dataclasses import asdict

    from deploy.local import control
    from deploy.local.folders import PlatformFolder

    folder = PlatformFolder.current()
    if as_json:
        reports = control.report(folder)
        rows = [
            {
                **asdict(one),
                "health": "ok" if one.is_healthy else "failing",
            }
            for one in reports
        ]
        typer.echo(json.dumps(rows, ensure_ascii=False, indent=1))
    else:
        from deploy.commands.process_table import print_processes

        reports = print_processes(folder, title="平台状态")
    if not all(one.is_healthy for one in reports):
        raise typer.Exit(1)
