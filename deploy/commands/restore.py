"""`jieyou restore`: the documents of triage or notify, from what they have written to the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deploy.local.folders import PlatformFolder
    from deploy.recovery.restored import Outcome

_DryRun = Annotated[
    bool, typer.Option("--dry-run", help="只读取日志并核对，说明会恢复什么，不作改动。")
]
_Yes = Annotated[bool, typer.Option("--yes", help="数据库里还有文档时，丢弃它们。")]
_AsJson = Annotated[bool, typer.Option("--json", help="以 JSON 输出。")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="恢复：某个服务的数据库丢失后，由它自己写入日志的事件重新生成。", no_args_is_help=True
    )
    how = "本机平台会先暂停该服务，完成后再启动；中断后再次执行即从头再来。"
    group.command(name="triage", help=f"恢复办件与合办组。{how}")(triage)
    group.command(name="notify", help=f"恢复交办与投递。{how}")(notify)
    app.add_typer(group, name="restore")


def triage(dry_run: _DryRun = False, yes: _Yes = False, as_json: _AsJson = False) -> None:
    """Exit code 1 when it could not be done, or a document is not whole on the log."""
    _restore("triage", dry_run=dry_run, yes=yes, as_json=as_json)


def notify(dry_run: _DryRun = False, yes: _Yes = False, as_json: _AsJson = False) -> None:
    """Exit code 1 when it could not be done, or a document is not whole on the log."""
    _restore("notify", dry_run=dry_run, yes=yes, as_json=as_json)


def _restore(service: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Of JIEYOU_KAFKA_URL and JIEYOU_MONGO_URL, else of the local platform that runs."""
    import json
    import sys

    from rich.console import Console

    from deploy.local.folders import PlatformFolder
    from deploy.recovery import restore_showing as showing
    from services.chassis.telemetry import configure_logging

    configure_logging("restore", "restore", "ERROR", stream=sys.stderr.buffer)
    folder = PlatformFolder.current()
    outcome = _planned(service, folder) if dry_run else _restored(service, folder, yes)
    if as_json:
        typer.echo(json.dumps(showing.as_document(outcome), ensure_ascii=False, indent=1))
    else:
        showing.print_outcome(outcome, Console())
    if not dry_run:
        _wait_until_back(service, folder)
    if outcome.flaws:
        raise typer.Exit(1)


def _planned(service: str, folder: PlatformFolder) -> Outcome:
    import asyncio

    from deploy.local import control
    from deploy.recovery.restore import restoring
    from deploy.recovery.restore_showing import RestoreDisplay

    found = control.addresses(folder)

    async def plan() -> Outcome:
        with RestoreDisplay() as display:
            async with restoring(service, found.kafka_url, found.mongo_url) as restore:
                return await restore.plan(display.show)

    return asyncio.run(plan())


def _restored(service: str, folder: PlatformFolder, yes: bool) -> Outcome:
    import asyncio

    from deploy.local import control, holding
    from deploy.recovery.restore import restoring
    from deploy.recovery.restore_showing import RestoreDisplay

    found = control.addresses(folder)

    async def check() -> None:
        async with restoring(service, found.kafka_url, found.mongo_url) as restore:
            await restore.check(may_throw_away=yes)

    async def run(held: list[str]) -> Outcome:
        with RestoreDisplay() as display:
            async with restoring(service, found.kafka_url, found.mongo_url) as restore:
                return await restore.run(display.show, held=held)

    asyncio.run(check())
    if control.running(folder) is None:  # on servers of its own
        return asyncio.run(run([]))
    with holding.held(folder, [service]) as processes:
        return asyncio.run(run([one.name for one in processes]))


def _wait_until_back(service: str, folder: PlatformFolder) -> None:
    """Wait for the local platform's processes, a minute at most. Raises PlatformError."""
    import time

    from deploy.local import control, holding
    from deploy.local.errors import PlatformError

    until = time.monotonic() + 60.0
    while control.running(folder) is not None:
        own = [one for one in control.report(folder) if holding.service_of(one.name) == service]
        if all(one.is_healthy for one in own):
            return
        if time.monotonic() > until:
            raise PlatformError(f"{own[0].name} is not ready yet: see {own[0].log_file}")
        time.sleep(0.2)
