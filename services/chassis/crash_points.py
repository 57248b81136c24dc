"""Places where a process can be told to kill itself, so that tests see what it leaves behind.

For tests alone. `JIEYOU_CRASH_AT` names one point, or several with commas; `name:3` means the third
time that it is passed. The process then ends by SIGKILL at that very place: nothing is flushed,
closed or answered. A process that is told nothing pays one look into an empty dictionary.
"""

import os
import signal

VARIABLE = "JIEYOU_CRASH_AT"

POINTS: dict[str, str] = {
    # Intake accepts.
    "intake.numbered": "the record has its number; it stands nowhere",
    "intake.stored": "the record is stored; it is not on the log",
    "intake.published": "the log has acknowledged the event; the client has no answer",
    "intake.spooled": "the record is stored and the bus took nothing; the client has no answer",
    "intake.repeated": "a repeated key was found in the store; its event was not published again",
    # Intake publishes what waits.
    "intake.drained": "the spool's records are on the log; this process does not know it yet",
    "intake.drain_noted": "the spool is empty; the progress written down is the old one",
    "intake.progress_written": "the progress of this process is written down",
    "intake.run_claimed": "a dead process's run is claimed; nothing of it was published",
    "intake.run_published": "a part of the run is on the log; its progress is not written down",
    "intake.run_progress_written": "that progress is written down; the run is not finished",
    # A handler works through a batch.
    "batch.decided": "everything is decided in memory; nothing is written",
    "unit.inserted": "new documents of one kind stand; those of the next kind do not",
    "unit.written": "all changes stand in the transaction; it is not committed",
    "batch.saved": "the documents stand; nothing is published",
    "bus.acknowledged_first": "one record is acknowledged; of those after it nothing is known",
    "batch.published": "all is published; the offsets are not committed",
    "triage.parked": "wishes without a case are parked; the offsets are not committed",
    "batch.handled": "the handler is through; the offsets are not committed",
    "dead_letters.put": "the dead letter is acknowledged; the batch has not gone on",
    # Commands, deadlines, outcomes of deliveries and what follows from groups: save, publish, mark.
    "pending.saved": "the events stand in their documents, pending; none is published",
    "pending.published": "the events are on the log; their documents still say pending",
    "pending.marked": "all is done; the caller has no answer",
    "relay.published": "the relay has published what was pending; it is not marked so",
    "sweep.decided": "what deadlines mean is decided in memory; nothing is written",
    # The sender delivers.
    "delivery.leased": "due deliveries are leased to this process; none was sent",
    "delivery.posted": "the receiver has answered; that is written nowhere",
    "delivery.put_off": "a failed attempt is noted with the time of the next",
    # Triage follows groups and parked wishes.
    "groups.member_followed": "one member has the group's events; the next has not",
    "groups.fanned_out": "all members have them; the group is not marked so",
    "unpark.decided": "a parked wish is decided and published; it is still parked",
    # Reporting applies a batch.
    "reporting.computed": "cases and figures are computed; nothing is written",
    "reporting.written": "all stands in the transaction; it is not committed",
    "reporting.applied": "the batch is applied; Kafka's offsets are not committed",
}
"""What has been done at each point, and what has not."""

_armed: dict[str, int] = {}


class UnknownPoint(ValueError):
    """`JIEYOU_CRASH_AT` names a point that there is not, or no number of times; one line."""


def arm() -> None:
    """Read the environment, once, before anything starts. Raises UnknownPoint."""
    _armed.clear()
    for written in os.environ.get(VARIABLE, "").replace(" ", "").split(","):
        if not written:
            continue
        name, _, times = written.partition(":")
        if name not in POINTS:
            raise UnknownPoint(f"{VARIABLE}: there is no {name}, only {', '.join(sorted(POINTS))}")
        if times and (not times.isdecimal() or int(times) == 0):
            raise UnknownPoint(f"{VARIABLE}: {name}:{times}: the times must be 1 or more")
        _armed[name] = int(times or 1)


def armed() -> tuple[str, ...]:
    """Return the names of what is armed."""
    return tuple(_armed)


def crash_point(name: str) -> None:
    """Kill this process here, if it was told to and has come by as often as it was told."""
    if name not in _armed:
        return
    _armed[name] -= 1
    if _armed[name] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
