"""A platform of one's own on which one case is brought to its end, and all its bytes searched."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bson
import httpx
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from pymongo import MongoClient

from contracts.envelope import TICK_KEY
from contracts.profile import load_profile
from contracts.topics import CASE_TOPICS, SERVICES, TopicSpec, all_topics, dead_letters, feed
from deploy.local import control, credentials, platform
from deploy.local.folders import PlatformFolder

DEPARTMENT = "health"
_SHORT = {
    "segment.ms": "1000",
    "max.compaction.lag.ms": "1000",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "100",
    "file.delete.delay.ms": "100",
}


@dataclass(frozen=True)
class Person:
    """What must not be found any more: words that stand nowhere else."""

    text: str
    name: str
    phone: str
    address: str
    supplement: str
    note: str
    result: str
    comment: str

    @classmethod
    def of(cls, word: str, digits: str) -> Person:
        """A person whose words all hold `word`."""
        return cls(
            f"{word}要买药",
            f"{word}某",
            f"139{digits}",
            f"{word}巷十九号",
            f"{word}又说",
            f"{word}请联系",
            f"{word}已送药",
            f"{word}很好",
        )

    @property
    def markers(self) -> tuple[str, ...]:
        """All of it."""
        return tuple(vars(self).values())


def written_forms(marker: str) -> set[bytes]:
    """A marker as it may stand in a file: as it is, JSON-escaped, or inside a longer base64."""
    raw = marker.encode()
    forms = {raw, json.dumps(marker)[1:-1].encode()}
    for shift in range(3):  # without the ends, which depend on what stands beside it
        encoded = base64.b64encode(b"\0" * shift + raw)
        forms.add(encoded[4 if shift else 0 : len(encoded) - 4])
    return forms


def found_in(folder: Path, person: Person, pattern: str = "*") -> dict[str, list[str]]:
    """The files below a folder that hold a marker, with those found."""
    found: dict[str, list[str]] = {}
    forms = {marker: written_forms(marker) for marker in person.markers}
    for path in sorted(folder.rglob(pattern)):
        try:
            content = path.read_bytes() if path.is_file() else b""
        except FileNotFoundError:
            continue  # compaction has just replaced it
        own = [m for m, written in forms.items() if any(one in content for one in written)]
        if own:
            found[str(path.relative_to(folder))] = own
    return found


def stored(mongo_url: str, person: Person) -> dict[str, list[str]]:
    """The collections of all databases that hold a marker, with those found."""
    found: dict[str, list[str]] = {}
    forms = {marker: written_forms(marker) for marker in person.markers}
    with MongoClient[dict[str, Any]](mongo_url) as client:
        for name in client.list_database_names():
            if not name.startswith("jieyou"):
                continue
            for collection in client[name].list_collection_names():
                content = b"".join(bson.encode(row) for row in client[name][collection].find())
                own = [m for m, written in forms.items() if any(one in content for one in written)]
                if own:
                    found[f"{name}.{collection}"] = own
    return found


class _Callback(http.server.BaseHTTPRequestHandler):
    """The channel's receiver: it takes whatever comes."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- its base's name
        return


@contextmanager
def callback_url() -> Iterator[str]:
    """The address of a receiver of messages to citizens."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Callback)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/told"
    finally:
        server.shutdown()
        server.server_close()


def until(what: str, condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait until a condition gives something true, and return that."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"in vain: {what}"
        time.sleep(0.2)
    return found


@dataclass
class Place:
    """The running platform, and its people."""

    folder: PlatformFolder
    addresses: control.Addresses
    _clients: dict[tuple[str, str], httpx.Client] = field(default_factory=dict)

    def calls(self, service: str, kind: str, name: str) -> httpx.Client:
        """A client with the key of a person, channel or department."""
        if (service, name) not in self._clients:
            token = credentials.read_tokens(self.folder)[kind][name]
            self._clients[service, name] = httpx.Client(
                base_url=self.addresses.services[service][0],
                headers={"Authorization": f"Bearer {token}"},
                timeout=20,
                trust_env=False,
            )
        return self._clients[service, name]

    def close(self) -> None:
        """Close all clients."""
        for client in self._clients.values():
            client.close()

    def submit(self, person: Person, key: str, callback: str) -> dict[str, Any]:
        """Post a request of this person."""
        body = {
            "text": person.text,
            "category": "medical",
            "region": "411602",
            "location": {"address": person.address},
            "contact": {"name": person.name, "phone": person.phone},
            "callback_url": callback,
        }
        answer = self.calls("intake", "channel", "app").post(
            "/v1/requests", json=body, headers={"Idempotency-Key": key}
        )
        assert answer.status_code == 202, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def say(self, case: dict[str, Any], path: str, body: dict[str, Any], key: str) -> int:
        """Say something later, as the citizen."""
        answer = self.calls("intake", "channel", "app").post(
            f"/v1/requests/{case['case_no']}/{path}",
            json=body,
            headers={"Idempotency-Key": key, "Retrieval-Code": case["retrieval_code"]},
        )
        return answer.status_code

    def shown(self, case_no: str) -> dict[str, Any]:
        """The case as the desk sees it; empty before it is opened."""
        answer = self.calls("triage", "desk", "desk-1").get(f"/v1/desk/cases/{case_no}")
        document: dict[str, Any] = answer.json() if answer.status_code == 200 else {}
        return document

    def act(self, case_no: str, name: str, form: dict[str, Any], by: str = "desk-1") -> None:
        """An act of the desk."""
        answer = self.calls("triage", "desk", by).post(
            f"/v1/desk/cases/{case_no}/{name}",
            json=form,
            headers={
                "Idempotency-Key": f"{name}-{case_no}",
                "If-Match": self.shown(case_no)["view"],
            },
        )
        assert answer.status_code == 200, answer.text

    def reply(self, handoff_id: str, act: str, form: dict[str, Any]) -> int:
        """A reply of the department, by HTTP."""
        answer = self.calls("notify", "department", DEPARTMENT).post(
            f"/v1/handoffs/{handoff_id}/{act}",
            json=form,
            headers={"Idempotency-Key": f"{act}-{handoff_id}"},
        )
        return answer.status_code

    def bring_to_its_end(self, case: dict[str, Any], person: Person) -> None:
        """Supplement, hand-off, result, rating, closing."""
        case_no = case["case_no"]
        until("the case is open", lambda: self.shown(case_no))
        assert self.say(case, "supplements", {"text": person.supplement}, "more") == 202
        until("the supplement is there", lambda: self.shown(case_no).get("supplements"))
        if self.shown(case_no)["phase"] == "open":
            self.act(case_no, "handoff", {"department": DEPARTMENT, "note": person.note})
        handoff_id = until("it is ordered", lambda: self._lead(case_no))
        result = {
            "text": person.result,
            "acts": person.result,
            "acted_at": "2022-01-18T15:20:00+08:00",
            "contact": "医政科",
        }
        until("the result is taken", lambda: self.reply(handoff_id, "result", result) == 200)
        until("it is told", lambda: self.shown(case_no)["phase"] == "finished")
        rating = {"level": 5, "solved": True, "comment": person.comment}
        assert self.say(case, "rating", rating, "rate") == 202
        until("it is rated", lambda: self._is_rated(case_no))
        until("it is closed", lambda: self.shown(case_no)["phase"] == "closed")

    def _lead(self, case_no: str) -> str | None:
        for order in self.shown(case_no).get("orders", ()):
            if order["department"] == DEPARTMENT:
                return str(order["handoff_id"])
        return None

    def _is_rated(self, case_no: str) -> bool:
        case = self.shown(case_no)
        if case["phase"] == "closed":
            return True
        if any(task["kind"] == "visit" for task in case["tasks"]):
            rating = {"level": 5, "solved": True, "comment": "好"}
            self.act(case_no, "visit", {"by": "telephone", "rating": rating}, by="desk-2")
        return False

    def figures(self) -> Any:
        """All figures, with the recount's word that they are equal to it."""
        calls = self.calls("reporting", "operator", "operator-1")
        recount = calls.get("/v1/recount", timeout=60)
        assert recount.status_code == 200, recount.text
        found = [
            calls.get("/v1/figures", params={"by": by}).json() for by in ("category", "region")
        ]
        for figures in found:
            figures.pop("as_of")
        return found

    async def roll(self) -> None:
        """Do at once what the services do once in a while: write on, so that segments roll."""
        profile = load_profile("zhoukou")
        feeds = [feed(one.code) for one in profile.departments]
        quiet = [*feeds, *(dead_letters(service) for service in SERVICES)]
        async with AIOKafkaProducer(bootstrap_servers=self.addresses.kafka_url) as producer:
            for topic in (*CASE_TOPICS, *quiet):
                value = b"{}" if topic in CASE_TOPICS else None
                for number in await producer.partitions_for(topic):
                    await producer.send(topic, value, TICK_KEY, number)
            await producer.flush()

    async def shorten(self) -> None:
        """Let Kafka roll and compact within seconds instead of hours."""
        specs = all_topics(one.code for one in load_profile("zhoukou").departments)
        admin = AIOKafkaAdminClient(bootstrap_servers=self.addresses.kafka_url)
        await admin.start()
        try:
            await admin.alter_configs([_shortened(spec) for spec in specs])
        finally:
            await admin.close()


def _shortened(spec: TopicSpec) -> ConfigResource:
    config = dict(spec.config)
    if "compact" in config["cleanup.policy"]:
        config.update(_SHORT)
    return ConfigResource(ConfigResourceType.TOPIC, spec.name, config)


@contextmanager
def started(folder: PlatformFolder) -> Iterator[Place]:
    """A platform of its own, stopped at the end."""
    control.start(folder, platform.plan(folder, platform.PlatformOptions(on_usual_ports=False)))
    place = Place(folder, control.addresses(folder))
    try:
        yield place
    finally:
        place.close()
        control.stop(folder)
