"""The simulated departments: each reads its feed with a plain consumer of its own.

Most reply on their replies topic, as a department with a Kafka client does; some by HTTP with their
key, as one without does.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import orjson
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from contracts.feeds import FeedHandoff
from contracts.topics import FEED_PARTITIONS, feed, partition_for, replies
from deploy.simulators.calls import Calls
from deploy.simulators.handoff_script import Say
from deploy.simulators.handoffs import Department

log = structlog.get_logger()

_AGAIN_SECONDS = 0.5
_BATCH_KIB = 256


class Replies:
    """Writes replies to the bus; a write whose outcome is unknown is made again, byte for byte."""

    def __init__(self, kafka_url: str) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=kafka_url.split(","),
            acks="all",
            linger_ms=5,
            max_batch_size=_BATCH_KIB * 1024,
            request_timeout_ms=10_000,
        )

    async def start(self) -> None:
        """Connect."""
        await self._producer.start()

    async def stop(self) -> None:
        """Send what is under way and disconnect; gives up after a while."""
        try:
            async with asyncio.timeout(5):
                await self._producer.stop()
        except TimeoutError:
            log.warning("the departments' producer did not stop in time")

    async def __call__(self, handoff: FeedHandoff, said: Say) -> None:
        """Write one reply and return when the bus has it."""
        document = {
            "act": said.act,
            "reply_id": said.reply_id,
            "handoff_id": handoff.handoff_id,
            **said.body,
        }
        value = orjson.dumps(document)
        while True:
            try:
                await self._producer.send_and_wait(
                    replies(handoff.department),
                    value,
                    handoff.handoff_id.encode(),
                    partition_for(handoff.case_no, FEED_PARTITIONS),
                )
                return
            except KafkaError as error:
                log.info("a reply is written again", error=type(error).__name__)
                await asyncio.sleep(_AGAIN_SECONDS)


@dataclass(frozen=True, slots=True)
class HttpReplies:
    """Replies by HTTP with the department's key."""

    calls: Calls

    async def __call__(self, handoff: FeedHandoff, said: Say) -> None:
        """Post one reply and return when it was taken, or refused for good."""
        path = f"/v1/handoffs/{handoff.handoff_id}/{said.act}"
        answer = await self.calls.post(path, said.body, key=said.reply_id)
        if not answer.is_taken:
            log.info(
                "a department was refused",
                department=handoff.department,
                case_no=handoff.case_no,
                act=said.act,
                status=answer.status,
                why=answer.why,
            )


async def read_feed(kafka_url: str, department: Department) -> None:
    """Read a department's feed until cancelled; a broker that goes away is waited for."""
    while True:
        consumer = AIOKafkaConsumer(
            feed(department.code),
            bootstrap_servers=kafka_url.split(","),
            group_id=f"sim-{department.code}",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        try:
            await consumer.start()
            await _read(consumer, department.arrive)
        except KafkaError as error:
            log.info("a feed is read again", error=type(error).__name__)
            await asyncio.sleep(_AGAIN_SECONDS)
        finally:
            await _stop(consumer)


async def _read(consumer: AIOKafkaConsumer, arrive: Callable[[FeedHandoff], None]) -> None:
    while True:
        batches = await consumer.getmany(timeout_ms=200, max_records=500)
        for records in batches.values():
            for record in records:
                if record.value is None:
                    continue
                try:
                    arrive(FeedHandoff.model_validate_json(record.value))
                except ValidationError:
                    log.error("an unreadable hand-off", topic=record.topic, offset=record.offset)
        if batches:
            await consumer.commit()


async def _stop(consumer: AIOKafkaConsumer) -> None:
    try:
        async with asyncio.timeout(5):
            await consumer.stop()
    except (TimeoutError, KafkaError):
        log.info("a consumer did not stop in time")
