"""Run chaos: `python -m tests.chaos [--short] [--minutes N] [--rate N] [--seed N] [--only FAULT…]`.

Exit code 0 only if nothing was lost, double, early, miscounted or refused without need. A full
run with all faults writes its tables into docs/reliability.md.
"""

import argparse
import asyncio
import logging
import shutil
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import structlog
import uvloop
from rich.console import Console

from tests.chaos import report
from tests.chaos.plan import Fault, Options
from tests.chaos.run import Result, run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reliability.md"
_SHORT_RATE = 8.0


def _options(arguments: argparse.Namespace) -> Options:
    only = tuple(Fault(name) for name in arguments.only)
    if arguments.short:
        options = Options.short(arguments.rate or _SHORT_RATE, arguments.seed, only)
    else:
        options = Options(seed=arguments.seed, only=only)
        options = replace(options, rate=arguments.rate or options.rate)
    if arguments.minutes is not None:
        options = replace(options, least_s=arguments.minutes * 60)
    if arguments.kills is not None:
        options = replace(options, kills=arguments.kills)
    if arguments.nodes is not None:
        options = replace(options, nodes=arguments.nodes)
    return options


def _parsed(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--short", action="store_true", help="each process once, small load")
    parser.add_argument("--minutes", type=float, help="least duration of the load (10)")
    parser.add_argument("--rate", type=float, help="requests a second (50; short: 8)")
    parser.add_argument("--seed", type=int, default=1, help="order and moments of the faults")
    parser.add_argument("--kills", type=int, help="kills of each service (10; short: 1)")
    parser.add_argument("--nodes", type=int, choices=(1, 3), help="Kafka brokers (3; short: 1)")
    parser.add_argument("--only", nargs="+", default=[], choices=[*Fault], metavar="FAULT")
    parser.add_argument("--folder", type=Path, help="where to work (a new temporary folder)")
    return parser.parse_args(arguments)


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def main(arguments: list[str]) -> int:
    """See the module's docstring."""
    parsed = _parsed(arguments)
    options = _options(parsed)
    console = Console()
    root = parsed.folder or Path(tempfile.mkdtemp(prefix="jieyou-chaos-"))
    root.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, _leave)
    logging.basicConfig(filename=root / "harness.log", level=logging.WARNING)
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
        logger_factory=structlog.WriteLoggerFactory((root / "people.log").open("w")),
    )
    console.print(f"journals, logs and results: {root}", highlight=False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(run(options, root, lambda line: console.print(line, highlight=False)))
    report.show(result, console)
    report.write_json(result, root / "results.json")
    if _is_full(result):
        report.write_page(result, PAGE)
    if result.is_good:
        shutil.rmtree(root / "data", ignore_errors=True)
    return 0 if result.is_good else 1


def _is_full(result: Result) -> bool:
    options = result.options
    return not options.only and options.least_s >= 600 and options.kills >= 10


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
