"""The guides as tests read them: marked tables, names in code marks, calls, curl lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
GUIDES = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "docs/guides").glob("*")}


def documents() -> Iterator[tuple[Path, str]]:
    """Yield every document of the repository's root and of `docs/`."""
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")):
        yield path, path.read_text(encoding="utf-8")


def table(mark: str) -> list[list[str]]:
    """Return the rows of the table under `<!-- checked: mark -->`, without its heading."""
    line = f"<!-- checked: {mark} -->\n"
    text = next(one for one in GUIDES.values() if line in one)
    rows = text.split(line, 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]


def names(cell: str) -> list[str]:
    """Return the names that a cell holds in code marks."""
    return re.findall(r"`([\w-]+)`", cell)


def first_cells(mark: str) -> set[str]:
    """Return all names in the first column of a table."""
    return {name for row in table(mark) for name in names(row[0])}


def calls_named(text: str) -> set[tuple[str, str]]:
    """Return method and path of every call that a text names; paths alone with an empty method."""
    with_method = set(re.findall(r"`(GET|POST|PUT) (/[\w{}/$…-]+)", text))
    return with_method | {("", path) for path in re.findall(r"(?<!\w)(/v1/[\w{}/$…-]+)", text)}


def curls(text: str) -> Iterator[str]:
    """Yield the curl commands of a text, each in one line."""
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("curl "):
                yield line


def fits(written: str, path: str) -> bool:
    """Whether a path in a guide is a route's. `…` stands for whatever comes there; a placeholder
    (`{case_no}`, `$CASE_NO`) or an example of a case number for a parameter."""
    given, wanted = written.strip("/").split("/"), path.strip("/").split("/")
    if given[-1] == "…":
        given, wanted = given[:-1], wanted[: len(given) - 1]
    return len(given) == len(wanted) and all(
        _is_placeholder(have) if want.startswith("{") else have == want
        for have, want in zip(given, wanted, strict=True)
    )


def _is_placeholder(part: str) -> bool:
    return part.startswith(("{", "$")) or bool(re.fullmatch(r"[0-9A-Z-]{13,16}", part))
