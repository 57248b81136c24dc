"""What a run does: its options, and a seeded order of faults."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

SERVICES = ("intake", "triage", "notify", "reporting")
NODES = (1, 2, 3)


class Fault(StrEnum):
    """What is done to the platform. Poison is no moment but part of the load."""

    KILL_INTAKE = "kill-intake"
    KILL_TRIAGE = "kill-triage"
    KILL_NOTIFY = "kill-notify"
    KILL_REPORTING = "kill-reporting"
    KILL_BROKER = "kill-broker"
    KILL_STORE = "kill-store"
    KILL_ALL = "kill-all"
    CUT = "cut"
    SLOW = "slow"
    STORM = "storm"
    CLOCK = "clock"
    DISK = "disk"
    LOSE_TRIAGE = "lose-triage"
    LOSE_NOTIFY = "lose-notify"


KILLED_SERVICE = {
    Fault.KILL_INTAKE: "intake",
    Fault.KILL_TRIAGE: "triage",
    Fault.KILL_NOTIFY: "notify",
    Fault.KILL_REPORTING: "reporting",
}
LOST_DATABASE = {Fault.LOSE_TRIAGE: "triage", Fault.LOSE_NOTIFY: "notify"}


_OF_ONE_SERVICE = (*KILLED_SERVICE, Fault.CUT, Fault.SLOW)


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault at one target: a service, the number of a broker, or nothing."""

    fault: Fault
    target: str = ""

    @property
    def name(self) -> str:
        """What it is called in tables."""
        return f"{self.fault} {self.target}".strip()


@dataclass(frozen=True, slots=True)
class Options:
    """How a run is to be. Times in seconds, rates a second."""

    rate: float = 50.0
    least_s: float = 600.0
    """How long the load goes on at least; it ends no earlier than the last fault is over."""
    seed: int = 1
    nodes: int = 3
    kills: int = 10
    """How often each service is killed."""
    store_kills: int = 4
    cut_s: float = 30.0
    pause_s: tuple[float, float] = (1.0, 5.0)
    """Between two faults, at random between the two."""
    at_once: int = 4
    """How many services are struck at about the same time."""
    poison_share: float = 0.01
    drain_s: float = 1_800.0
    """How long the platform may take afterwards to finish what it has; it ends earlier when
    nothing moves any more."""
    only: Sequence[Fault] = field(default_factory=tuple)

    @classmethod
    def short(cls, rate: float, seed: int, only: Sequence[Fault]) -> "Options":
        """The run of `make test`: each process killed once, one broker, a small load."""
        return cls(
            rate=rate,
            least_s=15.0,
            seed=seed,
            nodes=1,
            kills=1,
            store_kills=1,
            cut_s=4.0,
            pause_s=(0.2, 0.8),
            at_once=1,
            poison_share=0.1,
            drain_s=60.0,
            only=only or (*KILLED_SERVICE, Fault.KILL_BROKER, Fault.KILL_STORE),
        )


def strikes(options: Options) -> list[Strike]:
    """The faults of a run in an order that the seed decides."""
    chosen = [
        *(Strike(fault, name) for fault, name in KILLED_SERVICE.items() for _ in _n(options.kills)),
        *_broker_kills(options),
        *(Strike(Fault.KILL_STORE) for _ in _n(options.store_kills)),
        *(Strike(Fault.CUT, name) for name in SERVICES),
        *(Strike(Fault.SLOW, name) for name in ("triage", "notify")),
        *(Strike(Fault(name)) for name in ("kill-all", "storm", "clock", "disk")),
        *(Strike(fault) for fault in LOST_DATABASE),
    ]
    if options.only:
        chosen = [one for one in chosen if one.fault in options.only]
    random.Random(options.seed).shuffle(chosen)
    return chosen


def waves(options: Options) -> list[list[Strike]]:
    """The same faults as they are struck: those of different services at about the same time,
    what strikes all of them (broker, store, disk, the number of instances) alone."""
    found: list[list[Strike]] = []
    for one in strikes(options):
        place = next((wave for wave in found if _takes(wave, one, options.at_once)), None)
        if place is None:
            found.append([one])
        else:
            place.append(one)
    return found


def _takes(wave: Sequence[Strike], one: Strike, at_once: int) -> bool:
    return (
        len(wave) < at_once
        and all(other.fault in _OF_ONE_SERVICE for other in (*wave, one))
        and all(other.target != one.target for other in wave)
    )


def _broker_kills(options: Options) -> list[Strike]:
    """Each broker once; where each service is killed once alone, one of the brokers."""
    nodes = NODES[: options.nodes]
    if options.kills == 1:
        nodes = (random.Random(options.seed).choice(nodes),)
    return [Strike(Fault.KILL_BROKER, str(number)) for number in nodes]


def _n(count: int) -> range:
    return range(count)
