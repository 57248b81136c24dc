"""`jieyou down`: stop the local platform; its data stays."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="down", help="停止本机平台，数据保留，下次 up 继续使用。")(down)


def down() -> None:
    """Stop in the reverse order of the start. Not running is fine too."""
    from deploy.local import control
    from deploy.local.folders import PlatformFolder

    was_running = control.stop(PlatformFolder.current())
    typer.echo("平台已停止。" if was_running else "平台没有在运行。")
