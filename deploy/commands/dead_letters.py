"""`jieyou dead-letters`: see what could not be handled, write it again, or give it up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from contracts.dead_letters import DeadLetter
    from deploy.dead_letters.ledger import Act, Entry
    from deploy.dead_letters.repair import Line, Outcome, Repair

R = TypeVar("R")
_LONGEST_REASON = 500


class Service(StrEnum):
    """Whose dead letters (as contracts.topics.SERVICES, which is not loaded for --help)."""

    INTAKE = "intake"
    TRIAGE = "triage"
    NOTIFY = "notify"
    REPORTING = "reporting"


OfService = Annotated[Service | None, typer.Option("--service", help="只看某一服务的死信。")]
By = Annotated[str | None, typer.Option("--by", help="经办人；默认为当前系统用户。")]
Ids = Annotated[list[str], typer.Argument(help="死信编号，见 jieyou dead-letters list。")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="死信：查看服务无法处理的记录，重发或弃置。经办情况一直保留。", no_args_is_help=True
    )
    group.command(name="list", help="列出待处理的死信（不含记录内容）。")(list_letters)
    group.command(name="show", help="查看一封死信。")(show)
    group.command(
        name="retry", help="把原记录照原样写回原主题和分区，并等待结果；未全部处理时退出码为 1。"
    )(retry)
    group.command(name="discard", help="弃置死信；须说明理由，记录内容随之删除。")(discard)
    app.add_typer(group, name="dead-letters")


def list_letters(
    service: OfService = None,
    all_: Annotated[bool, typer.Option("--all", help="也列出已了结的。")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="以 JSON 输出。")] = False,
) -> None:
    """Letters of which something is left to do, or all."""
    import json
    from datetime import UTC

    from deploy.dead_letters import showing

    lines = _of(service, _run(lambda repair: repair.look(with_settled=all_)))
    lines = [line for line in lines if all_ or line.is_open]
    now = datetime.now(UTC)
    if as_json:
        typer.echo(json.dumps(showing.rows(lines, now), ensure_ascii=False, indent=1))
    else:
        showing.print_letters(lines, now, showing.console())


def show(
    letter_id: Annotated[str, typer.Argument(help="死信编号，见 jieyou dead-letters list。")],
    payload: Annotated[
        bool, typer.Option("--payload", help="输出记录内容（含个人信息）。")
    ] = False,
) -> None:
    """One letter: with --payload its record goes to standard output, and nothing else does."""
    from datetime import UTC

    from deploy.dead_letters import showing
    from deploy.dead_letters.ledger import DeadLetterError

    lines = {one.entry.id: one for one in _run(lambda repair: repair.look(with_settled=True))}
    line = lines.get(letter_id)
    if line is None:
        raise DeadLetterError(f"there is no letter {letter_id}; see `jieyou dead-letters list`")
    if not payload:
        showing.print_letter(line, datetime.now(UTC), showing.console())
        return
    letter = line.aside.letter if line.aside else None
    if letter is None:
        raise DeadLetterError(f"{letter_id}: its record is not there any more")
    _print_record(letter)


def _print_record(letter: DeadLetter) -> None:
    """Print headers to the error stream and the payload to standard output, byte for byte where
    that is a file; on a terminal control characters would be carried out."""
    import sys

    typer.echo("注意：以下内容含个人信息，请勿外传、留存。", err=True)
    for name, text in letter.headers.items():
        typer.echo(_printable(f"{name}: {text}"), err=True)
    content = letter.payload or b""
    if sys.stdout.isatty():
        typer.echo(_printable(content.decode("utf-8", "replace")))
    else:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() or one == "\n" else "�" for one in text)


def retry(
    ids: Annotated[
        list[str] | None, typer.Argument(help="死信编号，见 jieyou dead-letters list。")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="重发全部待处理的。")] = False,
    service: OfService = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="重发的缘由，如修复所在的版本；请勿写个人信息。")
    ] = None,
    by: By = None,
    wait: Annotated[float, typer.Option("--wait", min=0.0, help="每批最多等待几秒。")] = 20.0,
) -> None:
    """Write records again; the letters are taken off as soon as they are handled."""
    from deploy.dead_letters import showing
    from deploy.dead_letters.repair import Result, chosen

    if bool(ids) == all_:
        raise typer.BadParameter("给出死信编号，或用 --all（二者选一）。")
    if service is not None and not all_:
        raise typer.BadParameter("--service 只与 --all 同用。")
    act = _act(by, reason)

    async def work(repair: Repair) -> list[Outcome]:
        lines = await repair.look()
        wanted = _of(service, [x for x in lines if x.is_open]) if all_ else chosen(lines, ids or [])
        return await _retried(repair, wanted, act, wait)

    outcomes = _run(work)
    showing.print_outcomes(outcomes, showing.console())
    if any(one.result is not Result.HANDLED for one in outcomes):
        raise typer.Exit(1)


async def _retried(repair: Repair, lines: list[Line], act: Act, wait_s: float) -> list[Outcome]:
    """Retry with a bar on the error stream."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("重发", total=len(lines))

        def show_progress(done: Sequence[Outcome]) -> None:
            progress.update(task, completed=len(done))

        return await repair.retry(lines, act, wait_s=wait_s, on_progress=show_progress)


def discard(
    ids: Ids,
    reason: Annotated[str, typer.Option("--reason", help="弃置的理由；请勿写个人信息。")],
    by: By = None,
) -> None:
    """Give letters up."""
    from deploy.dead_letters import showing
    from deploy.dead_letters.repair import chosen

    if not reason.strip():
        raise typer.BadParameter("--reason 不能为空。")
    act = _act(by, reason)

    async def work(repair: Repair) -> list[Entry]:
        return await repair.discard(chosen(await repair.look(), ids), act)

    showing.print_discarded(_run(work), showing.console())


def _act(by: str | None, why: str | None) -> Act:
    import getpass
    from datetime import UTC

    from deploy.dead_letters.ledger import Act

    words = why.strip()[:_LONGEST_REASON] if why else None
    try:
        name = by or getpass.getuser()
    except (KeyError, OSError):
        raise typer.BadParameter("请用 --by 写明经办人。") from None
    return Act(at=datetime.now(UTC), by=name, why=words)


def _of(service: Service | None, lines: list[Line]) -> list[Line]:
    return [line for line in lines if service is None or line.entry.service == service]


def _run(work: Callable[[Repair], Awaitable[R]]) -> R:
    """Do something with the dead letters of JIEYOU_KAFKA_URL and JIEYOU_MONGO_URL, else of the
    local platform that runs."""
    import asyncio

    from deploy.dead_letters.repair import repairing
    from deploy.local import control
    from deploy.local.folders import PlatformFolder

    found = control.addresses(PlatformFolder.current())

    async def connected() -> R:
        async with repairing(found.kafka_url, found.mongo_url) as repair:
            return await work(repair)

    return asyncio.run(connected())
