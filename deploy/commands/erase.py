"""`jieyou erase`: what is personal in one case goes, everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deploy.erasure.erasing import Entrance, Fading
    from deploy.erasure.watch import Look
    from deploy.local.control import Addresses

_OPERATOR = "operator"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        name="erase",
        help="清除个人信息：由各服务清除一件求助中的个人信息，并跟踪到全部完成；"
        "未全部清除时退出码为 1。",
    )(erase)


def erase(
    case: Annotated[str | None, typer.Argument(metavar="CASE_NO", help="办件编号。")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="只说明哪里有个人信息，不作改动。")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="办件未归档也不再询问。")] = False,
    list_: Annotated[
        bool, typer.Option("--list", help="列出已清除的办件编号和时间（供 import --erased 用）。")
    ] = False,
    wait: Annotated[float, typer.Option("--wait", min=0.0, help="最多跟踪几秒。")] = 120.0,
    intake: Annotated[
        str | None, typer.Option("--intake", help="受理服务的地址；默认为本机平台的。")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="存有运维密钥的文件；默认用本机平台的。"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="以 JSON 输出。")] = False,
) -> None:
    """Of JIEYOU_KAFKA_URL and JIEYOU_MONGO_URL, else of the local platform that runs."""
    import asyncio

    from deploy.local import control
    from deploy.local.folders import PlatformFolder

    if (case is None) != list_:
        raise typer.BadParameter("给出一个办件编号，或用 --list（二者选一）。")
    found = control.addresses(PlatformFolder.current())
    if case is None:
        _list_erased(found, as_json=as_json)
        return
    case_no = case_number_of(case)
    look = asyncio.run(_looked(found, case_no))
    if dry_run:
        _show_plan(look, as_json=as_json)
        return
    entrance = _entrance(found, intake, token_file)
    ask_if_open(look, is_sure=yes)
    look, fading = asyncio.run(_erased(found, entrance, case_no, wait))
    _show_outcome(look, fading, as_json=as_json)
    if not look.is_done:
        raise typer.Exit(1)


def case_number_of(written: str) -> str:
    """Return a case number as it is stored. Raises PlatformError for what is none."""
    from contracts.ids import parse_case_number
    from deploy.local.errors import PlatformError

    case_no = parse_case_number(written)
    if case_no is None:
        raise PlatformError("not a case number, its check character does not fit")
    return case_no


def _list_erased(found: Addresses, *, as_json: bool) -> None:
    import asyncio
    import json

    from deploy.erasure.erasing import erased_cases

    erased = sorted(asyncio.run(erased_cases(found.kafka_url)).items())
    if as_json:
        rows = [{"case_no": case_no, "erased_at": at.isoformat()} for case_no, at in erased]
        typer.echo(json.dumps(rows, indent=1))
        return
    for case_no, at in erased:
        typer.echo(f"{case_no}  {at.isoformat()}")


async def _looked(found: Addresses, case_no: str) -> Look:
    from deploy.erasure.erasing import watching
    from deploy.local.errors import PlatformError

    async with watching(found.kafka_url, found.mongo_url, case_no) as watch:
        look = await watch.look()
    if not look.is_known:
        raise PlatformError(f"the log has no case {case_no}")
    return look


def _entrance(found: Addresses, intake: str | None, token_file: Path | None) -> Entrance:
    """Where to ask and with which key: as named, else of the local platform."""
    from deploy.erasure.erasing import Entrance
    from deploy.local import credentials
    from deploy.local.errors import PlatformError
    from deploy.local.folders import PlatformFolder

    url = intake or next(iter(found.services.get("intake", ())), None)
    if url is None:
        raise PlatformError("no intake runs here: name one with --intake")
    if token_file is not None:
        try:
            return Entrance(url, token_file.read_text(encoding="utf-8").strip())
        except (OSError, UnicodeDecodeError) as error:
            raise PlatformError(f"--token-file: {type(error).__name__}") from None
    tokens = credentials.read_tokens(PlatformFolder.current()).get(_OPERATOR, {})
    if not tokens:
        raise PlatformError("no operator's key is kept here: give one with --token-file")
    return Entrance(url, next(iter(tokens.values())))


def ask_if_open(look: Look, *, is_sure: bool) -> None:
    """Warn of a case that somebody may still work on; without --yes a person must agree."""
    import sys

    from contracts.ids import spoken
    from contracts.lifecycle import Phase
    from deploy.erasure.showing import status_of
    from deploy.local.errors import PlatformError

    phase = look.state.case.phase if look.state.case else Phase.OPEN
    if phase is Phase.CLOSED or look.erased is not None:
        return
    words = (
        f"办件 {spoken(look.case_no)} 尚未归档（{status_of(look)}）："
        "清除后，值班人员和承办单位都看不到求助内容。"
    )
    typer.echo(words, err=True)
    if is_sure:
        return
    if not sys.stdin.isatty():
        raise PlatformError("the case is open: --yes erases it all the same")
    if not typer.confirm("仍要清除吗？", err=True):
        raise typer.Exit(1)


async def _erased(
    found: Addresses, entrance: Entrance, case_no: str, wait_s: float
) -> tuple[Look, Fading]:
    from contracts.topics import CASE_TOPICS
    from deploy.erasure.erasing import ask, fading, follow, key_of, watching
    from deploy.erasure.showing import ErasureDisplay

    async with watching(found.kafka_url, found.mongo_url, case_no) as watch:
        look = await watch.look()
        if not look.is_done:
            await ask(entrance, case_no, key_of(look))
        with ErasureDisplay() as display:
            look = await follow(watch, wait_s, display.show)
    topics = {spot.where for spot in {*look.spots, *look.gone} if "." in spot.where}
    return look, await fading(found.kafka_url, {*CASE_TOPICS, *topics, *look.replies})


def _show_plan(look: Look, *, as_json: bool) -> None:
    import json

    from rich.console import Console

    from deploy.erasure import showing

    if as_json:
        typer.echo(json.dumps(showing.as_document(look), ensure_ascii=False, indent=1))
    else:
        showing.print_plan(look, Console())


def _show_outcome(look: Look, fading: Fading, *, as_json: bool) -> None:
    import json

    from rich.console import Console

    from deploy.erasure import showing

    if as_json:
        typer.echo(json.dumps(showing.as_document(look, fading), ensure_ascii=False, indent=1))
    else:
        showing.print_outcome(look, fading, Console())
