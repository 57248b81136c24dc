"""Every service is killed between every two of its steps, and the outcome is right.

One platform for the whole file; at each crash point a service kills itself in the middle of one
case, comes back, and the case is looked at: the client has the same number, every event stands on
the log once in effect and with one content, nothing is missing, receivers got each thing once.
At the end all cases together are audited and counted.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest

from deploy.audit import run_audit
from services.chassis.crash_points import POINTS
from tests.chaos import recount
from tests.crash import at_documents, at_handlers, at_intake
from tests.crash.play import Play
from tests.crash.stand import Stand
from tests.servers.own import for_a_platform

Story = Callable[[Play, Sequence[str]], None]

_BATCH = (
    *("batch.decided", "unit.inserted", "batch.saved"),
    *("bus.acknowledged_first", "batch.published", "batch.handled"),
)
_PENDING = ("pending.saved", "pending.published", "pending.marked")
_AND_RELAY = ("pending.saved", "relay.published")


@dataclass(frozen=True, slots=True)
class Death:
    """A story, and the points at which its service dies, one after another."""

    story: Story
    points: tuple[str, ...]

    @property
    def name(self) -> str:
        """The point that it is about, and the story."""
        return f"{self.points[-1]}-{self.story.__name__}"


def _each(story: Story, *points: str) -> list[Death]:
    return [Death(story, (point,)) for point in points]


DEATHS = [
    *_each(at_intake.asking, "intake.numbered", "intake.stored", "intake.published"),
    Death(at_intake.asking, ("intake.progress_written:2",)),
    Death(at_intake.asking, ("intake.stored", "intake.repeated")),
    Death(at_intake.asking_with_the_store_away, ("intake.published",)),
    *_each(at_intake.spooling, "intake.spooled"),
    *_each(at_intake.draining, "intake.drained", "intake.drain_noted"),
    Death(at_intake.taking_over, ("intake.stored", "intake.run_claimed")),
    Death(at_intake.taking_over, ("intake.stored", "intake.run_published")),
    Death(at_intake.taking_over, ("intake.stored", "intake.run_progress_written")),
    *_each(at_handlers.opening, *_BATCH),
    *_each(at_handlers.supplementing, "unit.written"),
    *_each(at_handlers.poisoned_triage, "dead_letters.put"),
    *_each(at_handlers.parking, "triage.parked"),
    *_each(at_handlers.unparking, "pending.saved", "unpark.decided"),
    *_each(at_handlers.ordering, *_BATCH),
    *_each(at_handlers.signing, "unit.written"),
    *_each(at_handlers.poisoned_notify, "dead_letters.put"),
    *_each(at_documents.answering, *_PENDING),
    Death(at_documents.answering, _AND_RELAY),
    *_each(at_documents.replying, *_PENDING),
    Death(at_documents.replying, _AND_RELAY),
    *_each(at_documents.sweeping, "sweep.decided", *_PENDING),
    *_each(at_documents.telling, "delivery.posted", "delivery.put_off", *_PENDING),
    Death(at_documents.telling, ("delivery.posted", "delivery.leased")),
    *_each(at_documents.handing_over, "delivery.posted", "pending.saved", "pending.published"),
    *_each(at_documents.grouping, "pending.saved:2", "groups.member_followed", "groups.fanned_out"),
    *_each(at_documents.settling_a_group, "pending.saved:2", "groups.member_followed"),
    *_each(at_handlers.applying, "reporting.computed", "reporting.written", "reporting.applied"),
    *_each(at_handlers.applying, "batch.handled"),
    *_each(at_handlers.poisoned_reporting, "dead_letters.put"),
]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The one platform."""
    folder = tmp_path_factory.mktemp("crash")
    with for_a_platform(folder / "servers"):
        made = Stand(folder / "platform")
        try:
            made.open()
            yield made
        finally:
            made.close()


def test_no_point_is_left_out() -> None:
    assert {point.partition(":")[0] for one in DEATHS for point in one.points} == set(POINTS)


@pytest.mark.parametrize("death", DEATHS, ids=[one.name for one in DEATHS])
def test_killed_at(death: Death, stand: Stand) -> None:
    stand.all_alive()
    death.story(Play(stand), death.points)


def test_afterwards_the_audit_is_clean_and_every_figure_equals_a_recount(stand: Stand) -> None:
    stand.all_alive()
    audit = asyncio.run(run_audit(stand.kafka_url, stand.mongo_url))
    assert audit.accepted > 0
    missing = [one for one in audit.missing if one.what.partition(" ")[0] not in stand.poison]
    assert (missing, audit.double, audit.parked, audit.open_wishes) == ([], (), (), ())
    assert {one.origin for one in audit.dead_letters} <= stand.poison

    counted: Counter[str] = Counter()
    for case_no in list(stand.witness.events):
        recount.count(counted, stand.witness.state(case_no))
    give_up = time.monotonic() + 30
    while differences := recount.differences(_figures(stand), counted):
        assert time.monotonic() < give_up, differences
        time.sleep(0.2)


def _figures(stand: Stand) -> dict[str, int]:
    totals = stand.get("reporting", "/v1/figures", ("operator", "operator-1"))["totals"]
    return {**totals, **totals["handoffs"]}
