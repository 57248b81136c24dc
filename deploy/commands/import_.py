"""`jieyou import`: an exported log into an empty Kafka."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deploy.log_archive.importing import Imported


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        name="import",
        help="把导出的日志导入空的 Kafka（各服务须停着）；中断后再次执行即接着导入。",
    )(import_)


def import_(
    folder: Annotated[Path, typer.Argument(help="jieyou export 写成的文件夹。")],
    erased: Annotated[
        Path | None,
        typer.Option("--erased", help="导出后又清除的办件编号，每行一个。"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="校验文件和目标，统计将写入多少；什么也不写。")
    ] = False,
) -> None:
    """Into JIEYOU_KAFKA_URL and JIEYOU_MONGO_URL, else the local platform that runs."""
    import asyncio

    from deploy.commands.log_archive import ShownProgress
    from deploy.local import control
    from deploy.local.folders import PlatformFolder
    from deploy.log_archive.importing import import_log

    kafka_url, mongo_url = control.log_and_store(PlatformFolder.current())
    numbers = _numbers(erased) if erased is not None else frozenset()
    with ShownProgress() as progress:
        imported = asyncio.run(
            import_log(
                kafka_url,
                folder,
                mongo_url,
                erased=numbers,
                is_dry_run=dry_run,
                on_check=progress.stage("校验"),
                on_write=progress.stage("试算" if dry_run else "写入"),
            )
        )
    _print(imported, is_dry_run=dry_run)


def _numbers(path: Path) -> frozenset[str]:
    from deploy.log_archive.erasing import case_numbers
    from deploy.log_archive.errors import ArchiveError

    try:
        return case_numbers(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{path} is not readable ({type(error).__name__})") from error


def _print(imported: Imported, *, is_dry_run: bool) -> None:
    written = "将写入" if is_dry_run else "已写入"
    before = f"（此前已有 {imported.standing:,} 条）" if imported.standing else ""
    typer.echo(f"{written} {imported.records:,} 条记录{before}")
    typer.echo(
        f"已清除个人信息的办件 {len(imported.erased)} 件：改写 {imported.redacted:,} 条，"
        f"不导入 {imported.left_out:,} 条"
    )
    groups = "、".join(sorted(imported.committed)) or "无"
    typer.echo(f"消费进度（{groups}）{'将' if is_dry_run else '已'}换算到新日志")
    if is_dry_run:
        return
    if imported.submissions is None:
        typer.echo("未设 JIEYOU_MONGO_URL：受理服务的幂等记录没有写入", err=True)
    else:
        typer.echo(f"受理服务的幂等记录：写入 {imported.submissions:,} 条")
    typer.echo(_NEXT)


_NEXT = """接下来：
  1. jieyou restore triage    由日志恢复分诊的数据库
  2. jieyou restore notify    由日志恢复通知的数据库
  3. 启动全部服务（本机平台：jieyou down，再 jieyou up）；报表由日志自行重建
  4. jieyou audit             逐件核对"""
