"""How far a long measuring or training is, on the error stream and only to a person."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.status import Status

_WORDS = {
    "deciding": "判断",
    "embedding": "计算语义向量",
    "searching": "检索",
    "fitting": "用全部文本训练",
    "folds": "交叉验证",
    "red": "寻找红色的分界",
    "existing": "检验原有模型",
}


class Progress:
    """A line that changes in place on a terminal; nothing is written anywhere else."""

    def __init__(self) -> None:
        self._status: Status | None = None

    def __enter__(self) -> Self:
        if sys.stderr.isatty():
            from rich.console import Console

            self._status = Console(stderr=True).status("准备")
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """Say that `done` of `total` steps of `what` are behind."""
        if self._status is not None:
            self._status.update(f"{_WORDS.get(what, what)} {done:,}/{total:,}")
