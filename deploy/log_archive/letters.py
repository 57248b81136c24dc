"""Dead letters name the offset of their record, in their key too: in the new log it is another."""

from collections.abc import Callable
from dataclasses import replace

from aiokafka import TopicPartition
from pydantic import ValidationError

from contracts.dead_letters import DeadLetter
from deploy.log_archive.lines import Line

NewOffset = Callable[[TopicPartition, int], int | None]
"""Where a record of the old log stands now; None for one that was not written."""


def origin_of(key: bytes | None) -> tuple[TopicPartition, int] | None:
    """Return partition and old offset in a letter's key; None if it is no letter's."""
    topic, _, rest = (key or b"").decode("utf-8", "replace").rpartition("-")
    topic, _, partition = topic.rpartition("-")
    if not (topic and partition.isdecimal() and rest.isdecimal()):
        return None
    return TopicPartition(topic, int(partition)), int(rest)


def moved(line: Line, new_offset: NewOffset) -> Line:
    """Return a letter, or what takes one off, with its origin in the new log.

    One whose record is not in the export (compaction or retention have removed it) stays as it is:
    it holds its record whole.
    """
    origin = origin_of(line.key)
    offset = new_offset(*origin) if origin is not None else None
    if origin is None or offset is None or offset == origin[1]:
        return line
    place = origin[0]
    key = f"{place.topic}-{place.partition}-{offset}".encode()
    if line.value is None:
        return replace(line, key=key)
    try:
        letter = DeadLetter.model_validate_json(line.value)
    except ValidationError:
        return line
    there = letter.origin.model_copy(update={"offset": offset})
    return replace(
        line, key=key, value=letter.model_copy(update={"origin": there}).model_dump_json().encode()
    )
