"""Redacting a case's events in the topic of their writer, by what the topic itself holds.

The store may have forgotten what it published (a spooled copy, a lost database), and a record that
was given up may land after its redaction. So the topic has the last word: read from its beginning
to its end, each key of the case whose newest record still holds the person is written once more.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from contracts.envelope import ContractError, Event, parse, removal_headers
from contracts.topics import partition_for
from services.chassis.bus.broker import REQUEST_TIMEOUT_MS, TopicMissing
from services.chassis.bus.records import Outgoing, Record, to_record

PublishRecords = Callable[[Sequence[Outgoing]], Awaitable[None]]
"""Writes records and returns when all are acknowledged (`Publisher.publish_all`)."""

_SUBJECT = "ce_subject"
_FETCH_BYTES = 4 * 1024 * 1024
_POLL_MS = 500
_SILENCE_SECONDS = 20.0


Raw: TypeAlias = ConsumerRecord[bytes, bytes]


async def read_partition(
    kafka_url: str, topic: str, partition: int, wanted: Callable[[Raw], bool] = lambda _: True
) -> AsyncIterator[Record]:
    """Yield what a partition holds now, from its beginning to its present end, in no group.

    `wanted` chooses records before they are made into ours, which costs more than reading them.

    Raises KafkaError (TopicMissing among them), OSError, and TimeoutError if Kafka falls silent.
    """
    place = TopicPartition(topic, partition)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka_url.split(","),
        group_id=None,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        max_partition_fetch_bytes=_FETCH_BYTES,
    )
    try:
        await consumer.start()
        if topic not in await consumer.topics():
            raise TopicMissing([topic])
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        end = (await consumer.end_offsets([place]))[place]
        while await consumer.position(place) < end:
            async with asyncio.timeout(_SILENCE_SECONDS):
                while not (batches := await consumer.getmany(place, timeout_ms=_POLL_MS)):
                    pass
            for raw in batches[place]:
                if wanted(raw):
                    yield to_record(raw)
    finally:
        await consumer.stop()


@dataclass(slots=True)
class _Key:
    """What stands under one key: its newest record, and the event of the highest `rev`."""

    newest: Record
    newest_rev: int | None = None
    highest: Event | None = field(default=None, repr=False)

    def take(self, record: Record) -> None:
        self.newest = record
        self.newest_rev = None
        try:
            event = parse(record.headers, record.value)
        except ContractError:
            return
        self.newest_rev = event.data.rev
        if self.highest is None or event.data.rev >= self.highest.data.rev:
            self.highest = event

    def repaired(self, case_no: str) -> Outgoing | None:
        """Return what is to be written under the key, or None if nothing personal stands there."""
        newest, highest = self.newest, self.highest
        if newest.value is None:
            return None
        if highest is None:
            headers = removal_headers(case_no)
            return Outgoing(newest.topic, newest.key, None, headers, partition=newest.partition)
        if not highest.data.is_of_one_case:
            return None
        if highest.data.rev > 0 and self.newest_rev == highest.data.rev:
            return None
        event = highest if highest.data.rev > 0 else highest.redacted()
        return Outgoing(
            newest.topic, newest.key, event.encoded, event.headers(), partition=newest.partition
        )


async def redact_topic(kafka_url: str, topic: str, case_no: str, publish: PublishRecords) -> int:
    """Redact what a case topic still holds of a case; return how many records were written.

    A key whose newest record is of the highest `rev` seen and redacted is left alone, so that a
    second call writes nothing. A record under the case's number that is no event is removed.
    Raises what reading and `publish` raise; then call again.
    """
    keys: dict[bytes, _Key] = {}
    subject = (_SUBJECT, case_no.encode())

    def is_of_case(raw: Raw) -> bool:
        return raw.key is not None and (raw.key in keys or subject in raw.headers)

    async for record in read_partition(kafka_url, topic, partition_for(case_no), is_of_case):
        if record.key is not None:
            keys.setdefault(record.key, _Key(record)).take(record)
    repaired = [
        outgoing for key in keys.values() if (outgoing := key.repaired(case_no)) is not None
    ]
    await publish(repaired)
    return len(repaired)
