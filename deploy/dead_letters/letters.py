"""Reading the dead letters that stand on their topics."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from pydantic import ValidationError

from contracts.dead_letters import DeadLetter
from contracts.topics import SERVICES, dead_letters
from deploy.audit.log import Log
from services.chassis.bus import Outgoing, Record


@dataclass(frozen=True, slots=True)
class Aside:
    """A letter on its topic. `letter` is None for what is no letter of this contract."""

    id: str
    service: str
    key: bytes | None = field(repr=False)
    letter: DeadLetter | None = field(repr=False)

    def taken_off(self) -> Outgoing:
        """Return the record that takes it off its topic, payload and all."""
        return Outgoing(dead_letters(self.service), self.key, None, partition=0)


class Letters:
    """The letters of all services by id, as of the last `refresh`."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._ends: dict[TopicPartition, int] = {}
        self.found: dict[str, Aside] = {}

    async def refresh(self) -> None:
        """Read what was written since the last time. Raises AuditError."""
        ends = await self._log.ends(dead_letters(service) for service in SERVICES)
        async for records in self._log.read(ends, self._ends):
            self._take(records)
        self._ends = ends

    def _take(self, records: Iterable[Record]) -> None:
        for record in records:
            service = record.topic.removeprefix("dead-letters.").removesuffix(".v1")
            id_ = f"{service}/{(record.key or b'').decode('utf-8', 'replace')}"
            self.found.pop(id_, None)
            if record.value is not None:
                self.found[id_] = Aside(id_, service, record.key, _read(record.value))


def _read(value: bytes) -> DeadLetter | None:
    try:
        return DeadLetter.model_validate_json(value)
    except ValidationError:
        return None
