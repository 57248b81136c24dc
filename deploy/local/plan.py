"""What the supervisor is to run, as data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum


class Readiness(StrEnum):
    """How one sees that a process does its work."""

    ENDED = "ended"
    """It is a task: ready when it has ended with code 0, and not started again."""
    LISTENS = "listens"
    """Its port takes connections."""
    KAFKA = "kafka"
    """It answers Kafka's ApiVersions."""
    HTTP = "http"
    """GET /health/ready at its address is answered with 2xx."""


@dataclass(frozen=True)
class ProcessSpec:
    """One process of the platform.

    Processes of one stage start together, the next stage when all of them are ready; they are
    stopped in the reverse order. `environment` is added to that of the supervisor. `address` is
    `host:port`, or an http URL without path.
    """

    name: str
    command: Sequence[str]
    stage: int
    readiness: Readiness
    address: str | None = None
    environment: dict[str, str] = field(default_factory=dict)
    ready_within_s: float = 60.0
    grace_s: float = 10.0

    @property
    def host_and_port(self) -> tuple[str, int]:
        """Where it listens; raises ValueError for a process without an address."""
        if self.address is None:
            raise ValueError(f"{self.name} has no address")
        host, _, port = self.address.removeprefix("http://").rpartition(":")
        return host, int(port)


def to_json(plan: Sequence[ProcessSpec]) -> str:
    """A plan as text, for the supervisor's standard input."""
    return json.dumps([asdict(spec) for spec in plan])


def from_json(text: str) -> list[ProcessSpec]:
    """The plan that `to_json` wrote."""
    return [
        ProcessSpec(**{**spec, "readiness": Readiness(spec["readiness"])})
        for spec in json.loads(text)
    ]
