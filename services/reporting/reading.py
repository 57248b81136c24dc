"""A batch of records, sorted out: events by case, what cannot be read, how far it reaches."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from contracts.envelope import TICK_KEY, ContractError, Event, is_removal, parse
from services.chassis.batches import PutAside
from services.chassis.bus import Record
from services.reporting import metrics
from services.reporting.domain.progress import Reached


@dataclass(slots=True)
class Batch:
    """What a batch of records holds. `reached` is by partition number and topic."""

    events: dict[str, list[tuple[Record, Event]]] = field(default_factory=dict)
    reached: dict[int, dict[str, Reached]] = field(default_factory=dict)

    @property
    def case_nos(self) -> set[str]:
        """The cases that the batch concerns."""
        return set(self.events)

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
        if is_removal(record.headers, record.value):
            batch.note(record, None)
            continue
        try:
            event = parse(record.headers, record.value)
            if event.partition != record.partition:
                raise ContractError("partition", "is not the case's")
        except ContractError as error:
            await dead_letters.put(record, f"breaks the contract at {error.field}", error)
            metrics.RECORDS_UNREADABLE.inc()
            batch.note(record, None)
            continue
        batch.note(record, event.data.recorded_at)
        batch.events.setdefault(event.data.case_no, []).append((record, event))
    return batch


def _moment(header: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(header or "")
    except ValueError:
        return None
    return moment if moment.tzinfo else None
