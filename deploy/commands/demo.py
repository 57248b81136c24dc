"""`jieyou demo`: play the Zhoukou channel through a platform of its own, and check what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from deploy.local.control import Addresses
    from deploy.local.folders import PlatformFolder
    from deploy.simulators.play import Played
    from deploy.simulators.receiver import ReceiverServer

PROFILE = "zhoukou"
_MARK = "demo-folder"
_JOURNALS = "clients"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        name="demo", help="演示：把周口通道的 473 份求助从受理走到归档，核对无误后退出码为 0。"
    )(demo)


def demo(
    keep: Annotated[
        bool, typer.Option("--keep/--fresh", help="保留上次演示的数据；默认从空平台开始。")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="只演前若干份求助。")] = None,
    timeout: Annotated[int, typer.Option(min=10, help="最多演多少秒。")] = 240,
) -> None:
    """Exit code 0 only if every case is closed, figures equal the recount and the audit is clean."""
    from rich.console import Console

    from deploy.local.folders import PlatformFolder

    console = Console()
    folder = PlatformFolder(PlatformFolder.current().root / "demo")
    _clear(folder, keep=keep)
    with _receivers() as server, _platform(folder, server):
        is_good = _run(folder, server, console, limit, timeout)
    if not is_good:
        raise typer.Exit(1)


def _clear(folder: PlatformFolder, *, keep: bool) -> None:
    """Stop what an interrupted demonstration left, and throw its data away.

    Only a folder that a demonstration has made is thrown away. Raises PlatformError for another.
    """
    import shutil

    from deploy.local import control
    from deploy.local.errors import PlatformError

    mark = folder.root / _MARK
    if folder.root.exists() and any(folder.root.iterdir()) and not mark.exists():
        raise PlatformError(f"{folder.root} is not a demonstration's folder: move it away")
    control.stop(folder)
    if folder.root.exists() and not keep:
        shutil.rmtree(folder.root)
    folder.create()
    mark.touch()


@contextmanager
def _receivers() -> Iterator[ReceiverServer]:
    """Take the port of the simulated receivers, whose address the platform is told at its start."""
    from deploy.simulators.receiver import ReceiverServer

    server = ReceiverServer()
    try:
        yield server
    finally:
        server.close()


@contextmanager
def _platform(folder: PlatformFolder, server: ReceiverServer) -> Iterator[None]:
    """Start a platform whose hotlines are the simulated ones, and stop it however it ends."""
    import json
    from dataclasses import replace

    from contracts.profile import load_profile
    from deploy.commands.up import StepDisplay
    from deploy.local import control, platform

    urls = {
        one.code: server.url(one.code)
        for one in load_profile(PROFILE).departments
        if one.transport == "http"
    }
    told = {"JIEYOU_DEPARTMENT_URLS": json.dumps(urls)}
    plan = [
        replace(one, environment={**one.environment, **told})
        for one in platform.plan(folder, platform.PlatformOptions(PROFILE))
    ]
    try:
        with StepDisplay() as steps:
            control.start(folder, plan, steps.show)
        yield
    finally:
        control.stop(folder)


def _run(
    folder: PlatformFolder, server: ReceiverServer, console: Console, limit: int | None, seconds: int
) -> bool:
    import asyncio

    from deploy.audit import AuditError
    from deploy.commands.closing import still_open
    from deploy.local.errors import PlatformError
    from deploy.simulators.citizens import NotAccepted
    from deploy.simulators.pace import TooSlow

    try:
        return asyncio.run(_play(folder, server, console, limit, seconds))
    except* TooSlow as group:
        for error in group.exceptions:
            if isinstance(error, TooSlow):
                console.print(still_open(error.still_open), style="red")
    except* (NotAccepted, AuditError) as group:
        raise PlatformError(str(group.exceptions[0])) from None
    return False


async def _play(
    folder: PlatformFolder, server: ReceiverServer, console: Console, limit: int | None, seconds: int
) -> bool:
    from contracts.profile import load_profile
    from deploy.local import control, credentials
    from deploy.simulators.play import CHANNEL, Platform, Play
    from deploy.simulators.stories.zhoukou import load_story

    profile, story = load_profile(PROFILE), load_story()
    addresses = control.addresses(folder)
    secret = bytes.fromhex((folder.secrets / credentials.WEBHOOK_SECRET).read_text().strip())
    platform = Platform(
        kafka_url=addresses.kafka_url,
        services={name: urls[0] for name, urls in addresses.services.items()},
        tokens=credentials.read_tokens(folder),
        webhook_keys={
            CHANNEL: _webhook_key(secret, "channel", CHANNEL),
            **{
                one.code: _webhook_key(secret, "department", one.code)
                for one in profile.departments
            },
        },
    )
    requests = story.requests[:limit]
    play = Play(platform, profile, story, requests, server, folder.root / _JOURNALS, console)
    played = await play.run(seconds)
    return await _close(addresses, platform.tokens, played, console)
