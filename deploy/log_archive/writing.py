"""Writing records as they were, each partition in order."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, TypeAlias

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from deploy.log_archive.errors import ArchiveError
from deploy.log_archive.lines import Line

_BATCH_BYTES = 512 * 1024
_LARGEST_REQUEST = 64 * 1024 * 1024
_TIMEOUT_MS = 20_000
_UNKNOWN = -1

Sent: TypeAlias = tuple[TopicPartition, int, "asyncio.Future[object]"]
"""A batch under way, and the offset that its first record must get."""


class Writer:
    """A producer that waits for all replicas and writes nothing twice (it is idempotent). Use it as
    an asynchronous context; everything raises ArchiveError."""

    def __init__(self, kafka_url: str) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=kafka_url.split(","),
            acks="all",
            enable_idempotence=True,
            max_batch_size=_BATCH_BYTES,
            max_request_size=_LARGEST_REQUEST,
            request_timeout_ms=_TIMEOUT_MS,
        )
        self._sent: list[Sent] = []

    async def __aenter__(self) -> Self:
        """Connect."""
        try:
            async with asyncio.timeout(_TIMEOUT_MS / 1_000):
                await self._producer.start()
        except (KafkaError, TimeoutError, OSError) as error:
            await self._stop()
            raise ArchiveError(f"Kafka does not answer ({type(error).__name__})") from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        """An idempotent producer would go on trying for ever where Kafka is away."""
        try:
            async with asyncio.timeout(_TIMEOUT_MS / 1_000):
                await self._producer.stop()
        except (KafkaError, TimeoutError, OSError):
            return

    async def write(self, place: TopicPartition, lines: Sequence[Line], first: int) -> None:
        """Send records of a partition, and wait for those that were sent before them. The first
        must get the offset `first`, else somebody else writes there."""
        before, self._sent = self._sent, []
        async with self._patience(place):
            await self._send(place, lines, first)
            await _settled(before)

    async def flush(self, place: TopicPartition) -> None:
        """Wait for all that was sent."""
        sent, self._sent = self._sent, []
        async with self._patience(place):
            await _settled(sent)

    async def _send(self, place: TopicPartition, lines: Sequence[Line], first: int) -> None:
        at = 0
        while at < len(lines):
            batch, began = self._producer.create_batch(), at
            while at < len(lines) and _append(batch, lines[at]):
                at += 1
            future = await self._producer.send_batch(batch, place.topic, partition=place.partition)
            self._sent.append((place, first + began, future))

    @asynccontextmanager
    async def _patience(self, place: TopicPartition) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(3 * _TIMEOUT_MS / 1_000):
                yield
        except (KafkaError, TimeoutError, OSError) as error:
            raise ArchiveError(
                f"Kafka did not take records of {place.topic} ({type(error).__name__}); "
                "run the same command again and it goes on"
            ) from error


async def _settled(sent: Sequence[Sent]) -> None:
    for place, expected, future in sent:
        got = getattr(await future, "offset", _UNKNOWN)
        if got not in (expected, _UNKNOWN):
            raise ArchiveError(
                f"somebody else writes to {place.topic}: stop the services, and begin with a new "
                "Kafka"
            )


def _append(batch: object, line: Line) -> bool:
    """Whether there was room for it; for the first there always is."""
    appended: object = batch.append(  # type: ignore[attr-defined]
        timestamp=line.timestamp_ms, key=line.key, value=line.value, headers=list(line.headers)
    )
    return appended is not None
