"""What export and import share: progress bars on the error stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from deploy.log_archive.exporting import Progress


class ShownProgress:
    """A bar for each stage, with the time that it still takes. Use it as a context."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars

        self._bars = Bars(
            TextColumn("{task.fields[stage]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=Console(stderr=True),
            transient=True,
        )

    def __enter__(self) -> ShownProgress:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def stage(self, name: str) -> Callable[[Progress], None]:
        """Return what shows one stage; its bar appears with the first call."""
        tasks: list[object] = []

        def show(progress: Progress) -> None:
            if not tasks:
                tasks.append(self._bars.add_task("", stage=name))
            task = tasks[0]
            self._bars.update(
                task,  # type: ignore[arg-type]
                completed=progress.done,
                total=progress.total,
                description=progress.what,
            )

        return show
