"""`jieyou replay`: real texts through the public API, with an account of every line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deploy.local.folders import PlatformFolder
    from deploy.replay.lines import Line, Unreadable
    from deploy.replay.replaying import Options, Outcome

_MARK = "replay-folder"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        name="replay",
        help="回放：把 JSONL 文件里的文字逐行提交并办到归档，交代每一行的去向；有误时退出码为 1。",
    )(replay)


def replay(
    file: Annotated[Path, typer.Argument(help="JSONL 文件，每行含 text 或 question。")],
    rate: Annotated[
        float | None, typer.Option(min=0.1, help="每秒提交几份（不等回答）；默认尽快。")
    ] = None,
    at_once: Annotated[int, typer.Option(min=1, max=256, help="同时提交几份。")] = 32,
    play: Annotated[
        bool, typer.Option("--play/--no-play", help="是否由模拟的值班席、部门和市民办到归档。")
    ] = True,
    start: Annotated[
        bool, typer.Option("--start", help="在空文件夹里另起一个平台，结束后停止。")
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="只用前若干行。")] = None,
    timeout: Annotated[int, typer.Option(min=10, help="最多多少秒。")] = 1_800,
    profile: Annotated[
        str, typer.Option(help="配置方案：自带方案的名称，或文件路径。", envvar="JIEYOU_PROFILE")
    ] = "zhoukou",
) -> None:
    """Exit code 0 only if every line is accounted for, every case closed, and the audit clean."""
    import asyncio

    from rich.console import Console

    from contracts.profile import load_profile
    from deploy.local.errors import PlatformError
    from deploy.local.folders import PlatformFolder
    from deploy.replay.closing import print_outcome
    from deploy.replay.lines import NotReadable, read_lines
    from deploy.replay.replaying import Options

    try:
        lines = list(read_lines(file, limit))
    except NotReadable as error:
        raise PlatformError(str(error)) from None
    if not lines:
        raise PlatformError(f"{file}: there are no lines")
    loaded = load_profile(profile)
    options = Options(at_once, rate, play, float(timeout))
    folder = PlatformFolder.current()
    if start:
        folder = PlatformFolder(folder.root / "replay")
        _clear(folder)
    with _platform(folder, profile) if start else _nothing():
        outcome = asyncio.run(_replay(folder, profile, lines, options))
    print_outcome(file.name, outcome, loaded, Console())
    if not outcome.is_good:
        raise typer.Exit(1)


async def _replay(
    folder: PlatformFolder, profile: str, lines: list[Line | Unreadable], options: Options
) -> Outcome:
    from contracts.profile import load_profile
    from deploy.local import control, credentials
    from deploy.local.errors import PlatformError
    from deploy.replay.closing import Bars
    from deploy.replay.crowd import Entrance
    from deploy.replay.replaying import Replay, Steps

    addresses = control.addresses(folder)
    tokens = credentials.read_tokens(folder)
    if not addresses.services or not tokens:
        raise PlatformError(f"no platform runs in {folder.root}: `jieyou up`, or --start")
    services = {name: urls[0] for name, urls in addresses.services.items()}
    entrance = Entrance(addresses.kafka_url, services, tokens)
    with Bars(len(lines), plays=options.plays) as bars:
        run = Replay(
            entrance,
            addresses.mongo_url,
            load_profile(profile),
            lines,
            options,
            folder.root / "clients",
            Steps(bars.line, bars.look),
        )
        return await run.run()


def _clear(folder: PlatformFolder) -> None:
    """Stop what an interrupted replay left and throw its data away; only a folder of a replay.

    Raises PlatformError for another.
    """
    import shutil

    from deploy.local import control
    from deploy.local.errors import PlatformError

    mark = folder.root / _MARK
    if folder.root.exists() and any(folder.root.iterdir()) and not mark.exists():
        raise PlatformError(f"{folder.root} is not a replay's folder: move it away")
    control.stop(folder)
    if folder.root.exists():
        shutil.rmtree(folder.root)
    folder.create()
    mark.touch()


@contextmanager
def _platform(folder: PlatformFolder, profile: str) -> Iterator[None]:
    """Start a platform in the folder, and stop it however the replay ends."""
    from deploy.commands.up import StepDisplay
    from deploy.local import control, platform

    plan = platform.plan(folder, platform.PlatformOptions(profile))
    try:
        with StepDisplay() as steps:
            control.start(folder, plan, steps.show)
        yield
    finally:
        control.stop(folder)


@contextmanager
def _nothing() -> Iterator[None]:
    yield
