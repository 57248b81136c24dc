"""What a rebuild is going to do, how far it is, and what it came to."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from deploy.local.errors import PlatformError
from services.reporting.generations import Generation
from services.reporting.recount import Difference


class RebuildError(PlatformError):
    """The figures cannot be rebuilt, or not now; the message is one line. The old ones stay."""


class Stage(StrEnum):
    """What a rebuild is doing."""

    READING = "reading"
    COMPARING = "comparing"
    RECOUNTING = "recounting"
    TURNING = "turning"


@dataclass(frozen=True, slots=True)
class Step:
    """How far a stage is: offsets, partition numbers or cases, and the records read so far."""

    stage: Stage
    done: int
    total: int
    records: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be read, and where it would be built.

    `records` by topic, as offsets: compaction may have left fewer. `read_before`: what a run that
    died has read of it. `is_turned`: such a run has finished but for the dropping.
    """

    live: Generation
    new: Generation
    records: Mapping[str, int]
    read_before: int
    is_turned: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a rebuild came to.

    `differences` between the old figures (`counted`) and the new (`recounted`); `compared` says of
    how many partition numbers that could be said, 0 where the old generation is of another log or
    has read nothing. `undropped`: generations that somebody still reads. `had_turned`: an earlier
    run had done all but the dropping.
    """

    old: Generation
    new: Generation
    records: int = 0
    seconds: float = 0.0
    cases: int = 0
    put_aside: int = 0
    compared: int = 0
    differences: tuple[Difference, ...] = ()
    processes: int = 0
    dropped: tuple[Generation, ...] = ()
    undropped: tuple[Generation, ...] = ()
    had_turned: bool = False
