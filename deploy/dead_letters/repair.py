"""The workflow: look, write again, give up.

What became of a record that was written again follows from its new offset alone. A service commits
an offset after it has handled the record, or after its dead letter is acknowledged: past the offset
without a letter of that offset the record is handled, with one it has failed again. So commits are
asked first and letters are read afterwards.

The ledger is written before a letter is taken off its topic; what a crash left between the two is
made good by the next look.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from contracts.dead_letters import DeadLetter
from contracts.envelope import TICK_KEY
from contracts.topics import CASE_TOPICS, SERVICES
from deploy.audit.log import Handled, Log, Place
from deploy.dead_letters.ledger import Act, DeadLetterError, Entry, Ledger, State
from deploy.dead_letters.letters import Aside, Letters
from deploy.dead_letters.refusals import refusals
from deploy.dead_letters.writing import Writer
from services.chassis.bus import Outgoing
from services.chassis.dead_letters import original
from services.chassis.store import Store, StoreUnavailable
from services.reporting.generations import FIRST, Generations

PORTION = 10
"""Letters of one partition that are written again together. A portion that fails whole ends the
retry of its partition: what ails it is not mended yet."""
_LOOK_EVERY_SECONDS = 0.2

SAME_NAME: Mapping[str, str] = {service: service for service in SERVICES}
"""The consumer group of each service; reporting's changes with its generation."""


class Result(StrEnum):
    """What a retry came to."""

    HANDLED = "handled"
    FAILED_AGAIN = "failed_again"
    PENDING = "pending"
    """Written again; the service has not come to it yet."""
    REFUSED = "refused"
    LEFT = "left"
    """Not written again: what was before it in its partition failed again or is pending."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a retry came to for one letter; `why` says it of a refusal."""

    entry: Entry
    result: Result
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A letter with what became of it. `aside` is None when it is off its topic."""

    entry: Entry
    aside: Aside | None

    @property
    def is_open(self) -> bool:
        """Whether something is left to do about it."""
        return self.aside is not None and not self.entry.state.is_settled


class Repair:
    """The dead letters of a platform and what is done about them."""

    def __init__(self, log: Log, ledger: Ledger, writer: Writer, groups: Mapping[str, str]) -> None:
        self._log = log
        self._ledger = ledger
        self._writer = writer
        self._groups = groups
        self._letters = Letters(log)

    async def look(self, *, with_settled: bool = False) -> list[Line]:
        """Return the letters, the oldest first, after noting what became of retries."""
        entries = await self._settle()
        if with_settled:
            entries = {**await self._ledger.all(), **entries}
        lines = [Line(entries.get(id_) or _new(one), one) for id_, one in self._found.items()]
        if with_settled:
            lines += [Line(one, None) for id_, one in entries.items() if id_ not in self._found]
        return sorted(lines, key=_age)

    async def retry(
        self,
        lines: Sequence[Line],
        act: Act,
        *,
        wait_s: float,
        on_progress: Callable[[Sequence[Outcome]], None] = lambda _: None,
    ) -> list[Outcome]:
        """Write the records of letters again, and wait for what becomes of each.

        Raises DeadLetterError when Kafka or the store does not answer.
        """
        # A record whose last retry is on its way is not written a second time.
        outcomes = [Outcome(x.entry, Result.PENDING) for x in lines if x.entry.is_on_its_way]
        lines = [line for line in lines if not line.entry.is_on_its_way]
        refused = await refusals(self._log, [line.aside for line in lines if line.aside])
        outcomes += [
            Outcome(line.entry, Result.REFUSED, refused[line.entry.id])
            for line in lines
            if line.entry.id in refused
        ]
        queues = _by_partition(line for line in lines if line.entry.id not in refused)
        while queues:
            portion = [line for queue in queues for line in queue[:PORTION]]
            done = {one.entry.id: one for one in await self._retry(portion, act, wait_s)}
            outcomes += done.values()
            left: list[list[Line]] = []
            for queue in queues:
                results = {done[line.entry.id].result for line in queue[:PORTION]}
                rest = queue[PORTION:]
                if Result.HANDLED in results and Result.PENDING not in results:
                    left += [rest] if rest else []
                else:
                    outcomes += [Outcome(line.entry, Result.LEFT) for line in rest]
            queues = left
            on_progress(outcomes)
        return outcomes

    async def discard(self, lines: Sequence[Line], act: Act) -> list[Entry]:
        """Give letters up: they are taken off their topics, with payload; who did it and why
        stays. Raises DeadLetterError when Kafka or the store does not answer."""
        given_up = []
        for line in lines:
            entry = line.entry.changed(state=State.DISCARDED, settled=act)
            given_up.append(await self._ledger.put(entry))
        await self._writer.write([line.aside.taken_off() for line in lines if line.aside])
        return given_up

    @property
    def _found(self) -> Mapping[str, Aside]:
        return self._letters.found

    async def _retry(self, lines: Sequence[Line], act: Act, wait_s: float) -> list[Outcome]:
        """Write a portion again and wait for it."""
        entries = [
            await self._ledger.put(
                line.entry.changed(
                    state=State.RETRIED,
                    retried=act,
                    retries=line.entry.retries + 1,
                    written_again=None,
                )
            )
            for line in lines
        ]
        letters = [line.aside.letter for line in lines if line.aside and line.aside.letter]
        offsets = await self._write_again(letters)
        waiting = {}
        for entry, letter in zip(entries, letters, strict=True):
            written = entry.changed(written_again=offsets[letter.origin.name])
            waiting[entry.id] = await self._ledger.put(written)
        until = time.monotonic() + wait_s
        while True:
            known = {**waiting, **await self._settle(also=waiting)}
            waiting = {id_: known[id_] for id_ in waiting}
            is_over = all(one.state.is_settled for one in waiting.values())
            if is_over or time.monotonic() > until:
                return [_outcome(one) for one in waiting.values()]
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    async def _write_again(self, letters: Sequence[DeadLetter]) -> dict[str, int]:
        """Write records, and return their offsets by the names of their first ones.

        One that lies aside at several services is written once for all of them. A tick goes before
        those of a case topic: 21 failures in a row make a service stand (`DeadLetters`), and what
        failed before must not count together with what fails now.
        """
        records = {letter.origin.name: original(letter) for letter in letters}
        partitions = {(one.topic, one.partition) for one in records.values()}
        ticks = [
            Outgoing(topic, TICK_KEY, b"{}", partition=partition)
            for topic, partition in sorted(partitions, key=str)
            if topic in CASE_TOPICS
        ]
        offsets = await self._writer.write([*ticks, *records.values()])
        return dict(zip(records, offsets[len(ticks) :], strict=True))

    async def _settle(self, also: Iterable[str] = ()) -> dict[str, Entry]:
        """Note what became of retries, and take off what is settled; return the entries of what
        stands or was waited for."""
        handled = await self._log.handled(self._groups.values())
        await self._letters.refresh()
        waiting = await self._ledger.retried()
        entries = await self._ledger.load({*self._found, *waiting, *also})
        for entry in waiting.values():
            entries.update(await self._settled(entry, handled, entries))
        off = []
        for id_, aside in self._found.items():
            known = entries.get(id_)
            if known is None:
                continue
            if not known.is_about(aside.letter):
                entries[id_] = _new(aside).changed(version=known.version)
            elif known.state.is_settled:
                off.append(aside.taken_off())
        if off:
            await self._writer.write(off)
            await self._letters.refresh()
        return entries

    async def _settled(
        self, entry: Entry, handled: Handled, entries: Mapping[str, Entry]
    ) -> dict[str, Entry]:
        """Return the entries that change by what became of a retry."""
        if entry.origin is None or entry.written_again is None:
            return {}
        place = Place(entry.origin.topic, entry.origin.partition, entry.written_again)
        successor = f"{entry.service}/{place.origin}"
        if successor in self._found:
            after = entries.get(successor) or _new(self._found[successor])
            if after.retries < entry.retries:
                after = await self._ledger.put(after.changed(retries=entry.retries))
            failed = entry.changed(
                state=State.FAILED_AGAIN, settled=entry.retried, successor=successor
            )
            return {entry.id: await self._ledger.put(failed), successor: after}
        if handled.has(self._groups[entry.service], place):
            is_handled = entry.changed(state=State.HANDLED, settled=entry.retried)
            return {entry.id: await self._ledger.put(is_handled)}
        return {}


@asynccontextmanager
async def repairing(
    kafka_url: str, mongo_url: str, *, groups: Mapping[str, str] | None = None
) -> AsyncIterator[Repair]:
    """Connect to a platform. Raises AuditError and DeadLetterError."""
    ledger = Ledger(mongo_url)
    try:
        if groups is None:
            groups = {**SAME_NAME, "reporting": await _group_of_reporting(mongo_url)}
        async with Log(kafka_url) as log, Writer(kafka_url) as writer:
            yield Repair(log, ledger, writer, groups)
    finally:
        ledger.close()


async def _group_of_reporting(mongo_url: str) -> str:
    store = Store(mongo_url, FIRST.database)
    try:
        return (await Generations(store).live()).generation.group
    except StoreUnavailable as error:
        raise DeadLetterError(f"the store does not answer ({error})") from error
    finally:
        store.close()


def chosen(lines: Sequence[Line], ids: Sequence[str]) -> list[Line]:
    """Return the lines of these letters. Raises DeadLetterError for one about which there is
    nothing to do."""
    open_lines = {line.entry.id: line for line in lines if line.is_open}
    for id_ in ids:
        if id_ not in open_lines:
            raise DeadLetterError(f"there is no open letter {id_}; see `jieyou dead-letters list`")
    return [open_lines[id_] for id_ in dict.fromkeys(ids)]


def _new(aside: Aside) -> Entry:
    return Entry.of(aside.id, aside.service, aside.letter)


def _age(line: Line) -> tuple[float, str]:
    at = line.entry.put_aside_at
    return (at.timestamp() if at else 0.0, line.entry.id)


def _by_partition(lines: Iterable[Line]) -> list[list[Line]]:
    """Sort letters by where their records came from, each partition in the order of its log."""
    queues: dict[tuple[str, int], list[Line]] = {}
    for line in lines:
        if line.entry.origin is not None:
            origin = line.entry.origin
            queues.setdefault((origin.topic, origin.partition), []).append(line)
    for queue in queues.values():
        queue.sort(key=lambda line: line.entry.origin.offset if line.entry.origin else 0)
    return list(queues.values())


def _outcome(entry: Entry) -> Outcome:
    if entry.state is State.HANDLED:
        return Outcome(entry, Result.HANDLED)
    if entry.state is State.FAILED_AGAIN:
        return Outcome(entry, Result.FAILED_AGAIN)
    return Outcome(entry, Result.PENDING)
