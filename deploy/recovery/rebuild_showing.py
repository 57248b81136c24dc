"""A rebuild for people: what it would do, how far it is, what it came to."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from deploy.recovery.rebuilt import Outcome, Plan, Stage, Step
from services.reporting.generations import Generation
from services.reporting.recount import Difference

_MOST_SHOWN = 30
_STAGES = {
    Stage.READING: "读取日志",
    Stage.COMPARING: "与现有数据比较",
    Stage.RECOUNTING: "重新计数",
    Stage.TURNING: "切换",
}


class RebuildDisplay:
    """A bar for each stage on the error stream, with the rate and the time that is left."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._tasks: dict[Stage, TaskID] = {}

    def __enter__(self) -> RebuildDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, step: Step) -> None:
        """Move the bar of a stage."""
        if step.stage not in self._tasks:
            name = _STAGES[step.stage]
            self._tasks[step.stage] = self._progress.add_task(name, total=step.total, rate="")
        task = self._progress.tasks[self._tasks[step.stage]]
        rate = ""
        if step.stage is Stage.READING and task.elapsed:
            rate = f"{step.records} 条，每秒 {step.records / task.elapsed:,.0f} 条"
        self._progress.update(task.id, completed=step.done, total=step.total, rate=rate)


def print_plan(plan: Plan, console: Console) -> None:
    """Print what would be done."""
    if plan.is_turned:
        console.print(f"第 {plan.live.number} 代已建成并启用，只待清理旧的一代。未作任何改动。")
        return
    table = Table("主题", "待读记录（至多）")
    for topic, records in plan.records.items():
        table.add_row(topic, f"{records:,}")
    console.print(table)
    console.print(f"现用：{_named(plan.live)}")
    console.print(f"将建：{_named(plan.new)}")
    if plan.read_before:
        console.print(f"上次未建完，已读 {plan.read_before:,} 条，将接着建。")
    console.print("未作任何改动。")


def print_outcome(outcome: Outcome, console: Console) -> None:
    """Print what came of it."""
    if outcome.had_turned:
        console.print(f"上次已切换到第 {outcome.new.number} 代，这次只作清理。")
    else:
        rate = outcome.records / outcome.seconds if outcome.seconds else 0.0
        console.print(
            f"已重建：{_named(outcome.new)}；读取 {outcome.records:,} 条记录，"
            f"{outcome.cases:,} 件，用时 {outcome.seconds:.1f} 秒（每秒 {rate:,.0f} 条）"
        )
        console.print("重新计数：全部相等")
        _print_differences(outcome, console)
        if outcome.put_aside:
            console.print(f"新增死信 {outcome.put_aside} 封，见 jieyou dead-letters list")
    console.print(f"已切换；在用的进程 {outcome.processes} 个")
    for one in outcome.dropped:
        console.print(f"已删除旧的一代：{_named(one)}")
    for one in outcome.undropped:
        console.print(f"仍有进程在用，未删除：{_named(one)}；下次重建时再删")


def as_document(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome for machines."""
    return {
        "old": _document(outcome.old),
        "new": _document(outcome.new),
        "had_turned": outcome.had_turned,
        "records": outcome.records,
        "seconds": round(outcome.seconds, 3),
        "cases": outcome.cases,
        "put_aside": outcome.put_aside,
        "compared_partitions": outcome.compared,
        "differences": [
            {**one.bucket._asdict(), "counter": one.counter}
            | {"old": one.counted, "new": one.recounted}
            for one in outcome.differences
        ],
        "processes": outcome.processes,
        "dropped": [_document(one) for one in outcome.dropped],
        "undropped": [_document(one) for one in outcome.undropped],
    }


def plan_document(plan: Plan) -> dict[str, Any]:
    """Return a plan for machines."""
    return {
        "live": _document(plan.live),
        "new": _document(plan.new),
        "records": dict(plan.records),
        "read_before": plan.read_before,
        "is_turned": plan.is_turned,
    }


def _print_differences(outcome: Outcome, console: Console) -> None:
    if not outcome.compared:
        console.print("旧的一代没有可比的数据")
        return
    if not outcome.differences:
        console.print(f"与旧的一代比较（{outcome.compared} 个分区号）：全部相等")
        return
    console.print(f"与旧的一代不同之处共 {len(outcome.differences)} 项：")
    table = Table("时段（UTC）", "类别", "地区", "等级", "部门", "渠道", "计数", "旧", "新")
    for one in outcome.differences[:_MOST_SHOWN]:
        table.add_row(*_row(one))
    console.print(table)
    if len(outcome.differences) > _MOST_SHOWN:
        console.print(f"只列前 {_MOST_SHOWN} 项；全部见 --json")


def _row(one: Difference) -> list[str]:
    at = one.bucket
    places = [at.hour, at.category, at.region, at.tier, at.department, at.channel]
    return [*places, one.counter, str(one.counted), str(one.recounted)]


def _named(one: Generation) -> str:
    return f"第 {one.number} 代（数据库 {one.database}，消费组 {one.group}）"


def _document(one: Generation) -> dict[str, Any]:
    return {"number": one.number, "database": one.database, "group": one.group}
