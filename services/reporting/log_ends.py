"""Where the log ends: what tells whether the figures are current."""

import asyncio
import contextlib

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from contracts.topics import CASE_PARTITIONS, CASE_TOPICS
from services.reporting.domain.progress import Ends

_ANSWERS_WITHIN_SECONDS = 2.0
_PLACES = [TopicPartition(topic, n) for topic in CASE_TOPICS for n in range(CASE_PARTITIONS)]


class LogEnds:
    """Asks Kafka where the case topics end, over a connection of its own: on the consumer's a
    question waits half a second behind the fetch that waits for records."""

    def __init__(self, kafka_url: str) -> None:
        self._kafka_url = kafka_url
        self._client: AIOKafkaConsumer | None = None
        self._lock = asyncio.Lock()

    async def read(self) -> Ends | None:
        """Return the end of each topic and partition; None if Kafka does not answer."""
        async with self._lock:
            try:
                async with asyncio.timeout(_ANSWERS_WITHIN_SECONDS):
                    ends = await (await self._connected()).end_offsets(_PLACES)
            except (KafkaError, TimeoutError, OSError):
                await self._disconnect()
                return None
            return {(place.topic, place.partition): end for place, end in ends.items()}

    async def stop(self) -> None:
        """Close the connection."""
        async with self._lock:
            await self._disconnect()

    async def _connected(self) -> AIOKafkaConsumer:
        if self._client is None:
            client = AIOKafkaConsumer(bootstrap_servers=self._kafka_url.split(","))
            try:
                await client.start()
            except BaseException:
                await client.stop()
                raise
            self._client = client
        return self._client

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(KafkaError, TimeoutError, OSError):
                async with asyncio.timeout(_ANSWERS_WITHIN_SECONDS):
                    await client.stop()
