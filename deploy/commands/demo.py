"""`jieyou demo`: play the Zhoukou channel through a platform of its own, and check the outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from contracts.profile import Profile
    from deploy.local.folders import PlatformFolder
    from deploy.simulators.calls import Calls
    from deploy.simulators.play import Platform, Played
    from deploy.simulators.receiver import ReceiverServer
    from deploy.simulators.stories.story import Story
    from deploy.simulators.tale import Tale

PROFILE = "zhoukou"
_MARK = "demo-folder"
_JOURNALS = "clients"
_LONGEST_TIMELINE = 16


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
    """Exit code 0 only if all cases are closed, figures equal the recount, the audit is clean."""
    import signal

    from rich.console import Console

    from deploy.local.folders import PlatformFolder

    signal.signal(signal.SIGTERM, _leave)  # so that the platform is stopped then too
    console = Console()
    folder = PlatformFolder(PlatformFolder.current().root / "demo")
    _clear(folder, keep=keep)
    with _receivers(folder) as server, _platform(folder, server), _log(folder):
        is_good = _run(folder, server, console, limit, timeout, keep)
    if not is_good:
        raise typer.Exit(1)


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


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
def _receivers(folder: PlatformFolder) -> Iterator[ReceiverServer]:
    """Take the port of the simulated receivers, whose address the platform is told at its start.

    A kept play keeps its port: a request that is sent again must be the same to the last letter,
    its callback address too. Raises PlatformError when somebody else has that port.
    """
    from deploy.local.errors import PlatformError
    from deploy.simulators.receiver import ReceiverServer

    mark = folder.root / _MARK
    last = mark.read_text(encoding="ascii")
    try:
        server = ReceiverServer(int(last or 0))
    except OSError as error:
        raise PlatformError(
            f"port {last} of the kept demonstration is taken: free it, or start with --fresh"
        ) from error
    mark.write_text(str(server.port), encoding="ascii")
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
    options = platform.PlatformOptions(PROFILE, on_usual_ports=False)
    told = {"JIEYOU_DEPARTMENT_URLS": json.dumps(urls)}
    plan = [
        replace(one, environment={**one.environment, **told})
        for one in platform.plan(folder, options)
    ]
    try:
        with StepDisplay() as steps:
            control.start(folder, plan, steps.show)
        yield
    finally:
        control.stop(folder)


@contextmanager
def _log(folder: PlatformFolder) -> Iterator[None]:
    """Let the simulators, and the clients they use, write their log beside those of the services:
    a broker that goes away would fill the screen."""
    import logging

    import structlog

    with (folder.logs / "simulators.log").open("a", encoding="utf-8") as file:
        logging.basicConfig(stream=file, level=logging.WARNING, force=True)
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
                structlog.processors.JSONRenderer(ensure_ascii=False),
            ],
            logger_factory=structlog.WriteLoggerFactory(file),
        )
        yield
        logging.disable()  # what is still said while connections close has no file any more
    structlog.reset_defaults()


def _run(
    folder: PlatformFolder,
    server: ReceiverServer,
    console: Console,
    limit: int | None,
    seconds: int,
    keep: bool,
) -> bool:
    import asyncio

    from deploy.audit import AuditError
    from deploy.commands.closing import still_open
    from deploy.local.errors import PlatformError
    from deploy.simulators.citizens import NotAccepted
    from deploy.simulators.pace import TooSlow

    try:
        return asyncio.run(_play(folder, server, console, limit, seconds, keep))
    except TooSlow as error:
        console.print(still_open(error.still_open, folder.logs), style="red", highlight=False)
        return False
    except (NotAccepted, AuditError) as error:
        raise PlatformError(str(error)) from error


async def _play(
    folder: PlatformFolder,
    server: ReceiverServer,
    console: Console,
    limit: int | None,
    seconds: int,
    keep: bool,
) -> bool:
    from contracts.profile import load_profile
    from deploy.local import control, credentials
    from deploy.simulators.play import CHANNEL, Platform, Play
    from deploy.simulators.stories.zhoukou import load_story

    profile, story = load_profile(PROFILE), load_story()
    addresses = control.addresses(folder)
    platform = Platform(
        kafka_url=addresses.kafka_url,
        services={name: urls[0] for name, urls in addresses.services.items()},
        tokens=credentials.read_tokens(folder),
        webhook_keys=_webhook_keys(folder, CHANNEL, [one.code for one in profile.departments]),
    )
    play = Play(
        platform=platform,
        profile=profile,
        story=story,
        requests=story.requests[:limit],
        server=server,
        folder=folder.root / _JOURNALS,
        console=console,
    )
    played = await play.run(seconds)
    return await _close(platform, addresses.mongo_url, profile, story, played, console, keep)


async def _close(
    platform: Platform,
    mongo_url: str,
    profile: Profile,
    story: Story,
    played: Played,
    console: Console,
    keep: bool,
) -> bool:
    """Check everything, show the closing screen, and return whether all is as it must be."""
    from deploy.commands.closing import Closing
    from deploy.simulators.calls import Calls
    from deploy.simulators.tale import Tale
    from deploy.simulators.verdict import judge

    hotlines = frozenset(one.code for one in profile.departments if one.kind == "hotline")
    tale = Tale(hotlines)
    address = platform.services["reporting"]
    token = next(iter(platform.tokens["operator"].values()))
    async with Calls(address, token=token) as reporting, Calls(address) as lookup:
        with console.status("核对：读日志，重新计数，审计……"):
            verdict = await judge(
                platform.kafka_url, mongo_url, reporting, profile, played, on_case=tale.add
            )
            figures = (await reporting.get("/v1/figures?by=category")).document
            view = await _richest(lookup, played, tale)
    closing = Closing(
        story=story,
        profile=profile,
        played=played,
        tale=tale,
        verdict=verdict,
        by_category={one["key"]: one["totals"]["accepted"] for one in figures["groups"]},
        addresses={**platform.services, "kafka": platform.kafka_url},
        view=view,
    )
    closing.show(console)
    has_others = verdict.others > 0 and not keep
    return verdict.is_good and closing.is_mix_right and not has_others


async def _richest(lookup: Calls, played: Played, tale: Tale) -> dict[str, Any] | None:
    """Look up the most eventful cases as their citizens would; return that with most to read."""
    views = []
    for case_no in tale.most_eventful(among=12):
        known = played.room.accepted.get(case_no)
        if known is not None:
            answer = await lookup.get(f"/v1/cases/{case_no}", {"Retrieval-Code": known.code})
            views.append(answer.document)
    readable = [view for view in views if len(view.get("timeline", ())) <= _LONGEST_TIMELINE]
    return max(readable, key=lambda view: len(view["timeline"]), default=None)


def _webhook_keys(folder: PlatformFolder, channel: str, departments: list[str]) -> dict[str, str]:
    """Return the keys by which the receivers check webhooks, as an operator gives them out."""
    from deploy.local.credentials import WEBHOOK_SECRET
    from services.notify.domain.webhooks import printed, receiver_key

    secret = bytes.fromhex((folder.secrets / WEBHOOK_SECRET).read_text(encoding="ascii").strip())
    keys = {code: printed(receiver_key(secret, "department", code)) for code in departments}
    return {**keys, channel: printed(receiver_key(secret, "channel", channel))}
