"""The result of a run for people and machines: tables, JSON, and the page of the documentation."""

import statistics
from collections import defaultdict
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from tests.chaos.faults import Struck
from tests.chaos.run import Result

_MOST_SHOWN = 12
_BEGIN, _END = "<!-- chaos: begin -->", "<!-- chaos: end -->"


def faults_of(result: Result) -> list[tuple[str, int, float | None, float | None, str]]:
    """A row for each kind of fault: name, how often, median and longest recovery, remark."""
    by_name: dict[str, list[Struck]] = defaultdict(list)
    for one in result.struck:
        by_name[one.fault].append(one)
    rows = []
    for name, own in sorted(by_name.items()):
        done = [one for one in own if one.is_done]
        times = [one.recovery_s for one in done if one.recovery_s is not None]
        notes = sorted({one.note for one in own if one.note})
        if len(times) < len(done):
            notes.append(f"{len(done) - len(times)} not recovered")
        median = statistics.median(times) if times else None
        rows.append((name, len(done), median, max(times, default=None), "; ".join(notes)))
    return rows


def counts_of(result: Result) -> list[tuple[str, str]]:
    """The counts of a run, each with its name."""
    found, answers = result.found, result.answers
    queues = ", ".join(f"{queue} {count}" for queue, count in sorted(found.waiting.items()))
    waiting = sum(found.waiting.values())
    kills = [one for one in result.struck if one.fault.startswith("kill") and one.is_done]
    times = [one.recovery_s for one in kills if one.recovery_s is not None]
    statuses = ", ".join(f"{status} × {n:,}" for status, n in sorted(answers.by_status.items()))
    median = f"{statistics.median(times):.1f} s" if times else "—"
    poison = f"{found.poison_written:,} / {found.poison_put_aside:,}"
    took = f"{answers.p50_s * 1_000:.0f} ms / {answers.p99_s:.2f} s / {answers.slowest_s:.1f} s"
    return [
        ("load", f"{result.options.rate:g} a second for {result.load_s:.0f} s, open loop"),
        ("requests asked / accepted", f"{found.asked:,} / {found.accepted:,}"),
        ("completed (told or closed)", f"{found.completed:,}"),
        ("waiting for a person", f"{waiting:,} ({queues})" if waiting else "0"),
        ("lost", f"{len(found.lost):,}"),
        ("double in effect", f"{len(found.doubled):,}"),
        ("deadlines fired too early", f"{len(found.early):,}"),
        ("figures that differ from the recount", f"{len(found.figures):,}"),
        ("events on the log", f"{found.events:,}"),
        ("poison records written / put aside", poison),
        ("good records put aside", f"{len(found.wrongly_put_aside):,}"),
        ("`jieyou audit`: findings beside the poison", f"{len(result.audit_faults):,}"),
        ("answers of intake", statuses),
        ("5xx while broker or store was up", f"{len(answers.unexcused):,}"),
        ("time to answer p50 / p99 / longest", took),
        ("recovery after a kill, median of all", median),
        ("until the backlog was worked off", f"{result.drain_s:.0f} s"),
    ]


def show(result: Result, console: Console) -> None:
    """Print the tables, and what was found wrong."""
    faults = Table(title="Faults", title_justify="left")
    for heading in ("fault", "times", "median", "longest", ""):
        faults.add_column(heading)
    for name, times, median, longest, note in faults_of(result):
        faults.add_row(name, str(times), _seconds(median), _seconds(longest), note)
    console.print(faults)
    counts = Table(title="Counts", title_justify="left", show_header=False)
    for name, value in counts_of(result):
        counts.add_row(name, value)
    console.print(counts)
    for what, lines in _wrong(result).items():
        for line in lines[:_MOST_SHOWN]:
            console.print(f"[red]{what}[/] {line}", highlight=False)
        if len(lines) > _MOST_SHOWN:
            console.print(f"[red]{what}[/] … {len(lines) - _MOST_SHOWN:,} more", highlight=False)
    console.print("[green]good[/]" if result.is_good else "[red]NOT GOOD[/]")


def _wrong(result: Result) -> dict[str, list[str]]:
    found = result.found
    return {
        "lost": found.lost,
        "double": found.doubled,
        "early": found.early,
        "figures": found.figures,
        "put aside": found.wrongly_put_aside,
        "audit": result.audit_faults,
        "5xx": result.answers.unexcused,
    }


def write_json(result: Result, path: Path) -> None:
    """Write everything that was found."""
    document: dict[str, Any] = {
        "is_good": result.is_good,
        "options": asdict(result.options),
        "counts": dict(counts_of(result)),
        "faults": [{**asdict(one), "recovery_s": one.recovery_s} for one in result.struck],
        "totals": result.found.totals,
        "answers_to_people": {f"{who} {what}": n for (who, what), n in result.people.items()},
        "wrong": _wrong(result),
    }
    path.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS))


def write_page(result: Result, page: Path) -> None:
    """Put the tables between the marks of the documentation's page."""
    text = page.read_text(encoding="utf-8")
    before, _, rest = text.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    page.write_text(f"{before}{_BEGIN}\n{markdown(result)}\n{_END}{after}", encoding="utf-8")


def markdown(result: Result) -> str:
    """The tables of a run."""
    faults = "\n".join(
        f"| {name} | {times} | {_seconds(median)} | {_seconds(longest)} | {note} |"
        for name, times, median, longest, note in faults_of(result)
    )
    counts = "\n".join(f"| {name} | {value} |" for name, value in counts_of(result))
    options = result.options
    day = datetime.now(UTC)
    return (
        f"Run of {day:%Y-%m-%d}: {options.nodes} brokers, seed {options.seed}; "
        f"{'good' if result.is_good else 'NOT GOOD'}.\n\n"
        f"| fault | times | recovery, median | longest | |\n|---|---|---|---|---|\n{faults}\n\n"
        f"| count | |\n|---|---|\n{counts}"
    )


def _seconds(value: float | None) -> str:
    return "—" if value is None else f"{value:.1f} s"
