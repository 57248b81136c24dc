"""The faults: each is done to the stage, then waited out until the platform works again.

Recovered means both: the process is ready again, and something new got through that needs it.
"""

import asyncio
import time
from dataclasses import asdict, dataclass
from functools import partial

import httpx
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from contracts.topics import HANDLING, TRIAGE
from deploy.local.state import Identity
from tests.chaos import disk, journal, lost
from tests.chaos.load import Load
from tests.chaos.plan import KILLED_SERVICE, LOST_DATABASE, SERVICES, Fault, Options, Strike
from tests.chaos.stage import NotBack, Stage, until
from tests.chaos.watch import TOPIC_OF, Watch

_WITHIN_S = 120.0
_STALE_S = 0.3
"""What a killed process had sent can still be written for so long."""
_LOOK_EVERY_S = 0.1
_SLOW_BY_S = 0.1
_HOLD_S = 8.0
_SKEW_S = 600
_WORTH_LOSING = 150
"""So many events a service must have written before its database is lost."""
_UNNOTICED_S = 1.5
"""How long nobody does anything about a lost database."""


@dataclass(frozen=True, slots=True)
class Struck:
    """What came of one fault. Seconds from the strike (or from its end, for one that lasts);
    None: it did not come about in time."""

    name: str
    fault: Fault
    at: float
    ready_s: float | None
    progress_s: float | None
    note: str = ""
    is_done: bool = True

    @property
    def recovery_s(self) -> float | None:
        """How long until it was ready and something new got through."""
        if self.ready_s is None or self.progress_s is None:
            return None
        return max(self.ready_s, self.progress_s)


@dataclass(frozen=True, slots=True)
class Striker:
    """Strikes, and waits until the platform has recovered."""

    stage: Stage
    watch: Watch
    load: Load
    options: Options
    journals: journal.Journals

    async def strike(self, one: Strike) -> Struck:
        """Do one fault from beginning to end."""
        at = time.time()
        try:
            struck = await self._strike(one)
        except NotBack as late:
            struck = Struck(one.name, one.fault, at, None, None, str(late))
        self.journals[journal.FAULTS].write(**asdict(struck), recovery_s=struck.recovery_s)
        return struck

    async def _strike(self, one: Strike) -> Struck:
        match one.fault:
            case Fault.KILL_BROKER:
                return await self._kill_broker(one)
            case Fault.KILL_STORE:
                return await self._kill_store(one)
            case Fault.KILL_ALL:
                return await self._kill_all(one)
            case Fault.CUT | Fault.SLOW:
                return await self._network(one)
            case Fault.STORM:
                return await self._storm(one)
            case Fault.CLOCK:
                return await self._clock(one)
            case Fault.DISK:
                return await self._disk(one)
            case Fault.LOSE_TRIAGE | Fault.LOSE_NOTIFY:
                return await self._lose_database(one, LOST_DATABASE[one.fault])
            case _:
                return await self._kill_service(one, KILLED_SERVICE[one.fault])

    async def _kill_service(self, one: Strike, service: str) -> Struck:
        name = f"{service}-1"
        at = time.time()
        old = self.stage.kill(name)
        ready_s = await self._ready(at, old)
        return await self._recovered(one, at, ready_s, (service,))

    async def _kill_broker(self, one: Strike) -> Struck:
        name = f"kafka-{one.target}" if self.options.nodes > 1 else "kafka"
        at = time.time()
        old = self.stage.kill(name)
        if self.options.nodes > 1:
            ready_s = await self._ready(at, old)
        else:
            with self.stage.away("bus"):
                ready_s = await self._ready(at, old)
        struck = await self._recovered(one, at, ready_s, ("triage", "notify"))
        await self._until_in_sync()
        return struck

    async def _kill_store(self, one: Strike) -> Struck:
        at = time.time()
        with self.stage.away("store"):
            ready_s = await self._ready(at, self.stage.kill("store"))
        return await self._recovered(one, at, ready_s, ("triage", "notify"))

    async def _kill_all(self, one: Strike) -> Struck:
        """Everything at once, brokers and store included."""
        brokers = [spec.name for spec in self.stage.plan if spec.readiness == "kafka"]
        at = time.time()
        with self.stage.away("store"), self.stage.away("bus"):
            services = [f"{service}-1" for service in SERVICES]
            ready_s = await self._ready(at, self.stage.kill(*brokers, "store", *services))
        struck = await self._recovered(one, at, ready_s, SERVICES)
        await self._until_in_sync()
        return struck

    async def _network(self, one: Strike) -> Struck:
        """Cut a service off from all brokers, or let each packet be late."""
        link = self.stage.links[one.target]
        if one.fault is Fault.CUT:
            link.cut()
        else:
            link.delay_s = _SLOW_BY_S
        await asyncio.sleep(self.options.cut_s)
        link.mend()
        at = time.time()
        ready = partial(self._is_ready, f"{one.target}-1")
        ready_s = time.time() - at if await until(ready, _WITHIN_S) else None
        note = f"for {self.options.cut_s:.0f} s"
        return await self._recovered(one, at, ready_s, (one.target,), note)

    async def _storm(self, one: Strike) -> Struck:
        """Triage from one to four and back, one of them by kill -9, under load."""
        names = [await self.stage.start_extra("triage", number) for number in (2, 3, 4)]
        await asyncio.sleep(_HOLD_S)
        at = time.time()
        for name in names:
            await self.stage.end_extra(name, killed=name == names[0])
        return await self._recovered(one, at, 0.0, ("triage", "notify"), "1 → 4 → 1")

    async def _clock(self, one: Strike) -> Struck:
        """One more triage whose own clock is ten minutes off: it works, but fires no deadline."""
        name = await self.stage.start_extra("triage", 5, JIEYOU_CLOCK_SKEW_SECONDS=str(_SKEW_S))
        log = self.stage.log_of(name)
        refuses = await until(lambda: "clock not trusted" in log.read_text("utf-8"), _WITHIN_S)
        await asyncio.sleep(_HOLD_S)
        at = time.time()
        await self.stage.end_extra(name, killed=False)
        note = "10 minutes ahead; fires nothing" if refuses else "10 minutes ahead; NOT NOTICED"
        struck = await self._recovered(one, at, 0.0, ("triage",), note)
        return struck if refuses else Struck(one.name, one.fault, at, None, None, note)

    async def _disk(self, one: Strike) -> Struck:
        """No space left where the store keeps its data."""
        mount = self.stage.disk
        if mount is None:
            note = "not done: a disk of its own needs root and loop devices"
            return Struck(one.name, one.fault, time.time(), None, None, note, is_done=False)
        before = self.stage.state_of("store").restarts
        with self.stage.away("store"):
            ballast = await asyncio.to_thread(disk.fill, mount)
            await asyncio.sleep(_HOLD_S)
            ballast.unlink()
            at = time.time()
            ready = partial(self._is_ready, "store")
            ready_s = time.time() - at if await until(ready, _WITHIN_S) else None
        restarts = self.stage.state_of("store").restarts - before
        note = f"full for {_HOLD_S:.0f} s, store restarted {restarts} times"
        return await self._recovered(one, at, ready_s, ("triage", "notify"), note)

    async def _lose_database(self, one: Strike, service: str) -> Struck:
        """Drop a service's database under it, and restore it from the service's own topic."""
        topic = TOPIC_OF[service]
        await until(lambda: self.watch.count(topic) >= _WORTH_LOSING, _WITHIN_S)
        at = time.time()
        await lost.drop(self.stage.addresses.mongo_url, f"jieyou_{service}")
        await asyncio.sleep(_UNNOTICED_S)
        restored = await lost.restore(self.stage.folder, service)
        ready_s = time.time() - at if restored.is_whole else None
        return await self._recovered(one, time.time(), ready_s, (service,), restored.note)

    def _is_ready(self, name: str) -> bool:
        return self.stage.state_of(name).condition == "ready"

    async def _ready(self, at: float, killed: dict[str, Identity]) -> float | None:
        """Seconds until all who were killed are ready again."""
        if not killed:
            return 0.0
        try:
            await asyncio.gather(
                *(self.stage.until_back(name, old, _WITHIN_S) for name, old in killed.items())
            )
        except NotBack:
            return None
        return time.time() - at

    async def _recovered(
        self, one: Strike, at: float, ready_s: float | None, who: tuple[str, ...], note: str = ""
    ) -> Struck:
        """Wait until something new got through each of these services."""
        is_new = one.fault in (Fault.KILL_REPORTING, Fault.KILL_ALL)
        seen = await asyncio.gather(
            *(self._progress(service, at + _STALE_S, is_new=is_new) for service in who)
        )
        moments = [moment for moment in seen if moment is not None]
        whole = len(moments) == len(seen)
        progress_s = max(moments) - at if whole else None
        return Struck(one.name, one.fault, at, ready_s, progress_s, note)

    async def _progress(self, service: str, after: float, *, is_new: bool) -> float | None:
        """When a service first did something new: accepted, written, or applied."""
        if service == "intake":
            return await self._accepted(after)
        if service == "reporting":
            return await self._applied(is_new=is_new)
        return await self.watch.until_written(TOPIC_OF[service], after, _WITHIN_S)

    async def _accepted(self, after: float) -> float | None:
        accepted = self.load.accepted_at
        seen = len(accepted)
        until_s = time.monotonic() + _WITHIN_S
        while time.monotonic() < until_s:
            later = [one for one in accepted[max(0, seen - 2_000) :] if one > after]
            if later:
                return min(later)
            await asyncio.sleep(_LOOK_EVERY_S)
        return None

    async def _applied(self, *, is_new: bool) -> float | None:
        """Reporting writes nothing to the log: its own count of records must grow, which begins
        at 0 in a new process."""
        url = f"{self.stage.url('reporting')}/metrics"
        until_s = time.monotonic() + _WITHIN_S
        before = 0.0 if is_new else None
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            while time.monotonic() < until_s:
                try:
                    handled = _handled((await client.get(url)).text)
                except httpx.HTTPError:
                    handled = 0.0
                before = handled if before is None else before
                if handled > before:
                    return time.time()
                await asyncio.sleep(_LOOK_EVERY_S)
        return None

    async def _until_in_sync(self) -> None:
        """Wait until every partition has all its copies again: one broker less at a time."""
        admin = AIOKafkaAdminClient(
            bootstrap_servers=self.stage.addresses.kafka_url.split(","), request_timeout_ms=5_000
        )
        until_s = time.monotonic() + _WITHIN_S
        try:
            while time.monotonic() < until_s:
                try:
                    await admin.start()
                    topics = await admin.describe_topics([TRIAGE, HANDLING])
                    parts = [part for topic in topics for part in topic["partitions"]]
                    if parts and all(len(p["isr"]) == len(p["replicas"]) for p in parts):
                        return
                except (KafkaError, OSError, TimeoutError):
                    pass
                await asyncio.sleep(_LOOK_EVERY_S * 3)
        finally:
            await admin.close()


def _handled(metrics: str) -> float:
    lines = [one for one in metrics.splitlines() if one.startswith("jieyou_records_handled_total{")]
    return sum(float(one.rpartition(" ")[2]) for one in lines)
