"""Taking off the dead letters of an erased case: they hold its records whole."""

import re
from collections.abc import Collection, Iterator

from pydantic import ValidationError

from contracts.dead_letters import DeadLetter
from contracts.ids import ALPHABET, CASE_NUMBER_LENGTH
from contracts.topics import dead_letters
from services.chassis.bus.records import Outgoing, Record
from services.chassis.redaction import PublishRecords, read_partition

_NUMBER = re.compile(rf"(?=([{ALPHABET}]{{{CASE_NUMBER_LENGTH}}}))".encode())
_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


async def drop_letters(
    kafka_url: str,
    service: str,
    case_no: str,
    publish: PublishRecords,
    *,
    other_names: Collection[str] = (),
) -> int:
    """Take off every letter of a service that speaks of a case; return how many those were.

    A letter speaks of it if the case's number, or one of the other names (its hand-offs), stands
    anywhere in key, headers or payload. What is taken off is gone for `jieyou dead-letters`, and
    blocks nothing any more. Raises what reading and `publish` raise; then call again.
    """
    topic = dead_letters(service)
    names = [name.encode() for name in (case_no, *other_names)]
    letters: dict[bytes, bool] = {}
    async for record in read_partition(kafka_url, topic, 0):
        if record.key is not None:
            letters[record.key] = record.value is not None and _speaks_of(record, names)
    off = [Outgoing(topic, key, None, partition=0) for key, is_of in letters.items() if is_of]
    await publish(off)
    return len(off)


def names_in(value: bytes) -> frozenset[str]:
    """Return all that may be a case number or an id in the record of a letter."""
    return frozenset(
        found.decode()
        for part in _parts(value)
        for pattern in (_NUMBER, _ID)
        for found in pattern.findall(part)
    )


def _speaks_of(record: Record, names: Collection[bytes]) -> bool:
    parts = list(_parts(record.value or b""))
    return any(name in part for name in names for part in parts)


def _parts(value: bytes) -> Iterator[bytes]:
    """Yield what a letter holds of its record; of what is no letter all."""
    try:
        letter = DeadLetter.model_validate_json(value)
    except ValidationError:
        yield value
        return
    yield letter.key or b""
    yield letter.payload or b""
    yield from map(str.encode, letter.headers.values())
