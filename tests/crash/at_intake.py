"""Stories in which intake dies. Each takes the points at which it does, one after another."""

from collections.abc import Sequence

from tests.crash.play import Case, Doing, Play
from tests.crash.stand import NOWHERE

ORDERED = ("request.submitted", "case.opened", "handoff.ordered", "handoff.sent")


def _request(play: Play, case: Case) -> Doing:
    return Doing(lambda: case, "request.submitted", lambda: _is_recorded(play, case))


def _is_recorded(play: Play, case: Case) -> bool:
    return play.stored("intake", "records", case)


def asking(play: Play, points: Sequence[str]) -> None:
    """A client asks and gets no answer; it asks again with its key, and gets the same case.

    Intake takes requests before it has found the bus, and they go another way: so one asks after
    the other, and the last one gets no answer.
    """
    asked: list[Case] = []

    def ask_anew() -> None:
        asked.append(play.case())
        play.ask_once(asked[-1])

    last = Doing(lambda: asked[-1], "request.submitted", lambda: _is_recorded(play, asked[-1]))
    is_at_the_clients_word = not points[0].startswith("intake.progress_written")
    play.dies_uncalled("intake", points[0], ask_anew, last if is_at_the_clients_word else None)
    for point in points[1:]:
        play.stand.start("intake", point)
        while not play.stand.has_ended("intake"):
            play.ask_once(asked[-1])
        play.killed_itself("intake")
        play.check_left(point, last)
    play.stand.start("intake")
    for case in asked:
        play.submit(case)
        play.submit(case)
        play.settled(case, ORDERED)


def asking_with_the_store_away(play: Play, points: Sequence[str]) -> None:
    """Intake dies when the log alone has the request; the client asks again with the store back."""
    case = play.case()
    url = f"mongodb://{NOWHERE}/"
    play.dies_uncalled("intake", points[-1], lambda: play.ask_once(case), JIEYOU_MONGO_URL=url)
    play.stand.start("intake")
    play.submit(case)
    play.settled(case, ORDERED)


def spooling(play: Play, points: Sequence[str]) -> None:
    """The bus is away; intake dies before it says that the spool has the request. The next process
    publishes it, even if the client never comes back; here it does in the end."""
    case = play.case()
    asking_once, doing = (lambda: play.ask_once(case)), _request(play, case)
    play.dies_uncalled("intake", points[-1], asking_once, doing, JIEYOU_KAFKA_URL=NOWHERE)
    play.stand.start("intake")
    play.settled(case, ORDERED)
    play.submit(case)
    play.settled(case, ORDERED)


def draining(play: Play, points: Sequence[str]) -> None:
    """The bus comes back, and intake dies while it publishes what waited for it."""
    case = play.case()
    play.stand.kill("intake")
    with play.witness.closed_door(play.stand.kafka_url) as (address, open_door):
        play.stand.start("intake", points[-1], JIEYOU_KAFKA_URL=address)
        play.submit(case)
        open_door()
        play.killed_itself("intake")
    play.check_left(points[-1], _request(play, case))
    play.stand.start("intake")
    play.settled(case, ORDERED)


def taking_over(play: Play, points: Sequence[str]) -> None:
    """Intake dies with a stored request, and again while the next one publishes it after all."""
    case = play.case()
    play.dies_uncalled("intake", points[0], lambda: play.ask_once(case), _request(play, case))
    play.dies("intake", points[1:], _request(play, case))
    play.stand.start("intake")
    play.settled(case, ORDERED)
