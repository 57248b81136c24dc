"""How a request or a later word is accepted: recorded, then acknowledged by the log.

Either of bus and store can be away. Without the bus the record waits in the spool; without the
store the log alone has it, and triage says which of two bodies under one key counts.
"""

from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Protocol

import structlog

from contracts.envelope import Event
from services.chassis.bus import BusUnavailable
from services.chassis.clock import Clock
from services.chassis.crash_points import crash_point
from services.chassis.http import Problem, Unavailable
from services.chassis.store import AlreadyThere, StoreUnavailable
from services.intake import metrics
from services.intake.erasing import may_say
from services.intake.ledger import Breaker, Ledger
from services.intake.store import Kept

RETRY_AFTER_SECONDS = 5

log = structlog.get_logger()
Publish = Callable[[Sequence[Event]], Awaitable[None]]
"""Returns when the bus has acknowledged all events; raises BusUnavailable."""


class KeepsRecords(Protocol):
    """What remembers idempotency keys (`store.Records`)."""

    async def add(self, record: Kept, run: str, seq: int) -> None:
        """Insert a record. Raises AlreadyThere and StoreUnavailable."""
        ...

    async def find(self, ids: Iterable[str]) -> list[Kept]:
        """Read records. Raises StoreUnavailable."""
        ...


class Way(StrEnum):
    """What has taken an event, and so how safe and how fast it is."""

    BUS = "bus"
    SPOOL = "spool"
    BUS_ALONE = "bus_alone"
    REPEAT = "repeat"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The event as it stands, which for a repeated key is the first one."""

    event: Event
    way: Way


@dataclass(slots=True)
class Ports:
    """What accepting needs. `elsewhere` is how many records wait in other processes' spools.
    `publish` lets nothing personal of an erased case through."""

    records: KeepsRecords
    publish: Publish
    ledger: Ledger
    bus: Breaker
    store: Breaker
    clock: Clock
    spool_limit: int
    spool_limit_seconds: float = 3_600.0
    erased: Container[str] = frozenset()
    elsewhere: int = 0
    is_registered: bool = False

    @property
    def spooled(self) -> int:
        """How many records wait, here and in other processes."""
        return self.ledger.waiting + self.elsewhere

    @property
    def spool_is_full(self) -> bool:
        """Whether no more records may wait: there are too many, or one waits too long already for
        a promise that each is seen to."""
        return (
            self.spooled >= self.spool_limit
            or self.ledger.oldest_seconds > self.spool_limit_seconds
        )

    @property
    def spool_note(self) -> str | None:
        """What waits in the spool, for readiness; None for nothing."""
        if not self.spooled:
            return None
        seconds = self.ledger.oldest_seconds
        limit = self.spool_limit
        return f"{self.spooled} of {limit} records wait for the bus, up to {seconds:.0f} s"


class KeyReused(Problem):
    """The idempotency key stands for another body already."""

    status: ClassVar[int] = 422
    slug: ClassVar[str] = "key-reused"
    title: ClassVar[str] = "这个 Idempotency-Key 已用于另一份内容"


class Gone(Problem):
    """The case is erased; nothing is said about it any more."""

    status: ClassVar[int] = 410
    slug: ClassVar[str] = "erased"
    title: ClassVar[str] = "这份求助的个人信息已清除"


def nothing_takes_it() -> Unavailable:
    """Neither bus nor store can take it now."""
    return Unavailable(
        RETRY_AFTER_SECONDS,
        "暂时无法受理，请用同一个 Idempotency-Key 稍后重试。情况紧急请直接拨打110、119或120。",
    )


async def accept(record: Kept, ports: Ports) -> Accepted:
    """Take a record in; returning means that it will not be lost.

    Of an erased case a repetition is answered as before, and nothing new is taken in but the wish
    to erase it. Raises KeyReused, Gone, and Unavailable when nothing can take it or the spool is
    full.
    """
    if record.event.data.case_no in ports.erased and not may_say(record.event):
        return await _repeated(record, ports, Gone("需要帮助请换一个新的键，另行提交求助。"))
    if not ports.bus.is_closed and ports.spool_is_full:
        raise nothing_takes_it()
    ledger, seq = ports.ledger, ports.ledger.begin()
    may_stand_unpublished = True
    try:
        crash_point("intake.numbered")
        recorded = await _recorded(record, seq, ports)
        may_stand_unpublished = recorded is not False
        crash_point("intake.stored")
        if await _published(record.event, ports):
            may_stand_unpublished = False
            crash_point("intake.published")
            return Accepted(record.event, Way.BUS if recorded else Way.BUS_ALONE)
    except AlreadyThere:
        may_stand_unpublished = False
        return await _repeated(record, ports, nothing_takes_it())
    finally:
        # Also when the call was cancelled: what may stand in the store is looked for later.
        if may_stand_unpublished:
            ledger.wait(seq, record.id)
        else:
            ledger.done(seq)
    if not recorded:
        raise nothing_takes_it()
    crash_point("intake.spooled")
    return Accepted(record.event, Way.SPOOL)


async def _recorded(record: Kept, seq: int, ports: Ports) -> bool | None:
    """Insert a record; False if that was not tried, None if its outcome is unknown."""
    if not (ports.is_registered and ports.store.allows()):
        return False
    try:
        await ports.records.add(record, ports.ledger.run, seq)
    except StoreUnavailable as error:
        ports.store.failed()
        log.warning("record not written", case_no=record.event.data.case_no, reason=str(error))
        return None
    except AlreadyThere:
        ports.store.succeeded()
        raise
    ports.store.succeeded()
    return True


async def _published(event: Event, ports: Ports) -> bool:
    if not ports.bus.allows():
        return False
    try:
        await ports.publish([event])
    except BusUnavailable:
        ports.bus.failed()
        return False
    ports.bus.succeeded()
    return True


async def _repeated(record: Kept, ports: Ports, unknown: Problem) -> Accepted:
    """Publish the stored bytes once more: whoever recorded them may have died before it could.
    Raises `unknown` if the key has no record.

    If the bus does not answer that is no matter, the record waits in somebody's spool or is on the
    bus already.
    """
    try:
        stored = await ports.records.find([record.id])
    except StoreUnavailable:
        raise nothing_takes_it() from None
    if not stored:
        raise unknown
    if stored[0].digest != record.digest:
        raise KeyReused("重发同一请求时内容须一字不差；新的内容请换一个新的键。")
    crash_point("intake.repeated")
    await _published(stored[0].event, ports)
    return Accepted(stored[0].event, Way.REPEAT)


def tell(accepted: Accepted, danger: str | None, channel: str | None) -> dict[str, str]:
    """Count what was accepted, with the cause of danger that it shows; return what a log line may
    tell of it. Danger that only the spool knows of raises the alarm."""
    event, way = accepted.event, accepted.way
    metrics.ACCEPTED.labels(event.type, way.value).inc()
    fields = {"case_no": event.data.case_no, "event_id": event.id, "kind": event.type}
    if danger is not None and way is not Way.REPEAT:
        metrics.DANGER.labels(danger).inc()
        if way is Way.SPOOL:
            metrics.SPOOLED_DANGER.inc()
            log.critical("danger waits in the spool", alarm=True, reason=danger, **fields)
    return {**fields, "channel": channel or "citizen", "reason": way.value}
