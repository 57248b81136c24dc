"""A restore for people: how far it is, what it came to."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from deploy.recovery.restored import Outcome, Step

_MOST_SHOWN = 30
_NAMES = {"cases": "办件", "groups": "合办组", "handoffs": "交办", "deliveries": "投递"}


class RestoreDisplay:
    """A bar on the error stream, by offsets read, with the documents restored so far."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[documents]} 份文档"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task: TaskID | None = None

    def __enter__(self) -> RestoreDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, step: Step) -> None:
        """Move the bar."""
        if self._task is None:
            self._task = self._progress.add_task("读取日志", total=step.total, documents=0)
        self._progress.update(
            self._task, completed=step.done, total=step.total, documents=f"{step.documents:,}"
        )


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Print what came of it, flaws by name."""
    counted = "，".join(
        f"{_NAMES.get(name, name)} {count:,}" for name, count in sorted(outcome.documents.items())
    )
    rate = outcome.written / outcome.seconds if outcome.seconds else 0.0
    begun = "可恢复" if outcome.is_dry_run else "已恢复"
    console.print(
        f"{begun} {outcome.service}：{outcome.cases:,} 件；{counted or '没有文档'}；"
        f"事件 {outcome.events:,} 个；用时 {outcome.seconds:.1f} 秒（每秒 {rate:,.0f} 份文档）"
    )
    if outcome.service == "triage":
        policies = "" if outcome.is_dry_run else f"，政策 {outcome.policies} 条"
        console.print(f"待办件到达后处理的市民来言 {outcome.parked} 条{policies}")
    if outcome.erased:
        console.print(f"已清除个人信息的办件 {outcome.erased} 件")
    if outcome.conflicting:
        console.print(f"同一事件内容不同的记录 {outcome.conflicting} 条，以先写入的为准")
    for origin in outcome.unreadable[:_MOST_SHOWN]:
        console.print(f"[yellow]无法读取的记录：{origin}[/]")
    for flaw in outcome.flaws[:_MOST_SHOWN]:
        console.print(
            f"[red]不完整[/]：{flaw.case_no} 的 {flaw.document_id}，"
            f"只恢复到第 {flaw.restored_through} 个事件（{flaw.what}）"
        )
    if len(outcome.flaws) > _MOST_SHOWN:
        console.print(f"另有 {len(outcome.flaws) - _MOST_SHOWN} 份不完整；全部见 --json")
    if outcome.is_dry_run:
        console.print("未作任何改动。")


def as_document(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome for machines."""
    return {
        "service": outcome.service,
        "dry_run": outcome.is_dry_run,
        "documents": dict(sorted(outcome.documents.items())),
        "cases": outcome.cases,
        "events": outcome.events,
        "parked": outcome.parked,
        "policies": outcome.policies,
        "erased": outcome.erased,
        "conflicting": outcome.conflicting,
        "unreadable": outcome.unreadable,
        "incomplete": [
            {
                "case_no": flaw.case_no,
                "document_id": flaw.document_id,
                "restored_through": flaw.restored_through,
                "what": flaw.what,
            }
            for flaw in outcome.flaws
        ],
        "seconds": round(outcome.seconds, 3),
    }
