"""Stories in which a service dies on a batch from the bus. Each takes the points, in order."""

from collections.abc import Sequence

import orjson

from contracts.topics import FEED_PARTITIONS, REQUESTS, dead_letters, partition_for, replies
from tests.crash.at_intake import ORDERED
from tests.crash.play import QUESTION, Case, Doing, Play

OPENED = ("request.submitted", "case.opened")
TOLD = ("delivery.planned", "citizen.told")
LEAD = "community"
"""The department that mends lamps."""
_POISON = b"{"


def opening(play: Play, points: Sequence[str]) -> None:
    """Triage opens a case and hands it over."""
    case = play.case()
    play.stand.kill("triage")
    play.submit(case)
    doing = Doing(lambda: case, "case.opened", lambda: play.stored("triage", "cases", case))
    play.dies("triage", points, doing)
    play.stand.start("triage")
    play.settled(case, ORDERED)


def supplementing(play: Play, points: Sequence[str]) -> None:
    """Triage changes two cases in one transaction."""
    first = play.case(QUESTION)
    second = play.case(QUESTION, beside=first)
    play.submit(first, second)
    for case in (first, second):
        play.settled(case, OPENED)
    play.stand.kill("triage")
    for case in (first, second):
        play.supplement(case)
    event = "case.supplemented"
    doing = Doing(lambda: first, event, lambda: play.stored("triage", "cases", first, event))
    play.dies("triage", points, doing)
    play.stand.start("triage")
    for case in (first, second):
        play.settled(case, (*OPENED, "supplement.given", event))


def parking(play: Play, points: Sequence[str]) -> None:
    """A citizen's later word is there before the case, and triage dies while it keeps it."""
    case = play.case()
    play.stand.kill("triage")
    play.supplement(case)
    play.dies("triage", points, None)
    assert len(_parked(play, case)) == 1
    play.stand.start("triage")
    play.submit(case)
    _supplemented(play, case)


def unparking(play: Play, points: Sequence[str]) -> None:
    """The case has come, and triage dies while it decides what was parked for it."""
    case = play.case()
    play.supplement(case)
    play.until(lambda: bool(_parked(play, case)), "parking")
    play.stand.kill("triage")
    play.submit(case)
    play.dies("triage", points, None)
    play.stand.start("triage")
    _supplemented(play, case)


def _parked(play: Play, case: Case) -> list[dict[str, object]]:
    return play.stand.rows("triage", "parked", {"case_no": case.case_no})


def _supplemented(play: Play, case: Case) -> None:
    more = ("supplement.given", "case.supplemented", "handoff.supplemented")
    play.settled(case, (*ORDERED, *more))
    play.until(lambda: not _parked(play, case), "unparking")


def ordering(play: Play, points: Sequence[str]) -> None:
    """Notify brings an order to its department and plans what the citizen is told."""
    case = play.case(callback=True)
    play.stand.kill("notify")
    play.submit(case)
    play.ordered(case)
    doing = Doing(lambda: case, "handoff.sent", lambda: play.stored("notify", "handoffs", case))
    play.dies("notify", points, doing)
    play.stand.start("notify")
    play.settled(case, (*ORDERED, *TOLD, *TOLD))


def signing(play: Play, points: Sequence[str]) -> None:
    """Two replies of a department change two hand-offs in one transaction."""
    first = play.case()
    second = play.case(beside=first)
    play.submit(first, second)
    for case in (first, second):
        play.settled(case, ORDERED)
    play.stand.kill("notify")
    for case in (first, second):
        handoff_id = play.handoff(case)
        reply = {"act": "sign", "reply_id": f"{case.key}-sign", "handoff_id": handoff_id}
        _write_reply(play, case, handoff_id, orjson.dumps(reply))
    event = "handoff.signed"
    doing = Doing(lambda: first, event, lambda: play.stored("notify", "handoffs", first, event))
    play.dies("notify", points, doing)
    play.stand.start("notify")
    for case in (first, second):
        play.settled(case, (*ORDERED, event))


def _write_reply(play: Play, case: Case, handoff_id: str, value: bytes) -> str:
    partition = partition_for(case.case_no, FEED_PARTITIONS)
    return play.witness.write(replies(LEAD), handoff_id.encode(), value, partition)


def poisoned_triage(play: Play, points: Sequence[str]) -> None:
    """Triage dies between a dead letter and the request behind it."""
    _poisoned_requests(play, "triage", points)


def poisoned_reporting(play: Play, points: Sequence[str]) -> None:
    """Reporting dies between a dead letter and the request behind it."""
    _poisoned_requests(play, "reporting", points)


def _poisoned_requests(play: Play, service: str, points: Sequence[str]) -> None:
    case = play.case()
    play.stand.kill(service)
    partition = partition_for(case.case_no)
    origin = play.witness.write(REQUESTS, b"poison", _POISON, partition)
    play.submit(case)
    _dies_beside(play, service, points, origin)
    play.settled(case, ORDERED)


def poisoned_notify(play: Play, points: Sequence[str]) -> None:
    """Notify dies between a dead letter and the department's reply behind it."""
    case = play.case()
    play.submit(case)
    play.settled(case, ORDERED)
    play.stand.kill("notify")
    handoff_id = play.handoff(case)
    origin = _write_reply(play, case, handoff_id, _POISON)
    reply = {"act": "sign", "reply_id": f"{case.key}-sign", "handoff_id": handoff_id}
    _write_reply(play, case, handoff_id, orjson.dumps(reply))
    _dies_beside(play, "notify", points, origin)
    play.settled(case, (*ORDERED, "handoff.signed"))


def _dies_beside(play: Play, service: str, points: Sequence[str], origin: str) -> None:
    letters, topic = play.witness.letters, dead_letters(service)
    play.stand.poison.add(origin)
    play.dies(service, points, None)
    play.until(lambda: topic in letters[origin], "the dead letter")
    play.stand.start(service)


def applying(play: Play, points: Sequence[str]) -> None:
    """Reporting applies what happened to a case while it was away."""
    case = play.case()
    play.stand.kill("reporting")
    play.submit(case)
    play.until(lambda: "handoff.sent" in play.witness.kinds(case.case_no), "the order")
    doing = Doing(lambda: case, "handoff.sent", lambda: play.stored("reporting", "cases", case))
    play.dies("reporting", points, doing)
    play.stand.start("reporting")
    play.settled(case, ORDERED)
