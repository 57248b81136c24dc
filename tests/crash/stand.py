"""One platform for all crash points: broker and store stand, services come and are killed."""

import os
import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml
from pymongo import MongoClient

from contracts.profile import SHIPPED, Profile, load_profile
from deploy.local import control, launch, platform, store
from deploy.local.credentials import CASE_SECRET, CODE_SECRET, WEBHOOK_SECRET, read_tokens
from deploy.local.folders import PlatformFolder
from services.chassis.crash_points import VARIABLE
from services.notify.domain.webhooks import printed, receiver_key
from tests.crash.nursery import Nursery
from tests.crash.witness import Witness

SERVICES = ("intake", "triage", "notify", "reporting")
CHANNEL, HOTLINE = "app", "hotline-12345"
NOWHERE = "127.0.0.1:1"
"""An address at which nothing answers."""
_LOOK_S = 0.03
_NEAR_SHARE = 0.03
_LEASE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one client, to be made as often as it takes. `who`: the kind and name of a key."""

    service: str
    path: str
    body: Any = field(repr=False)
    key: str
    who: tuple[str, str] | None = None
    code: str | None = field(default=None, repr=False)


class Stand:
    """The platform. A service runs at most once; who calls one that is dead calls again."""

    def __init__(self, root: Path) -> None:
        self.folder = PlatformFolder(root)
        self.folder.create()
        profile_file = _with_short_clock(root / "profile.yaml")
        self.profile: Profile = load_profile(profile_file)
        self.witness = Witness(one.code for one in self.profile.departments)
        options = platform.PlatformOptions(str(profile_file), on_usual_ports=False)
        plan = platform.plan(self.folder, options)
        self._specs = {
            one.name.removesuffix("-1"): one
            for one in plan
            if one.name.removesuffix("-1") in SERVICES
        }
        self._basis = [one for one in plan if one not in self._specs.values()]
        self._alive: dict[str, int] = {}
        self._closing = ExitStack()
        self.mongo_url = self.kafka_url = ""
        self.poison: set[str] = set()
        """Origins of the records that tests have written to be put aside."""

    def open(self) -> None:
        """Start broker, store and all services."""
        self._closing.callback(control.stop, self.folder)
        control.start(self.folder, self._basis)
        addresses = control.addresses(self.folder)
        self.kafka_url, self.mongo_url = addresses.kafka_url, addresses.mongo_url
        self._mongo: MongoClient[dict[str, Any]] = MongoClient(self.mongo_url)
        self._closing.callback(self._mongo.close)
        self._closing.callback(self.witness.close)
        self.witness.start(self.kafka_url, self._keys())
        self._nursery = Nursery()
        self._closing.callback(self._nursery.close)
        for service in SERVICES:
            self.start(service)

    def close(self) -> None:
        """End everything that was started."""
        self._closing.close()

    def secret(self, name: str) -> bytes:
        """One of the platform's secrets."""
        return bytes.fromhex((self.folder.secrets / name).read_text("ascii").strip())

    @property
    def case_secret(self) -> bytes:
        """The secret of the case numbers."""
        return self.secret(CASE_SECRET)

    @property
    def code_secret(self) -> bytes:
        """The secret of the retrieval codes."""
        return self.secret(CODE_SECRET)

    def all_alive(self) -> None:
        """Start what does not run: what a failed test has left dead must not fail the next one."""
        for service in SERVICES:
            if service in self._alive and self.has_ended(service):
                del self._alive[service]
            if service not in self._alive:
                self.start(service)

    def start(self, service: str, crash_at: str = "", **environment: str) -> None:
        """Start a service; with `crash_at` it kills itself there."""
        if service in self._alive:
            raise RuntimeError(f"{service} runs")
        spec = self._specs[service]
        told = {**spec.environment, **self._told(service), **environment, VARIABLE: crash_at}
        log_file = self.folder.logs / f"{service}.log"
        self._alive[service] = self._nursery.start(service, told, log_file)

    def kill(self, service: str) -> None:
        """kill -9 a service."""
        os.kill(self._alive[service], signal.SIGKILL)
        self.end_of(service)

    def end_of(self, service: str, within_s: float = 60.0) -> int:
        """Wait for the end of a service; return its exit code.

        What it left open in the store is ended as the supervisor does it when one has died.
        """
        pid = self._alive[service]
        give_up = time.monotonic() + within_s
        while (code := self._nursery.ended(pid)) is None:
            assert time.monotonic() < give_up, f"{service} passed its crash point nowhere"
            time.sleep(_LOOK_S)
        del self._alive[service]
        store.end_open_transactions(int(self.mongo_url.rpartition(":")[2].partition("/")[0]))
        return code

    def has_ended(self, service: str) -> bool:
        """Whether a service runs no more."""
        return service not in self._alive or self._nursery.ended(self._alive[service]) is not None

    def is_ready(self, service: str) -> bool:
        """Whether a service says that it is ready, and so has found bus and store."""
        return launch.answers_ok(f"{self._specs[service].address}/health/ready")

    def post(self, call: Call) -> httpx.Response | None:
        """Call once; None without an answer, or with one that says "later"."""
        sent = {"Idempotency-Key": call.key}
        if call.code is not None:
            sent["Retrieval-Code"] = call.code
        if call.who is not None:
            kind, name = call.who
            sent["Authorization"] = f"Bearer {read_tokens(self.folder)[kind][name]}"
        url = f"{self._specs[call.service].address}{call.path}"
        try:
            with httpx.Client(trust_env=False, timeout=15.0) as client:
                answer = client.post(url, json=call.body, headers=sent)
        except httpx.HTTPError:
            return None
        return None if answer.status_code >= 500 else answer

    def get(self, service: str, path: str, token: tuple[str, str]) -> dict[str, Any]:
        """Ask until there is an answer."""
        kind, name = token
        headers = {"Authorization": f"Bearer {read_tokens(self.folder)[kind][name]}"}
        give_up = time.monotonic() + 30
        while True:
            try:
                with httpx.Client(trust_env=False, timeout=15.0, headers=headers) as client:
                    answer = client.get(f"{self._specs[service].address}{path}")
                    document: dict[str, Any] = answer.raise_for_status().json()
                    return document
            except httpx.HTTPError:
                assert time.monotonic() < give_up, f"{service} answers nothing"
                time.sleep(_LOOK_S)

    def rows(self, service: str, collection: str, where: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What stands in a service's database."""
        return list(self._mongo[f"jieyou_{service}"][collection].find(where))

    def _keys(self) -> dict[str, str]:
        secret = self.secret(WEBHOOK_SECRET)
        return {
            CHANNEL: printed(receiver_key(secret, "channel", CHANNEL)),
            HOTLINE: printed(receiver_key(secret, "department", HOTLINE)),
        }

    def _told(self, service: str) -> dict[str, str]:
        if service != "notify":
            return {}
        return {
            "JIEYOU_DEPARTMENT_URLS": f'{{"{HOTLINE}": "{self.witness.url(HOTLINE)}"}}',
            "JIEYOU_LEASE_SECONDS": str(_LEASE_SECONDS),
            "JIEYOU_SCAN_SECONDS": "0.3",
            "JIEYOU_FIRST_RETRY_SECONDS": "0.3",
        }


def _with_short_clock(path: Path) -> Path:
    """Zhoukou's profile, but a red case's first clock is near its end after two seconds."""
    content = yaml.safe_load((SHIPPED / "zhoukou.yaml").read_text("utf-8"))
    content["tiers"]["red"]["clocks"] |= {"seen": 1, "judged": 1, "near_share": _NEAR_SHARE}
    path.write_text(yaml.safe_dump(content, allow_unicode=True), "utf-8")
    return path
