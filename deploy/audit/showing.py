"""An audit for people: a progress bar, a summary, and the story of one case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from contracts.envelope import Event
from contracts.ids import spoken
from contracts.lifecycle import state_of
from deploy.audit.findings import Audit, Finding, FindingKind, Standing
from deploy.audit.run import Progress as AuditProgress
from services.reporting.domain.words import QUEUE_NAMES, STATUS_NAMES

_MOST_SHOWN = 20
_STAGES = {
    "beside": "读取部门主题与回复",
    "stores": "读取各服务的数据库",
    "cases": "逐件核对",
    "again": "复核可疑的办件",
}
_STANDINGS = {
    Standing.CLOSED: "已归档",
    Standing.FINISHED: "已办结，等市民评价",
    Standing.WAITING: "等值班人员处理",
    Standing.IN_FLIGHT: "流转中",
    Standing.BLOCKED: "受阻（有死信）",
    Standing.FAULTY: "有缺失或重复",
}
_QUEUES = {
    "triage": "等分诊服务处理",
    "notify": "等通知服务处理",
    "delivery": "正在投递",
    "recall": "正在撤回交办",
    "group": "等所在组的牵头件",
    "citizen": "等市民评价",
    "": "未说明",
}
_KINDS = {
    FindingKind.GAP: "事件缺号",
    FindingKind.UNSEEN_CAUSE: "起因不见",
    FindingKind.UNSEEN_DOCUMENT: "交办或分组不见",
    FindingKind.NOT_LOGGED: "已受理但不在日志",
    FindingKind.STORE_AHEAD: "数据库多于日志",
    FindingKind.STORE_BEHIND: "数据库少于日志",
    FindingKind.UNANSWERED: "已处理却无结果",
    FindingKind.UNANSWERED_REPLY: "部门回复无结果",
    FindingKind.STRANDED: "无人负责",
    FindingKind.NOT_ENDED: "已了结而交办未收",
    FindingKind.NOT_IN_FEED: "部门主题缺少",
    FindingKind.UNKNOWN_IN_FEED: "部门主题多出",
    FindingKind.UNREADABLE: "记录不合约定",
    FindingKind.UNERASED: "个人信息未清除",
    FindingKind.TWO_CONTENTS: "同号两种内容",
    FindingKind.TWO_OF_ONE_SEQ: "同位两个事件",
    FindingKind.DECIDED_TWICE: "同一件事决定两次",
    FindingKind.TOLD_TWICE: "重复告知",
    FindingKind.TWO_LEADS: "两个主办",
    FindingKind.ORDERED_TWICE: "重复交办",
}


class AuditDisplay:
    """A bar on the error stream while an audit goes on."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("核对", total=None)

    def __enter__(self) -> AuditDisplay:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, progress: AuditProgress) -> None:
        """Show how far the audit is."""
        words = _STAGES.get(progress.stage, progress.stage)
        self._progress.update(
            self._task, description=words, completed=progress.done, total=progress.total or 1
        )


def print_audit(audit: Audit, *, with_cases: bool = False, console: Console | None = None) -> None:
    """Print the summary of an audit in Chinese."""
    console = console or Console()
    table = Table(title="逐件核对", title_justify="left")
    table.add_column("办件现在")
    table.add_column("件数", justify="right")
    for standing, words in _STANDINGS.items():
        count = audit.count(standing)
        if count or standing is Standing.CLOSED:
            table.add_row(words, f"{count:,}")
    table.add_section()
    table.add_row("受理合计", f"{audit.accepted:,}")
    console.print(table)
    _print_queues(console, "等值班人员处理", audit.waiting, with_cases)
    _print_queues(console, "流转中", audit.in_flight, with_cases)
    for title, findings in (("缺失", audit.missing), ("重复", audit.double)):
        _print_findings(console, title, findings)
    for letter in audit.dead_letters[:_MOST_SHOWN]:
        about = spoken(letter.case_no) if letter.case_no else "—"
        where = f"{letter.service}  {letter.origin}  {about}  {letter.reason}"
        console.print(f"[red]死信[/]  {where}", highlight=False)
    console.print(
        f"缺失 {len(audit.missing)}    重复 {len(audit.double)}    死信 {len(audit.dead_letters)}"
        f"    受阻 {len(audit.blocked)}    停放 {len(audit.parked)}"
        f"    未答复的后续请求 {len(audit.open_wishes)}    逾期 {len(audit.overdue)}"
    )
    if audit.erasing:
        console.print(f"正在清除个人信息 {len(audit.erasing)} 件")
    stores = "日志与数据库" if audit.stores_were_read else "仅日志（未给出数据库地址）"
    console.print(f"核对了{stores}，事件 {audit.events:,} 个，用时 {audit.took_seconds:.1f} 秒")
    verdict = "[green]无缺失、无重复、无死信[/]" if audit.is_clean else "[red]核对未通过[/]"
    console.print(f"结论：{verdict}")


def _print_queues(
    console: Console, title: str, queues: Mapping[str, tuple[str, ...]], with_cases: bool
) -> None:
    for queue, case_nos in queues.items():
        console.print(f"{title} · {queue_name(queue)}：{len(case_nos):,} 件", highlight=False)
        if with_cases:
            for case_no in case_nos:
                console.print(f"    {spoken(case_no)}", highlight=False)


def queue_name(queue: str) -> str:
    """Return what a queue is called for people."""
    if queue.startswith("department:"):
        return f"等承办单位 {queue.removeprefix('department:')}"
    return QUEUE_NAMES.get(queue) or _QUEUES.get(queue, queue)


def _print_findings(console: Console, title: str, findings: Iterable[Finding]) -> None:
    for number, one in enumerate(findings):
        if number == _MOST_SHOWN:
            console.print(f"[red]{title}[/]  ……（其余见 --json）")
            return
        about = spoken(one.case_no) if one.case_no else "—"
        console.print(f"[red]{title}[/]  {_KINDS[one.kind]}  {about}  {one.what}", highlight=False)


def print_story(case_no: str, events: list[Event], console: Console | None = None) -> None:
    """Print the events of one case in the order of its timeline: no content, nothing personal."""
    console = console or Console()
    state = state_of(case_no, events)
    status = STATUS_NAMES.get(state.status, state.status)
    table = Table(title=f"办件 {spoken(case_no)} · {status}", title_justify="left")
    for heading in ("lc", "时间（UTC）", "轮", "事件", "文档", "序号", "起因"):
        table.add_column(
            heading, no_wrap=True, overflow="ellipsis" if heading == "起因" else "fold"
        )
    for event in state.timeline:
        data = event.data
        document = "办件" if data.document_id == case_no else data.document_id[:8]
        table.add_row(
            str(data.lc),
            f"{data.recorded_at:%m-%d %H:%M:%S}",
            str(data.round),
            event.type + (f" rev {data.rev}" if data.rev else ""),
            document,
            str(data.seq or "—"),
            shown_cause(data.caused_by),
        )
    console.print(table)
    for said in (*state.incomplete, *state.double):
        console.print(f"[red]{said}[/]", highlight=False)


def shown_cause(caused_by: str) -> str:
    """Return a cause for people. What clients name themselves may hold anything, a telephone
    number too, so only its digest is shown."""
    kind, _, what = caused_by.partition(":")
    if kind not in ("command", "reply"):
        return caused_by
    department, has_department, _ = what.partition("/")
    digest = sha256(what.encode()).hexdigest()[:8]
    return f"{kind}:{department}/{digest}" if has_department else f"{kind}:{digest}"
