"""Writing to the log by hand: a record once more, or what takes a letter off."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from deploy.dead_letters.ledger import DeadLetterError
from services.chassis.bus import Outgoing

_TIMEOUT_SECONDS = 20.0


class Writer:
    """A producer that waits for all replicas. Use it as an asynchronous context."""

    def __init__(self, kafka_url: str) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=kafka_url.split(","), acks="all", request_timeout_ms=15_000
        )

    async def __aenter__(self) -> Self:
        """Connect. Raises DeadLetterError."""
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                await self._producer.start()
        except (KafkaError, TimeoutError, OSError) as error:
            await self._producer.stop()
            raise DeadLetterError(f"Kafka does not answer ({type(error).__name__})") from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._producer.stop()

    async def write(self, records: Sequence[Outgoing]) -> list[int]:
        """Write records in this order; return the offsets that they got.

        Raises DeadLetterError when Kafka does not acknowledge them: they may stand nevertheless.
        """
        try:
            async with asyncio.timeout(_TIMEOUT_SECONDS):
                sent = [
                    await self._producer.send(
                        one.topic,
                        value=one.value,
                        key=one.key,
                        partition=one.partition,
                        headers=[(name, text.encode()) for name, text in one.headers.items()],
                    )
                    for one in records
                ]
                return [acknowledged.offset for acknowledged in await asyncio.gather(*sent)]
        except (KafkaError, TimeoutError, OSError) as error:
            raise DeadLetterError(f"Kafka did not take it ({type(error).__name__})") from error
