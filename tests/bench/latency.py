"""Accept → department feed, open loop: from the moment a request was due to be sent to the
moment its hand-off can be read from the feed."""

import asyncio
import time
from dataclasses import dataclass

import httpx
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from contracts import topics
from contracts.profile import load_profile
from tests.bench.lifecycles import TEXT
from tests.bench.platform import Running


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds, of all requests that were sent."""

    sent: int
    arrived: int
    p50_ms: float
    p99_ms: float
    longest_ms: float


async def measure(running: Running, per_second: float, seconds: float) -> Latency:
    """Send requests at a fixed rate, whether or not earlier ones were answered."""
    total = int(per_second * seconds)
    due: dict[str, float] = {}
    arrived: dict[str, float] = {}
    feeds = [topics.feed(d.code) for d in load_profile("zhoukou").departments]
    consumer = AIOKafkaConsumer(
        bootstrap_servers=running.addresses.kafka_url,
        enable_auto_commit=False,
        fetch_max_wait_ms=20,
    )
    await consumer.start()
    consumer.assign([TopicPartition(f, n) for f in feeds for n in range(topics.FEED_PARTITIONS)])
    await consumer.seek_to_end()
    await consumer.getmany(timeout_ms=500)

    async def read() -> None:
        while True:
            for records in (await consumer.getmany(timeout_ms=50)).values():
                now = time.perf_counter()
                for record in records:
                    arrived.setdefault(orjson.loads(record.value)["case_no"], now)

    reading = asyncio.create_task(read())
    limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    headers = running.key("channel", "app")
    async with httpx.AsyncClient(
        base_url=running.url("intake"), headers=headers, limits=limits, timeout=30
    ) as client:

        async def send(number: int, at: float) -> None:
            body = {"text": f"{TEXT}（{number}号楼）", "region": "411603", "category": "other"}
            answer = await client.post(
                "/v1/requests",
                json=body,
                headers={"Idempotency-Key": f"latency-{per_second}-{number}-{at}"},
            )
            answer.raise_for_status()
            due[answer.json()["case_no"]] = at

        sending: list[asyncio.Task[None]] = []
        began = time.perf_counter()
        for number in range(total):
            at = began + number / per_second
            await asyncio.sleep(max(0.0, at - time.perf_counter()))
            sending.append(asyncio.create_task(send(number, at)))
        await asyncio.gather(*sending)
    for _ in range(100):
        if due.keys() <= arrived.keys():
            break
        await asyncio.sleep(0.1)
    reading.cancel()
    await consumer.stop()
    took = sorted((arrived[c] - at) * 1_000 for c, at in due.items() if c in arrived)
    return Latency(
        sent=len(due),
        arrived=len(took),
        p50_ms=took[len(took) // 2],
        p99_ms=took[min(len(took) - 1, int(len(took) * 0.99))],
        longest_ms=took[-1],
    )
