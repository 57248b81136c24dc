"""Measure everything and write docs/benchmarks.md: `python -m tests.bench [--quick]`."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from tests.bench import bare, latency, lifecycles
from tests.bench.platform import platform

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
console = Console()


async def _run(quick: bool) -> str:
    total, seconds = (1_000, 15.0) if quick else (5_000, 60.0)
    with platform() as running:
        console.print("platform is up; warming up")
        await lifecycles.measure(running, 200)
        console.print("latency, open loop")
        slow = await latency.measure(running, 20, seconds)
        fast = await latency.measure(running, 100, seconds / 2)
        console.print(slow, fast)
        console.print("bare stage")
        stage = await bare.measure(running, total * 4)
        console.print(f"{stage:.0f} records a second")
        console.print("whole lifecycles")
        lives = await lifecycles.measure(running, total)
        console.print(lives, f"{lives.per_second:.0f} a second")
    return _document(quick, slow, fast, stage, lives)


def _document(
    quick: bool,
    slow: latency.Latency,
    fast: latency.Latency,
    stage: float,
    lives: lifecycles.Measured,
) -> str:
    ratio = stage / max(0.01, lives.per_second)
    rows = {
        f"accept → department feed, open loop, 20 a second ({slow.sent} requests)": _said(slow),
        f"the same at 100 a second ({fast.sent} requests)": _said(fast),
        f"whole lifecycles through the topics ({lives.closed} of {lives.lifecycles} closed)": (
            f"**{lives.per_second:.0f} a second**"
        ),
        "records on `triage.v1` a lifecycle": f"{lives.records / max(1, lives.closed):.1f}",
        "one bare stage: consume, insert_many, produce": f"{stage:.0f} records a second",
        "ratio: lifecycles a second to records a second of one bare stage": f"1 : {ratio:.0f}",
    }
    table = "\n".join(f"| {what} | {figure} |" for what, figure in rows.items())
    return _TEXT.format(day=datetime.now(UTC), quick=" (quick)" if quick else "", table=table)


def _said(measured: latency.Latency) -> str:
    return (
        f"p50 {measured.p50_ms:.0f} ms, p99 {measured.p99_ms:.0f} ms, "
        f"longest {measured.longest_ms:.0f} ms, {measured.sent - measured.arrived} not arrived"
    )


_TEXT = """# Benchmarks
Written by `make bench`, on a machine with 2 cores that everything shares: Kafka, the store, the four services and the drivers. Machines differ and are noisy: the ratio to the bare stage, from the same run, says more than any figure alone.

Run of {day:%Y-%m-%d}{quick}.

| what | figure |
|---|---|
{table}
"""  # noqa: E501


def main() -> int:
    """Measure, write, and say where."""
    text = asyncio.run(_run("--quick" in sys.argv))
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(text, encoding="utf-8")
    console.print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
