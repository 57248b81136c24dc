"""Old offsets in the new log.

Compaction and retention have left gaps in the old log; the new one has none. So an offset at which
a group went on, or from which a dead letter came, is another one there.
"""

from collections.abc import Iterable


class Offsets:
    """The offsets of one partition that are asked for, translated while its records are written.

    `base`: the offset that the first record gets. Tell each record that is written, in order.
    """

    def __init__(self, wanted: Iterable[int], base: int = 0) -> None:
        self._wanted = sorted(set(wanted), reverse=True)
        self._next = base
        self._new: dict[int, int] = {}
        self._written: set[int] = set()

    @property
    def next(self) -> int:
        """The offset that the next record gets."""
        return self._next

    def take(self, old: int) -> None:
        """The record of this old offset is written."""
        while self._wanted and self._wanted[-1] <= old:
            if self._wanted[-1] == old:
                self._written.add(old)
            self._new[self._wanted.pop()] = self._next
        self._next += 1

    def new(self, old: int) -> int:
        """Return the new place of an old offset, when all is written: before it stands exactly
        what stood before it in the old log."""
        return self._new.get(old, self._next)

    def new_of_record(self, old: int) -> int | None:
        """Return where the record of an old offset stands now; None if it was not written."""
        return self._new[old] if old in self._written else None
