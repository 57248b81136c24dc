"""Stories in which a service dies on what it saves, publishes and marks by itself: commands,
deadlines, deliveries, groups. Each takes the points at which it does, one after another."""

from collections.abc import Mapping, Sequence

from tests.crash.at_handlers import LEAD, OPENED, TOLD
from tests.crash.at_intake import ORDERED
from tests.crash.play import DANGER, DESK, QUESTION, Case, Doing, Play
from tests.crash.stand import HOTLINE, Call

_ANSWER = {"text": "返乡人员需居家健康监测七天。"}
_ENDED = ("case.answered", "citizen.told", "case.finished")
"""What an answer leads to where the citizen left no address: being there to be read is telling."""
ANSWERED = (*OPENED, *_ENDED)


def answering(play: Play, points: Sequence[str]) -> None:
    """A clerk answers and hears nothing; the clerk sends the same once more."""
    case = _opened(play)
    event = "case.answered"
    doing = Doing(lambda: case, event, lambda: play.stored("triage", "cases", case, event))
    _commanding(play, points, play.at_desk(case, "answer", _ANSWER), doing)
    play.settled(case, ANSWERED)


def replying(play: Play, points: Sequence[str]) -> None:
    """A department signs by HTTP and hears nothing; it sends the same once more."""
    case = play.case()
    play.submit(case)
    play.settled(case, ORDERED)
    event = "handoff.signed"
    doing = Doing(lambda: case, event, lambda: play.stored("notify", "handoffs", case, event))
    path = f"/v1/handoffs/{play.handoff(case)}/sign"
    sign = Call("notify", path, {}, f"{case.key}-sign", ("department", LEAD))
    _commanding(play, points, sign, doing)
    play.settled(case, (*ORDERED, event))


def _commanding(play: Play, points: Sequence[str], call: Call, doing: Doing) -> None:
    """Who commands calls again at once, or, where the relay is to publish it, much later."""
    if len(points) == 1:
        play.dies_when(call.service, points[0], lambda: play.call(call), doing)
    else:
        play.dies_uncalled(call.service, points[0], lambda: play.stand.post(call), doing)
        play.dies(call.service, points[1:], doing)
        play.stand.start(call.service)
    for _ in range(2):
        play.call(call)


def sweeping(play: Play, points: Sequence[str]) -> None:
    """A clock of a red case comes near its end: it must be judged."""
    case = play.case(DANGER)
    event = "case.deadline_fired"
    doing = Doing(lambda: case, event, lambda: play.stored("triage", "cases", case, event))
    play.stand.kill("triage")
    play.submit(case)
    play.dies("triage", points, doing)
    play.stand.start("triage")
    play.until(lambda: event in play.witness.kinds(case.case_no), "the deadline")
    play.call(play.at_desk(case, "judge", {"opinion": "经研判，维持当前等级。"}))  # ends the clock
    handed = ("handoff.ordered", "handoff.queued", "handoff.undeliverable", "desk.asked")
    play.settled(case, (*OPENED, *handed, event, "case.judged"))


def telling(play: Play, points: Sequence[str]) -> None:
    """Notify calls the channel back."""
    case = play.case(QUESTION, callback=True)
    event = "citizen.told"
    doing = Doing(lambda: case, event, lambda: play.stored("notify", "deliveries", case, event))
    if points[-1] == "delivery.put_off":
        play.witness.failing.add(case.case_no)
    play.stand.kill("notify")
    play.submit(case)
    play.until(lambda: "case.opened" in play.witness.kinds(case.case_no), "the opening")
    play.dies("notify", points, doing)
    play.stand.start("notify")
    play.settled(case, (*OPENED, *TOLD))


def handing_over(play: Play, points: Sequence[str]) -> None:
    """Notify posts an order to a hotline."""
    case = _opened(play)
    event = "handoff.sent"
    doing = Doing(lambda: case, event, lambda: play.stored("notify", "handoffs", case, event))
    play.stand.kill("notify")
    play.call(play.at_desk(case, "handoff", {"department": HOTLINE}))
    play.dies("notify", points, doing)
    play.stand.start("notify")
    delivered = ("delivery.planned", "delivery.taken", event)
    play.settled(case, (*OPENED, "handoff.ordered", "handoff.queued", *delivered))
    assert len(play.witness.told(case.case_no)) == 1


def grouping(play: Play, points: Sequence[str]) -> None:
    """The desk forms a group, and triage dies on the way to its members."""
    anchor, member = _opened(play), _opened(play)
    play.dies_when("triage", points[0], lambda: _form(play, anchor, member))
    _settled_as_group(play, anchor, member, ())


def settling_a_group(play: Play, points: Sequence[str]) -> None:
    """The anchor is answered, and triage dies on the way from it to the group and its members."""
    anchor, member = _opened(play), _opened(play)
    _form(play, anchor, member)
    _settled_as_group(play, anchor, member, ())
    answer = play.at_desk(anchor, "answer", _ANSWER)
    play.dies_when("triage", points[0], lambda: play.call(answer))
    play.call(answer)
    _settled_as_group(play, anchor, member, _ENDED)


def _opened(play: Play) -> Case:
    case = play.case(QUESTION)
    play.submit(case)
    play.settled(case, OPENED)
    return case


def _form(play: Play, anchor: Case, member: Case) -> None:
    numbers = [anchor.case_no, member.case_no]
    form: Mapping[str, object] = {"kind": "same_event", "members": numbers, "reasons": ["同一件事"]}
    for _ in range(2):
        play.call(Call("triage", "/v1/desk/groups", form, f"{anchor.key}-group", DESK))


def _settled_as_group(play: Play, anchor: Case, member: Case, done: Sequence[str]) -> None:
    joined = (*OPENED, "case.joined_group")
    ended = ("group.resolved",) if done else ()
    play.settled(anchor, (*joined, "group.formed", *done, *ended))
    resolved = ("case.group_resolved", "citizen.told", "case.finished")
    play.settled(member, (*joined, *(resolved if done else ())))
