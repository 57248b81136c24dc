"""A batch of records, sorted out: events by case, what cannot be read, how far it reaches."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from contracts.envelope import TICK_KEY, ContractError, Event, parse
from contracts.ids import parse_case_number
from contracts.topics import partition_for
from services.chassis.batches import PutAside
from services.chassis.bus import Record
from services.reporting import metrics
from services.reporting.domain.progress import Reached


@dataclass(slots=True)
class Batch:
    """What a batch of records holds.

    `blocks` are the cases of records that cannot be read: origin and reason of each. `reached` is
    by partition number and topic.
    """

    events: dict[str, list[tuple[Record, Event]]] = field(default_factory=dict)
    blocks: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    reached: dict[int, dict[str, Reached]] = field(default_factory=dict)

    @property
    def case_nos(self) -> set[str]:
        """The cases that the batch concerns."""
        return self.events.keys() | self.blocks.keys()

    def note(self, record: Record, recorded_at: datetime | None) -> None:
        """Note that a record is dealt with, whatever it was."""
        own = self.reached.setdefault(record.partition, {})
        own[record.topic] = own.get(record.topic, Reached()).moved(record.offset + 1, recorded_at)


async def sort_out(records: Sequence[Record], dead_letters: PutAside) -> Batch:
    """Read records; what breaks the contract is put aside before this returns."""
    batch = Batch()
    for record in records:
        if record.key == TICK_KEY:
            batch.note(record, _moment(record.headers.get("ce_time")))
            continue
        try:
            event = parse(record.headers, record.value)
            if event.partition != record.partition:
                raise ContractError("partition", "is not the case's")
        except ContractError as error:
            await _put_aside(record, batch, error, dead_letters)
            continue
        batch.note(record, event.data.recorded_at)
        batch.events.setdefault(event.data.case_no, []).append((record, event))
    return batch


async def _put_aside(
    record: Record, batch: Batch, error: ContractError, dead_letters: PutAside
) -> None:
    """Dead-letter a record, and name its case where the number can be read.

    Only a case of the record's own partition can be marked: others may be written elsewhere.
    """
    reason = f"breaks the contract at {error.field}"
    await dead_letters.put(record, reason, error)
    metrics.RECORDS_UNREADABLE.inc()
    batch.note(record, None)
    case_no = parse_case_number(record.headers.get("ce_subject", ""))
    if case_no is not None and partition_for(case_no) == record.partition:
        batch.blocks.setdefault(case_no, []).append((record.origin, reason))


def _moment(header: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(header or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else None
