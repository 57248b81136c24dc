"""Keep the logs of child processes within bounds."""

from __future__ import annotations

import shutil
from pathlib import Path

LARGEST_BYTES = 16 * 1024 * 1024
_KEPT = 2


def bound(path: Path, largest_bytes: int = LARGEST_BYTES) -> None:
    """Move a log that has grown too large to `.1` (that to `.2`, that away) and empty it.

    The process keeps its open file and goes on at the start of it, since it appends. What it
    writes between the copy and the emptying is lost: logs tell, they do not count.
    """
    if not path.is_file() or path.stat().st_size <= largest_bytes:
        return
    older = [path.with_name(f"{path.name}.{number}") for number in range(1, _KEPT + 1)]
    for newer, next_older in zip(reversed(older[:-1]), reversed(older[1:]), strict=True):
        if newer.exists():
            newer.replace(next_older)
    shutil.copyfile(path, older[0])
    with path.open("r+b") as log:
        log.truncate(0)


def last_line(path: Path) -> str:
    """The last line that is not empty, cut to 200 characters; empty when there is none."""
    try:
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - 4096))
            lines = log.read().decode("utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return ""
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "")
