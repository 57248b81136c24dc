"""Dead letters for people, in Chinese."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from contracts.dead_letters import ALARM_AFTER, KEPT
from contracts.ids import spoken
from deploy.dead_letters.ledger import Act, Entry, State
from deploy.dead_letters.repair import Line, Outcome, Result

_LEAST_WIDTH = 140
_STATES = {
    State.OPEN: "待处理",
    State.RETRIED: "已重发，等待处理",
    State.HANDLED: "重发后已处理",
    State.FAILED_AGAIN: "重发后再次失败",
    State.DISCARDED: "已弃置",
}
_EXPIRED = "已过期（14 天后由主题删除）"
_RESULTS = {
    Result.HANDLED: "[green]已处理[/]",
    Result.FAILED_AGAIN: "[red]再次失败[/]",
    Result.PENDING: "[yellow]已重发，服务尚未处理到[/]",
    Result.REFUSED: "[red]未重发[/]",
    Result.LEFT: "[yellow]未重发：同一分区前面的仍有问题[/]",
}
_SHOWN_HEADERS = ("ce_", "content-type", "traceparent")


def state_of(line: Line) -> str:
    """Return a letter's state; `expired` when the topic has dropped it and nothing was done."""
    if line.aside is None and not line.entry.state.is_settled:
        return "expired"
    return line.entry.state.value


def is_old(line: Line, now: datetime) -> bool:
    """Whether nobody has seen to an open letter for too long."""
    at = line.entry.put_aside_at
    return line.is_open and at is not None and now - at >= ALARM_AFTER


def rows(lines: Iterable[Line], now: datetime) -> list[dict[str, Any]]:
    """Return the letters for machines; nothing personal is in them."""
    return [
        {
            **line.entry.model_dump(mode="json", exclude={"version"}),
            "state": state_of(line),
            "is_open": line.is_open,
            "is_old": is_old(line, now),
            "error_class": letter.error_class if letter else None,
            "stack_digest": letter.stack_digest if letter else None,
        }
        for line in lines
        for letter in (line.aside.letter if line.aside else None,)
    ]


def console() -> Console:
    """Return a console that does not cut what is piped to a file."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=max(plain.width, _LEAST_WIDTH))


def print_letters(lines: Sequence[Line], now: datetime, to: Console) -> None:
    """Print a table, and an alarm for what grows old."""
    table = Table()
    table.add_column("编号", no_wrap=True)
    for heading in ("原因", "办件", "时间（UTC）", "状态"):
        table.add_column(heading, overflow="fold")
    for line in lines:
        entry = line.entry
        at = f"{entry.put_aside_at:%m-%d %H:%M}" if entry.put_aside_at else "—"
        old = f" [red]已 {(now - entry.put_aside_at).days} 天[/]" if is_old(line, now) else ""  # type: ignore[operator]
        about = spoken(entry.case_no) if entry.case_no else "—"
        table.add_row(entry.id, entry.reason, about, f"{at}{old}", _state_words(line))
    to.print(table)
    still = sum(line.is_open for line in lines)
    to.print(f"待处理 {still} 封，共列出 {len(lines)} 封")
    if old_lines := [line for line in lines if is_old(line, now)]:
        to.print(
            f"[red]告警[/]  {len(old_lines)} 封已超过 {ALARM_AFTER.days} 天无人处理；"
            f"满 {KEPT.days} 天主题会删除死信连同原记录"
        )


def _state_words(line: Line) -> str:
    entry = line.entry
    if state_of(line) == "expired":
        return _EXPIRED
    words = [_STATES[entry.state]]
    if entry.retries and entry.state is State.OPEN:
        words.append(f"已重发 {entry.retries} 次")
    act = entry.settled or entry.retried
    if act is not None:
        words.append(_act_words(act))
    if entry.successor:
        words.append(f"见 {entry.successor}")
    return "；".join(words)


def _act_words(act: Act) -> str:
    why = f"（{act.why}）" if act.why else ""
    return f"{act.by} {act.at:%m-%d %H:%M}{why}"


def print_letter(line: Line, now: datetime, to: Console) -> None:
    """Print all that is known of a letter but its record."""
    entry, letter = line.entry, line.aside.letter if line.aside else None
    table = Table(show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("编号", entry.id)
    table.add_row("服务", entry.service)
    table.add_row("原因", entry.reason)
    table.add_row("状态", _state_words(line))
    table.add_row("办件", spoken(entry.case_no) if entry.case_no else "—")
    if entry.origin is not None:
        origin = entry.origin
        written = datetime.fromtimestamp(origin.timestamp_ms / 1_000, UTC)
        table.add_row(
            "主题 / 分区 / 位置", f"{origin.topic} / {origin.partition} / {origin.offset}"
        )
        table.add_row("原记录时间（UTC）", f"{written:%Y-%m-%d %H:%M:%S}")
    if entry.put_aside_at is not None:
        age = timedelta(seconds=int((now - entry.put_aside_at).total_seconds()))
        table.add_row("搁置时间（UTC）", f"{entry.put_aside_at:%Y-%m-%d %H:%M:%S}（{age} 前）")
    if letter is not None:
        table.add_row("错误", letter.error_class or "—")
        table.add_row("调用栈摘要", letter.stack_digest or "—")
        size = letter.payload_bytes
        table.add_row("内容", "空（墓碑）" if size is None else f"{size:,} 字节")
        table.add_row("内容 sha256", letter.payload_sha256 or "—")
        shown = {n: t for n, t in letter.headers.items() if n.startswith(_SHOWN_HEADERS)}
        for name, text in shown.items():
            table.add_row(f"头 {name}", text)
        if hidden := len(letter.headers) - len(shown):
            table.add_row("其他头", f"{hidden} 个，随 --payload 显示")
    to.print(table, markup=False)


def print_outcomes(outcomes: Sequence[Outcome], to: Console) -> None:
    """Print what a retry came to, one line a letter, and the sums."""
    for one in sorted(outcomes, key=lambda o: o.entry.id):
        successor = f"，新死信 {one.entry.successor}" if one.entry.successor else ""
        why = f"：{one.why}" if one.why else ""
        to.print(f"{one.entry.id}  {_RESULTS[one.result]}{why}{successor}", highlight=False)
    counts = {result: sum(o.result is result for o in outcomes) for result in Result}
    to.print(
        f"共 {len(outcomes)} 封：已处理 {counts[Result.HANDLED]}，"
        f"再次失败 {counts[Result.FAILED_AGAIN]}，等待处理 {counts[Result.PENDING]}，"
        f"未重发 {counts[Result.REFUSED] + counts[Result.LEFT]}"
    )


def print_discarded(entries: Sequence[Entry], to: Console) -> None:
    """Print what was given up, and what that means for cases."""
    for entry in entries:
        to.print(f"已弃置 {entry.id}", highlight=False)
    case_nos = sorted({entry.case_no for entry in entries if entry.case_no})
    for case_no in case_nos:
        to.print(f"    办件 {spoken(case_no)} 缺这一步，请用 jieyou audit --case {case_no} 核对")
