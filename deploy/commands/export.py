"""`jieyou export`: the log as files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deploy.log_archive.exporting import Extent
    from deploy.log_archive.manifest import Manifest


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        name="export",
        help="导出整个日志：压缩的 JSON 行，附校验和。内含个人信息，请按备份保管。",
    )(export)


def export(
    folder: Annotated[Path, typer.Argument(help="新的或空的文件夹。")],
    profile: Annotated[
        str, typer.Option(help="配置方案：自带方案的名称，或文件路径。", envvar="JIEYOU_PROFILE")
    ] = "zhoukou",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="只看有多少，什么也不写。")] = False,
) -> None:
    """Of JIEYOU_KAFKA_URL, else of the local platform that runs."""
    import asyncio

    from contracts.profile import load_profile
    from contracts.topics import all_topics
    from deploy.commands.log_archive import ShownProgress
    from deploy.local import control
    from deploy.local.folders import PlatformFolder
    from deploy.log_archive.exporting import export_log, extent_of

    url, _ = control.log_and_store(PlatformFolder.current())
    topics = all_topics(department.code for department in load_profile(profile).departments)
    extent = asyncio.run(extent_of(url, topics))
    if dry_run:
        _print_extent(extent)
        return
    with ShownProgress() as progress:
        manifest = asyncio.run(
            export_log(url, folder, topics, profile=profile, on_progress=progress.stage("导出"))
        )
    _print_manifest(folder, manifest)
    _print_left_out(extent)


def _print_extent(extent: Extent) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="将导出的日志", title_justify="left")
    table.add_column("主题")
    for heading in ("分区", "记录（至多）"):
        table.add_column(heading, justify="right")
    for name, (partitions, offsets) in extent.spans.items():
        table.add_row(name, str(partitions), f"{offsets:,}")
    Console().print(table)
    total = sum(offsets for _, offsets in extent.spans.values())
    groups = sorted({one.group for one in extent.committed})
    typer.echo(f"至多 {total:,} 条记录，消费组 {'、'.join(groups) or '无'}；什么也没有写。")
    _print_left_out(extent)


def _print_manifest(folder: Path, manifest: Manifest) -> None:
    size = sum(one.bytes for one in manifest.files)
    typer.echo(
        f"已导出 {manifest.records:,} 条记录，{len(manifest.files)} 个文件，"
        f"{size / 1_000_000:,.1f} MB，已清除个人信息的办件 {len(manifest.erased)} 件：{folder}"
    )
    typer.echo("内含个人信息：请按备份保管，不用时删除。导入：jieyou import")


def _print_left_out(extent: Extent) -> None:
    if extent.left_out:
        typer.echo(f"不在配置方案中的主题不导出：{'、'.join(extent.left_out)}", err=True)
