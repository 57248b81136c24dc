"""A department's client: reads its feed, keeps the newest version of each hand-off, signs for it.

    python examples/department_consumer.py --kafka 127.0.0.1:9092 --department health

It needs aiokafka alone and nothing of this project, so that it can be taken as it stands. What a
department does next (its own screen, its own workflow) begins at `Inbox.open_handoffs`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sqlite3
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

OPEN = frozenset({"queued", "sent", "signed", "in_progress", "undeliverable"})
Handoff = dict[str, Any]


class Inbox:
    """The newest version of every hand-off, in a file: what comes twice or late changes nothing."""

    def __init__(self, path: str) -> None:
        self._file = sqlite3.connect(path)
        self._file.execute(
            "CREATE TABLE IF NOT EXISTS handoffs (id TEXT PRIMARY KEY, version INT, document TEXT)"
        )

    def take(self, handoff: Handoff) -> bool:
        """Keep a hand-off, on disk when this returns; False if it is known in this or a later
        version. One whose citizen is erased replaces its own version too: no copy stays."""
        is_erased = bool(handoff.get("erased"))
        row = (handoff["handoff_id"], handoff["version"], json.dumps(handoff), is_erased)
        with self._file:
            changed = self._file.execute(
                "INSERT INTO handoffs VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE"
                " SET version = excluded.version, document = excluded.document"
                " WHERE excluded.version > handoffs.version OR (?"
                " AND excluded.version = handoffs.version"
                " AND excluded.document <> handoffs.document)",
                row,
            )
        return changed.rowcount == 1

    def open_handoffs(self) -> list[Handoff]:
        """Return what the department still owes, the one due first at the top."""
        rows = self._file.execute("SELECT document FROM handoffs")
        known = [json.loads(document) for (document,) in rows]
        still_open = [handoff for handoff in known if handoff["state"] in OPEN]
        return sorted(still_open, key=lambda one: one.get("result_due_at") or one["ordered_at"])

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def reply(handoff: Handoff, act: str, reply_id: str, **said: Any) -> bytes:
    """Return a reply as it stands on `replies.<department>.v1`. The same id again does nothing."""
    document = {"act": act, "reply_id": reply_id, "handoff_id": handoff["handoff_id"], **said}
    return json.dumps(document, ensure_ascii=False).encode()


async def run(kafka: str, department: str, inbox: Inbox) -> None:
    """Read the feed until cancelled. An offset is committed after all before it is done."""
    consumer = AIOKafkaConsumer(
        f"feed.{department}.v1",
        bootstrap_servers=kafka,
        group_id=f"{department}-inbox",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    producer = AIOKafkaProducer(bootstrap_servers=kafka, acks="all")
    async with consumer, producer:
        async for record in consumer:
            if record.value is not None:
                await _take(json.loads(record.value), inbox, producer, department)
            await consumer.commit()


async def _take(
    handoff: Handoff, inbox: Inbox, producer: AIOKafkaProducer, department: str
) -> None:
    if inbox.take(handoff):
        # No names, telephone numbers or texts here: what is printed ends up in log files.
        print(handoff["case_no"], handoff["tier"], handoff["state"], handoff.get("result_due_at"))
    if handoff["state"] == "sent":  # also when it comes again: perhaps we died before signing
        signed = reply(handoff, "sign", reply_id=f"sign-{handoff['handoff_id']}")
        key = handoff["handoff_id"].encode()
        await producer.send_and_wait(f"replies.{department}.v1", signed, key)


def main() -> None:
    """Read the command line and run."""
    options = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else None)
    options.add_argument("--kafka", default="127.0.0.1:9092", help="host:port[,host:port]")
    options.add_argument("--department", required=True, help="the department's code")
    options.add_argument("--file", default="inbox.sqlite", help="where hand-offs are kept")
    chosen = options.parse_args()
    inbox = Inbox(chosen.file)
    with contextlib.suppress(KeyboardInterrupt), contextlib.closing(inbox):
        asyncio.run(run(chosen.kafka, chosen.department, inbox))


if __name__ == "__main__":
    main()
