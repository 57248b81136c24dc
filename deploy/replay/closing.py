"""The account of a replay for people: a bar for each stage, then every line's end in figures."""

from collections import Counter
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from contracts.profile import Profile
from deploy.audit.showing import queue_name
from deploy.replay.account import Agreement
from deploy.replay.crowd import Ours
from deploy.replay.replaying import Outcome

_MOST_SHOWN = 12


class Bars:
    """A bar for each stage of a replay, on the error stream."""

    def __init__(self, lines: int, *, plays: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        self._lines = self._progress.add_task("提交各行", total=lines)
        self._stages = {
            name: self._progress.add_task(name, total=None)
            for name in (("告知办结", "市民评价") if plays else ())
        }

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def line(self) -> None:
        """A line has its end."""
        self._progress.advance(self._lines)

    def look(self, ours: Ours) -> None:
        """Show how far the cases are."""
        for name, done in (("告知办结", ours.finished), ("市民评价", ours.spoken)):
            self._progress.update(self._stages[name], completed=len(done), total=len(ours.taken))


def print_outcome(name: str, outcome: Outcome, profile: Profile, console: Console) -> None:
    """Print what came of every line. Counts and case numbers only: no text of the file."""
    account = outcome.account
    table = Table(title=f"回放 {name}", title_justify="left")
    table.add_column("各行的去向")
    table.add_column("行数", justify="right")
    table.add_row("受理，新建办件", f"{account.new:,}")
    table.add_row("受理，以前已建（同一行再次提交）", f"{len(account.taken) - account.new:,}")
    for why, count in account.refusals().most_common():
        table.add_row(f"不予接收：{why}", f"{count:,}")
    for why, count in account.reasons_unreadable().most_common():
        table.add_row(f"无法读取：{why}", f"{count:,}")
    table.add_section()
    table.add_row("合计 / 文件行数", f"{_ended(outcome):,} / {account.lines:,}")
    console.print(table)
    if account.new == 0 and account.taken:
        console.print("这份文件以前已经回放过：没有新建任何办件。")
    if account.repeated:
        console.print(f"其中 {account.repeated:,} 行的文字与前面某行相同，各算一份求助。")
    _print_triaged(outcome, profile, console)
    _print_end(outcome, console)


def _ended(outcome: Outcome) -> int:
    account = outcome.account
    return len(account.taken) + len(account.refused) + len(account.unreadable)


def _print_triaged(outcome: Outcome, profile: Profile, console: Console) -> None:
    triaged = outcome.triaged
    categories = {code: one.name for code, one in profile.categories_by_code.items()}
    tiers = {code: profile.tier(code).name for code in ("blue", "orange", "red")}
    console.print(f"初次分类：{_listed(triaged.by_category, categories)}", highlight=False)
    console.print(f"初次定级：{_listed(triaged.by_tier, dict(tiers))}", highlight=False)
    agreements = (("类别", triaged.category), ("等级", triaged.tier))
    said = [f"{what} {_agreement(one)}" for what, one in agreements if one.labelled]
    if said:
        console.print(f"与文件标注相符：{'，'.join(said)}", highlight=False)


def _listed(counts: Counter[str], names: dict[str, str]) -> str:
    return "  ".join(f"{names.get(code, code)} {count:,}" for code, count in counts.most_common())


def _agreement(one: Agreement) -> str:
    return f"{one.agreed:,}/{one.labelled:,}（{one.agreed / one.labelled:.1%}）"


def _print_end(outcome: Outcome, console: Console) -> None:
    audit, taken = outcome.audit, len(outcome.account.taken)
    rate = taken / outcome.ask_seconds if outcome.ask_seconds else 0.0
    console.print(
        f"归档 {outcome.closed:,} / {taken:,}    日志中 {outcome.on_log:,}    "
        f"缺失 {audit.lost}    重复 {len(audit.double)}    死信 {len(audit.dead_letters)}",
        highlight=False,
    )
    for queue, case_nos in (*audit.waiting.items(), *audit.in_flight.items()):
        console.print(f"尚在 {queue_name(queue)}：{len(case_nos):,} 件", highlight=False)
    for case_no in outcome.still_open[:_MOST_SHOWN]:
        console.print(f"[red]未归档[/] {case_no}", highlight=False)
    for finding in (*audit.missing, *audit.double)[:_MOST_SHOWN]:
        console.print(f"[red]{finding.kind}[/] {finding.case_no or '—'} {finding.what}")
    console.print(f"数据与日志重算相等：{'是' if outcome.are_figures_equal else '[red]否[/]'}")
    console.print(
        f"用时 {outcome.seconds:.1f} 秒（提交 {outcome.ask_seconds:.1f} 秒，每秒 {rate:.0f} 份；"
        f"重试 {outcome.retries} 次）。值班、部门和市民的动作均为模拟。",
        highlight=False,
    )
    good = "[green]每行都有去向，核对无误[/]"
    console.print(f"结论：{good if outcome.is_good else '[red]未通过[/]'}")
