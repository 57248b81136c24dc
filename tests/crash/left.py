"""What each crash point leaves, so that a test knows that its process died in the right place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Left:
    """What a dead process has left of what it was doing: None where it may be either."""

    stored: bool | None = None
    logged: bool | None = None


LEFT = {
    "intake.numbered": Left(stored=False, logged=False),
    "intake.stored": Left(stored=True, logged=False),
    "intake.published": Left(stored=True, logged=True),
    "intake.spooled": Left(stored=True, logged=False),
    "intake.repeated": Left(stored=True),
    "intake.drained": Left(stored=True, logged=True),
    "intake.drain_noted": Left(stored=True, logged=True),
    "intake.run_claimed": Left(stored=True, logged=False),
    "intake.run_published": Left(stored=True, logged=True),
    "intake.run_progress_written": Left(stored=True, logged=True),
    "batch.decided": Left(stored=False, logged=False),
    "unit.inserted": Left(stored=True, logged=False),
    "unit.written": Left(stored=False, logged=False),
    "batch.saved": Left(stored=True, logged=False),
    "bus.acknowledged_first": Left(stored=True),
    "batch.published": Left(stored=True, logged=True),
    "batch.handled": Left(stored=True, logged=True),
    "pending.saved": Left(stored=True, logged=False),
    "pending.published": Left(stored=True, logged=True),
    "pending.marked": Left(stored=True, logged=True),
    "relay.published": Left(stored=True, logged=True),
    "sweep.decided": Left(stored=False, logged=False),
    "delivery.leased": Left(stored=False, logged=False),
    "delivery.posted": Left(stored=False, logged=False),
    "delivery.put_off": Left(stored=False, logged=False),
    "reporting.computed": Left(stored=False),
    "reporting.written": Left(stored=False),
    "reporting.applied": Left(stored=True),
}
