"""An erasure for people, in Chinese: a bar, a table for each owner, and what is still to come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from contracts.ids import spoken
from contracts.topics import CASE_TOPICS, SERVICES
from deploy.erasure.erasing import Fading
from deploy.erasure.watch import Look, Spot
from services.reporting.domain.words import STATUS_NAMES

_SERVICES = {"intake": "受理", "triage": "分诊", "notify": "通知", "reporting": "查询与数据"}
_LEFT_COLUMNS = ("服务", "位置", "含个人信息")
_TIME = "%Y-%m-%d %H:%M"


class ErasureDisplay:
    """A bar on the error stream while the owners work."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed}/{task.total}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("清除个人信息", total=None)
        self._most = 0

    def __enter__(self) -> ErasureDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, look: Look) -> None:
        """Show how far it is."""
        left = len(look.left) + len(look.not_through)
        self._most = max(self._most, left)
        self._progress.update(self._task, total=self._most, completed=self._most - left)


def status_of(look: Look) -> str:
    """Return what a case's state is called."""
    return STATUS_NAMES.get(look.state.status, str(look.state.status))


def print_plan(look: Look, console: Console) -> None:
    """Print where the person stands, which is what an erasure would redact."""
    console.print(f"办件 {spoken(look.case_no)} · {status_of(look)} · 不作改动", highlight=False)
    table = Table()
    for heading in _LEFT_COLUMNS:
        table.add_column(heading, justify="right" if heading == _LEFT_COLUMNS[-1] else "left")
    for service in SERVICES:
        for where, count in _by_where(look, service).items():
            table.add_row(_SERVICES[service], where, f"{count:,}")
    console.print(table)
    if not look.left:
        console.print("没有需要清除的个人信息。")
    for topic, (count, _) in sorted(look.replies.items()):
        console.print(f"部门写入的 {topic} 中有 {count} 条，由 Kafka 到期删除。", highlight=False)


def print_outcome(look: Look, fading: Fading, console: Console) -> None:
    """Print what was done by whom, what still waits, and when Kafka will have let go of it all."""
    table = Table(
        title=f"办件 {spoken(look.case_no)} · 清除个人信息", title_justify="left", highlight=False
    )
    table.add_column("服务")
    for heading in ("事件已清除", "副本已清除", "仍待清除"):
        table.add_column(heading, justify="right")
    for service in SERVICES:
        counts = counts_of(look, service)
        waits = str(counts["waiting"] or ("0" if service not in look.not_through else "待处理"))
        table.add_row(_SERVICES[service], f"{counts['redacted']:,}", f"{counts['copies']:,}", waits)
    console.print(table)
    for service in SERVICES:
        for where, count in _by_where(look, service).items():
            console.print(f"[red]仍含个人信息[/]  {where}  {count}", highlight=False)
    for topic, until in fades_by(look, fading).items():
        at = f"{until.astimezone():{_TIME}}"
        words = "旧字节" if topic == "" else f"部门写入 {topic} 的回复"
        console.print(f"Kafka 最迟于 {at} 删去{words}。", highlight=False)
    verdict = (
        "[green]个人信息已全部清除[/]"
        if look.is_done
        else "[red]尚未全部清除；服务会继续处理，稍后可再次执行本命令查看[/]"
    )
    console.print(f"结论：{verdict}")


def counts_of(look: Look, service: str) -> dict[str, int]:
    """Return how many events of an owner are redacted, how many copies hold nothing personal or
    are gone, and how much still holds the person."""
    own = {spot: held for spot, held in look.spots.items() if spot.service == service}
    gone = sum(spot.service == service for spot in look.gone)
    copies = sum(not held for spot, held in own.items() if not _is_event(spot))
    return {
        "redacted": sum(not held for spot, held in own.items() if _is_event(spot)),
        "copies": copies + gone,
        "waiting": sum(own.values()),
    }


def fades_by(look: Look, fading: Fading) -> dict[str, datetime]:
    """Return until when Kafka may keep old bytes (""), and by topic the departments' replies."""
    until = {"": datetime.now(UTC) + fading.superseded}
    for topic, (_, newest_ms) in sorted(look.replies.items()):
        written = datetime.fromtimestamp(newest_ms / 1_000, UTC)
        until[topic] = written + fading.written_once[topic]
    return until


def as_document(look: Look, fading: Fading | None = None) -> dict[str, Any]:
    """Return an erasure for machines; nothing personal is in it."""
    erased = look.erased
    return {
        "case_no": look.case_no,
        "status": str(look.state.status),
        "erased_at": erased.data.recorded_at.isoformat() if erased else None,
        "is_done": look.is_done,
        "owners": {service: counts_of(look, service) for service in SERVICES},
        "left": {service: _by_where(look, service) for service in SERVICES},
        "passes": dict(look.passes),
        "replies": {topic: count for topic, (count, _) in look.replies.items()},
        "kafka_keeps_until": {
            topic or "case topics": at.isoformat() for topic, at in fades_by(look, fading).items()
        }
        if fading
        else None,
    }


def _is_event(spot: Spot) -> bool:
    return spot.where in CASE_TOPICS


def _by_where(look: Look, service: str) -> Mapping[str, int]:
    return dict(sorted(Counter(s.where for s in look.left if s.service == service).items()))
