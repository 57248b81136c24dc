"""The closing screen of the demonstration: the source's figures beside those of this run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.panel import Panel
from rich.table import Table

from contracts.profile import Profile
from contracts.profile_parts import CategoryCode
from deploy.simulators.play import Played
from deploy.simulators.stories.story import Story
from deploy.simulators.tale import Tale
from deploy.simulators.verdict import Verdict

_WIDTH = 100
_MOST_LINES = 8
_NAMED: tuple[CategoryCode, ...] = ("policy", "transport", "health_code", "medical")


@dataclass(frozen=True, slots=True)
class Closing:
    """All that the screen shows. `view` is the public view of one case, None if there is none."""

    story: Story
    profile: Profile
    played: Played
    tale: Tale
    verdict: Verdict
    by_category: Mapping[str, int]
    addresses: Mapping[str, str]
    view: Mapping[str, Any] | None

    @property
    def is_mix_right(self) -> bool:
        """Whether the final categories are those of the requests that were played, as far as the
        figures show these alone."""
        if self.verdict.others:
            return True
        played = Counter(one.request.true_category for one in self.played.room.plans.values())
        return dict(played) == {code: n for code, n in self.by_category.items() if n}

    def show(self, console: Console) -> None:
        """Print it, no wider than 100 columns."""
        if console.width > _WIDTH or not console.is_terminal:
            console = Console(file=console.file, width=_WIDTH)
        console.rule("[bold]周口市民疫情求助通道 · 演示结束[/]")
        console.print(
            "左列为来源公布的真实数据（2022年1月11日至2月16日）；右列为本次运行：求助文字、市民、"
            "部门、热线与值班席均为模拟，时长是本机的时长。",
            style="dim",
        )
        console.print(self._beside_source())
        console.print(self._twists())
        console.print(self._rates())
        console.print(self._checks())
        if self.view is not None:
            console.print(self._timeline(self.view))
        console.print(self._where())

    def _beside_source(self) -> Table:
        source, totals = self.story.source_figures, self.played.figures["totals"]
        rates = self.played.figures["rates"]
        table = _table("来源与本次运行", "", "来源（真实）", "本次（模拟）")
        table.add_row("求助总数", str(source.requests), str(totals["accepted"]))
        for named in _NAMED:
            name = self.profile.categories_by_code[named].name
            own, run = source.by_category[named], self.by_category.get(named, 0)
            table.add_row(f"　{name}", str(own), _beside(run, own))
        rest = {code: n for code, n in self.by_category.items() if code not in _NAMED}
        run_rest = sum(rest.values())
        table.add_row("　其余六类合计", str(source.remaining), _beside(run_rest, source.remaining))
        split = source.our_split_of_remaining
        names = self.profile.categories_by_code
        parts = "、".join(f"{names[code].name}{rest.get(code, 0)}" for code in split)
        table.add_row("　　其中（分法是我们的）", "未公布", parts)
        handled, finished = source.handled_within_24_hours_percent, source.finished_percent
        table.add_row("24小时处理率", f"{handled}%", _rate(rates["handled_24h"]))
        table.add_row("办结率", f"{finished}%", _rate(rates["finished"]))
        corrected = sum(self.tale.corrected.values())
        agrees = "一致" if self.is_mix_right else "[red]不一致[/]"
        table.add_row("自动归类后经值班席更正", "—", f"{corrected} 件，更正后与来源分类{agrees}")
        return table

    def _twists(self) -> Table:
        counts = self.tale.counts
        cells = [
            ("在线答复", f"{counts['answered']} 件"),
            ("其中先征询", f"{counts['inquired']} 件"),
            ("交办部门", f"{counts['handed_off']} 件"),
            ("其中转热线", f"{counts['to_hotline']} 件"),
            ("有协办单位", f"{counts['assisted']} 件"),
            ("并案／合办", f"{counts['groups']} 组 {counts['grouped']} 件"),
            ("红色研判", f"{counts['judged']} 件"),
            ("退单", f"{counts['returned']} 件 {counts['returns']} 次"),
            ("催办", f"{counts['urged']} 件"),
            ("市民补充", f"{counts['supplemented']} 件"),
            ("延期", f"{counts['extended']} 件"),
            ("人工回访", f"{counts['visited']} 件"),
            ("撤回", f"{counts['withdrawn']} 件"),
            ("重办", f"{counts['reopened']} 件"),
            ("不予受理", f"{counts['not_accepted']} 件"),
        ]
        table = _table("本次运行中发生的", *[""] * 6)
        table.show_header = False
        for start in range(0, len(cells), 3):
            table.add_row(*[text for cell in cells[start : start + 3] for text in cell])
        return table

    def _rates(self) -> Table:
        rates = self.played.figures["rates"]
        table = _table("满意与解决（在线答复与部门办理不合并计算）", "", "在线答复", "部门办理")
        table.add_row("满意率", _rate(rates["online_satisfied"]), _rate(rates["handoff_satisfied"]))
        table.add_row("解决率", _rate(rates["online_solved"]), _rate(rates["handoff_solved"]))
        table.add_row("重办率", _rate(rates["reopened"]), "")
        table.add_row("按时办结率", _rate(rates["finished_in_time"]), "")
        return table

    def _checks(self) -> Table:
        verdict, audit, played = self.verdict, self.verdict.audit, self.played
        table = _table("核对", "", "结果", "")
        clients, logged, closed = verdict.accepted_by_clients, verdict.known_by_log, verdict.closed
        said = f"渠道收到回执 {clients} = 日志受理 {logged} = 归档 {closed}"
        if verdict.others:
            said += f"（另有以前的 {verdict.others} 件）"
        is_whole = {clients, logged, closed} == {verdict.expected}
        table.add_row("一件不少", said, _mark(is_whole))
        recounted = "与日志重新计数完全一致" if verdict.are_figures_right else "与重新计数不同"
        table.add_row("数据", recounted, _mark(verdict.are_figures_right))
        table.add_row("丢失", str(verdict.lost), _mark(verdict.lost == 0))
        repeated = (
            f"{verdict.doubled}（重复送达的消息 {played.repeated_messages} 条，均只生效一次）"
        )
        table.add_row("重复", repeated, _mark(verdict.doubled == 0))
        letters = f"{len(audit.dead_letters)}（日志共 {audit.events} 个事件）"
        table.add_row("死信", letters, _mark(not audit.dead_letters))
        table.add_row(
            "审计 jieyou audit", "干净" if audit.is_clean else "有问题", _mark(audit.is_clean)
        )
        speed = len(played.room.accepted) / max(played.seconds, 0.001)
        pace = f"{played.seconds:.1f} 秒，每秒 {speed:.1f} 件走完全程；重发 {played.retries} 次"
        table.add_row("用时（本机）", pace, "")
        wrong = [
            *verdict.differences,
            *verdict.doubles_seen,
            *(f"{one.kind} {one.case_no or ''} {one.what}" for one in audit.missing),
            *(f"{one.kind} {one.case_no or ''} {one.what}" for one in audit.double),
            *(f"{one.origin} {one.reason}" for one in audit.dead_letters),
        ]
        for line in wrong[:_MOST_LINES]:
            table.add_row("", f"[red]{line}[/]", "")
        if len(wrong) > _MOST_LINES:
            table.add_row("", f"[red]另有 {len(wrong) - _MOST_LINES} 处[/]", "")
        return table

    def _timeline(self, view: Mapping[str, Any]) -> Panel:
        table = Table.grid(padding=(0, 1))
        for width in (14, 8, None):
            table.add_column(width=width, overflow="fold")
        for step in view["timeline"]:
            table.add_row(f"[dim]{step['at_words']}[/]", step["name"], step["text"])
        title = f"其中一件：{view['case_no_spoken']}（{view['status_name']}），市民查询时看到的经过"
        return Panel(table, title=title, title_align="left", box=box.ROUNDED)

    def _where(self) -> Table:
        table = _table("演示用过的地址（演示结束即停止）", "", "")
        table.show_header = False
        for name, address in self.addresses.items():
            table.add_row(name, address)
        return table


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _beside(run: int, source: int) -> str:
    return str(run) if run == source else f"[yellow]{run}[/]"


def _rate(rate: Mapping[str, Any]) -> str:
    if rate["value"] is None:
        return "—"
    return f"{rate['value'] * 100:.1f}%（n={rate['denominator']}）"


def _mark(is_right: bool) -> str:
    return "[green]✓[/]" if is_right else "[red]✗[/]"


def still_open(lines: Sequence[str], logs: Path) -> str:
    """Say what is left of a play that took too long, and where to read why."""
    shown = "\n".join(f"  {line}" for line in lines[:40])
    more = f"\n  另有 {len(lines) - 40} 件" if len(lines) > 40 else ""
    return f"演示未能按时结束，还有 {len(lines)} 件没有归档：\n{shown}{more}\n各进程的日志：{logs}"
