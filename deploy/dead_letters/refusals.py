"""What must not be written again, though somebody wishes it.

Case topics are compacted: of one key only the last record stays. An old record that is written
again under a key that has a newer one since would push that off the log, a redaction too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from aiokafka import TopicPartition

from contracts.dead_letters import DeadLetter
from contracts.envelope import TYPE_PREFIX
from contracts.topics import CASE_TOPICS, TRIAGE
from contracts.triage import CaseErased
from deploy.audit.log import Log
from deploy.dead_letters.letters import Aside
from services.chassis.bus import Record

NO_LETTER = "不是可识别的死信，无法重发；可弃置"
CUT = "死信只留有记录的一部分，无法重发；可弃置"
REPLACED = "日志中已有同一编号的新记录，重发会把它挤掉；请弃置"
ERASED = "办件的个人信息已按申请清除，不得重发；请弃置"

_ERASED_TYPE = f"{TYPE_PREFIX}{CaseErased.type}"


@dataclass(slots=True)
class _Seen:
    """What the log has against some letters."""

    by_key: Mapping[tuple[str, int, bytes | None], Sequence[Aside]]
    replaced: set[str] = field(default_factory=set)
    erased: dict[str, int] = field(default_factory=dict)
    """When the erasure of a case was written (ms)."""

    def take(self, record: Record) -> None:
        if record.topic == TRIAGE and record.headers.get("ce_type") == _ERASED_TYPE:
            self.erased[record.headers.get("ce_subject", "")] = record.timestamp_ms
        for aside in self.by_key.get((record.topic, record.partition, record.key), ()):
            letter = aside.letter
            is_newer = letter is not None and record.offset > letter.origin.offset
            if letter is not None and is_newer and record.value != letter.payload:
                self.replaced.add(aside.id)

    def objection(self, aside: Aside, letter: DeadLetter) -> str | None:
        """Return why a letter must not be written again. What was written with or after an
        erasure may: it holds nothing of the person, and the erasure itself must be handled."""
        erased_ms = self.erased.get(letter.headers.get("ce_subject", ""))
        if erased_ms is not None and letter.origin.timestamp_ms < erased_ms:
            return ERASED
        return REPLACED if aside.id in self.replaced else None


async def refusals(log: Log, asides: Sequence[Aside]) -> dict[str, str]:
    """Return why letters must not be written again, by id; those that may are left out.

    Reads the partitions of the case topics that are concerned. Raises AuditError.
    """
    found: dict[str, str] = {}
    by_key: dict[tuple[str, int, bytes | None], list[Aside]] = {}
    partitions: set[TopicPartition] = set()
    for aside in asides:
        if aside.letter is None:
            found[aside.id] = NO_LETTER
        elif not aside.letter.is_whole:
            found[aside.id] = CUT
        elif aside.letter.origin.topic in CASE_TOPICS:
            origin = aside.letter.origin
            by_key.setdefault((origin.topic, origin.partition, aside.letter.key), []).append(aside)
            partitions |= {
                TopicPartition(topic, origin.partition) for topic in (origin.topic, TRIAGE)
            }
    seen = _Seen(by_key)
    ends = await log.ends(CASE_TOPICS)
    async for records in log.read({p: end for p, end in ends.items() if p in partitions}):
        for record in records:
            seen.take(record)
    for aside in asides:
        if aside.letter is not None and (why := seen.objection(aside, aside.letter)):
            found.setdefault(aside.id, why)
    return found
