"""The bare version of the same road: consume, insert_many, produce, on the same broker and store.

One stage of it reads records of the size of a submission, writes one document each and sends one
record each on; nothing is decided, validated or folded.
"""

import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from services.chassis.store import Store, insert_new
from tests.bench.platform import Running

BATCH = 500


async def measure(running: Running, total: int) -> float:
    """Return records a second of one bare stage."""
    source, target = f"bare-in-{time.time_ns()}", f"bare-out-{time.time_ns()}"
    kafka_url = running.addresses.kafka_url
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url)
    await admin.start()
    await admin.create_topics([NewTopic(source, 12, 1), NewTopic(target, 12, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url, acks="all", max_batch_size=512 * 1024)
    await producer.start()
    value = b"x" * 900
    for number in range(total):
        await producer.send(source, value, str(number).encode(), number % 12)
    await producer.flush()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka_url, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    consumer.assign([TopicPartition(source, n) for n in range(12)])
    await consumer.seek_to_beginning()
    store = Store(running.addresses.mongo_url, "bare")
    collection = store.collection(source)
    done = 0
    began = time.perf_counter()
    while done < total:
        batches = await consumer.getmany(timeout_ms=200, max_records=BATCH)
        records = [record for batch in batches.values() for record in batch]
        if not records:
            continue
        rows = [{"_id": r.key.decode(), "data": r.value, "version": 1} for r in records]
        await insert_new(store, collection, rows)
        sent = [await producer.send(target, r.value, r.key, r.partition) for r in records]
        await asyncio.gather(*sent)
        done += len(records)
    took = time.perf_counter() - began
    await consumer.stop()
    await producer.stop()
    store.close()
    return total / took
