"""`jieyou rebuild`: what can be thrown away, built anew from the log."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="重建：由日志重新生成可以丢弃的数据。", no_args_is_help=True)
    group.callback()(_only_names)
    group.command(
        name="reporting",
        help="由日志重建查询与数据：另建一代，核对后切换，期间照常可查。中断后再次执行即接着建。",
    )(reporting)
    app.add_typer(group, name="rebuild")


def _only_names() -> None:
    """Keep `reporting` a command of its own though it is the only one."""


def reporting(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="只说明会读什么、建在哪里，不作改动。")
    ] = False,
    keep_old: Annotated[
        bool, typer.Option("--keep-old", help="切换后不删除旧的一代的数据库。")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="以 JSON 输出。")] = False,
) -> None:
    """Of JIEYOU_KAFKA_URL and JIEYOU_MONGO_URL, else of the local platform that runs.

    Exit code 1 when it could not be done, or a process still reads the old generation.
    """
    import asyncio
    import json
    import sys

    from rich.console import Console

    from deploy.local import control
    from deploy.local.folders import PlatformFolder
    from deploy.recovery import rebuild_showing as showing
    from deploy.recovery.rebuild import rebuilding
    from deploy.recovery.rebuilt import Outcome, Plan
    from services.chassis.telemetry import configure_logging

    configure_logging("rebuild", "rebuild", "ERROR", stream=sys.stderr.buffer)
    found = control.addresses(PlatformFolder.current())
    is_local = control.has_own_store()

    async def planned() -> Plan:
        async with rebuilding(found.kafka_url, found.mongo_url) as rebuild:
            return await rebuild.plan()

    async def rebuilt() -> Outcome:
        with showing.RebuildDisplay() as display:
            async with rebuilding(found.kafka_url, found.mongo_url, is_local=is_local) as rebuild:
                return await rebuild.run(display.show, keeps_old=keep_old)

    if dry_run:
        plan = asyncio.run(planned())
        if as_json:
            typer.echo(json.dumps(showing.plan_document(plan), ensure_ascii=False, indent=1))
        else:
            showing.print_plan(plan, Console())
        return
    outcome = asyncio.run(rebuilt())
    if as_json:
        typer.echo(json.dumps(showing.as_document(outcome), ensure_ascii=False, indent=1))
    else:
        showing.print_outcome(outcome, Console())
    if outcome.undropped:
        raise typer.Exit(1)
