"""`jieyou topics`: create the topics of a profile."""

from __future__ import annotations

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(name="topics", help="按配置方案建立 Kafka 主题；已有的不变，可重复执行。")(topics)


def topics(
    profile: Annotated[
        str, typer.Option(help="配置方案：自带方案的名称，或文件路径。", envvar="JIEYOU_PROFILE")
    ] = "zhoukou",
) -> None:
    """On JIEYOU_KAFKA_URL, else on the local platform that runs."""
    import asyncio
    import os

    from contracts.profile import load_profile
    from contracts.topics import all_topics
    from deploy.local import control
    from deploy.local.folders import PlatformFolder
    from deploy.topics import ensure_topics

    kafka_url = os.environ.get("JIEYOU_KAFKA_URL")
    if kafka_url is None:
        kafka_url = control.addresses(PlatformFolder.current()).kafka_url
    specs = all_topics(department.code for department in load_profile(profile).departments)
    report = asyncio.run(ensure_topics(kafka_url, specs))
    for words, names in (("新建", report.created), ("更新设置", report.reconfigured)):
        for name in names:
            typer.echo(f"{words}  {name}")
    typer.echo(
        f"主题共 {len(specs)} 个：新建 {len(report.created)}，"
        f"更新设置 {len(report.reconfigured)}，未变 {len(report.unchanged)}"
    )
