"""What a story of a crash is told with: people who call, a service that dies, and the end."""

import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from signal import SIGKILL
from typing import Any

from contracts import ids
from contracts.topics import partition_for
from tests.crash.left import LEFT, Left
from tests.crash.stand import CHANNEL, Call, Stand

_AGAIN_S = 0.05
_SETTLED_WITHIN_S = 60.0
_LEFT_WITHIN_S = 5.0
_DOCUMENTS = (
    *(("triage", "cases"), ("triage", "groups")),
    *(("notify", "handoffs"), ("notify", "deliveries")),
)
_TRIES = 4
DESK = ("desk", "desk-1")
_numbers = itertools.count(1)

LAMP = ("小区楼道灯坏了，晚上老人下楼看不见，麻烦安排人来修一下", "other")
"""Goes to a department at once."""
QUESTION = ("请问从郑州返乡回周口，需要居家隔离几天？", "policy")
"""Waits for an answer of the desk."""
DANGER = ("邻居持刀打人，快来人", "other")
"""Red, with a clock that is near its end after two seconds."""


@dataclass
class Case:
    """A request as its client knows it: the key first, the number once it is accepted."""

    key: str
    asked: Mapping[str, Any] = field(repr=False)
    case_no: str
    code: str = field(repr=False)


@dataclass
class Doing:
    """What is to be found of what the dying process does: an event of a case, and its document."""

    case: Callable[[], Case]
    event: str
    stored: Callable[[], bool]


class Play:
    """One story on the stand."""

    def __init__(self, stand: Stand) -> None:
        self.stand = stand
        self.witness = stand.witness
        self._armed: tuple[str, str, Doing | None] | None = None

    def case(
        self, kind: tuple[str, str] = LAMP, *, callback: bool = False, beside: Case | None = None
    ) -> Case:
        """A request that is yet to be posted; `beside`: in the same partitions as another one."""
        secret = self.stand.case_secret
        while True:
            number = next(_numbers)
            case_no = ids.case_number(secret, CHANNEL, f"crash-{number}")
            if beside is None or all(
                partition_for(case_no, of) == partition_for(beside.case_no, of) for of in (12, 3)
            ):
                break
        text, category = kind
        asked: dict[str, Any] = {
            "text": f"{text}（{number}号楼）",
            "category": category,
            "region": "411602",
            "contact": {"name": "测试", "phone": "13800000000"},
        }
        if callback:
            asked["callback_url"] = self.witness.url(CHANNEL)
        code = ids.retrieval_code(self.stand.code_secret, case_no)
        return Case(f"crash-{number}", asked, case_no, code)

    def submit(self, *cases: Case) -> None:
        """Post requests until they are answered, each with the number that its key stands for."""
        for case in cases:
            assert self.call(_posting(case))["case_no"] == case.case_no

    def ask_once(self, case: Case) -> object:
        """Post a request, whatever is answered."""
        return self.stand.post(_posting(case))

    def supplement(self, case: Case) -> None:
        """Say something more about a case."""
        path = f"/v1/requests/{case.case_no}/supplements"
        said = {"text": "补充：在三单元"}
        self.call(Call("intake", path, said, f"{case.key}-more", code=case.code))

    def at_desk(self, case: Case, act: str, form: Mapping[str, Any]) -> Call:
        """A clerk's act on a case."""
        path = f"/v1/desk/cases/{case.case_no}/{act}"
        return Call("triage", path, form, f"{case.key}-{act}", DESK)

    def call(self, call: Call) -> dict[str, Any]:
        """Call until it is answered; a service that is found dead was armed, and comes back."""
        give_up = time.monotonic() + _SETTLED_WITHIN_S
        while (answer := self.stand.post(call)) is None:
            assert time.monotonic() < give_up, f"{call.service} answers nothing"
            self._bring_back(call.service)
            time.sleep(_AGAIN_S)
        assert answer.status_code < 300, (answer.status_code, answer.text)
        document: dict[str, Any] = answer.json()
        return document

    def dies(
        self, service: str, points: Sequence[str], doing: Doing | None, **environment: str
    ) -> None:
        """Start a service that dies at one point after another, by what waits for it.

        A batch of nothing but ticks passes the same points: then it is started once more.
        """
        for point in points:
            for attempt in range(1, _TRIES + 1):
                self.stand.start(service, point, **environment)
                self.killed_itself(service)
                if doing is None or self._is_left(point, doing) or attempt == _TRIES:
                    break
            if doing is not None:
                self.check_left(point, doing)

    def dies_when(
        self, service: str, point: str, act: Callable[[], object], doing: Doing | None = None
    ) -> None:
        """A service that runs is armed instead, and dies by what somebody does then, who calls
        until there is an answer."""
        self.stand.kill(service)
        self.stand.start(service, point)
        self.until(lambda: self.stand.is_ready(service), f"{service} ready")
        self._armed = (service, point, doing)
        act()
        if self._armed is not None:  # it was answered, or nobody called it
            self._bring_back(service, wait=True)

    def _bring_back(self, service: str, *, wait: bool = False) -> None:
        if self._armed is None or self._armed[0] != service:
            return
        if not wait and not self.stand.has_ended(service):
            return
        _, point, doing = self._armed
        self._armed = None
        self.killed_itself(service)
        if doing is not None:
            self.check_left(point, doing)
        self.stand.start(service)

    def dies_uncalled(
        self,
        service: str,
        point: str,
        act: Callable[[], object],
        doing: Doing | None = None,
        **environment: str,
    ) -> None:
        """Start a service that dies while somebody calls who does not call again."""
        self.stand.kill(service)
        self.stand.start(service, point, **environment)
        while not self.stand.has_ended(service):
            act()
            time.sleep(_AGAIN_S)
        self.killed_itself(service)
        if doing is not None:
            self.check_left(point, doing)

    def killed_itself(self, service: str) -> None:
        """The service has ended by SIGKILL, at its point, as it had said that it might."""
        assert self.stand.end_of(service) == -SIGKILL
        log = (self.stand.folder.logs / f"{service}.log").read_text("utf-8")
        assert "kills itself at a crash point" in log

    def check_left(self, point: str, doing: Doing) -> None:
        """Assert that what the dead process left is what the point's name says."""
        assert self._is_left(point, doing), f"not what {point} leaves: {self._seen(doing)}"

    def _is_left(self, point: str, doing: Doing) -> bool:
        left = LEFT[point.partition(":")[0]]
        give_up = time.monotonic() + (_LEFT_WITHIN_S if left.logged else 0.3)
        while True:
            seen = self._seen(doing)
            is_so = all(
                wanted is None or wanted is found
                for wanted, found in ((left.stored, seen.stored), (left.logged, seen.logged))
            )
            is_late = time.monotonic() > give_up
            if is_late or (is_so and left.logged is not False):
                return is_so
            time.sleep(_AGAIN_S)

    def _seen(self, doing: Doing) -> Left:
        events = self.witness.events[doing.case().case_no]
        return Left(doing.stored(), any(one.type == doing.event for one in list(events)))

    def until(self, is_so: Callable[[], bool], what: str) -> None:
        """Wait for something that anybody can see."""
        self.witness.until(is_so, what, _SETTLED_WITHIN_S)

    def ordered(self, case: Case) -> None:
        """Wait until triage has handed a case over, whether or not anybody took it."""
        self.until(lambda: "handoff.ordered" in self.witness.kinds(case.case_no), "the order")

    def handoff(self, case: Case) -> str:
        """The id of a case's only hand-off."""
        (handoff_id,) = self.witness.state(case.case_no).handoffs
        return handoff_id

    def stored(self, service: str, collection: str, case: Case, event: str = "") -> bool:
        """Whether a document of a case stands, with an event of this type where one is named."""
        by = {"_id": case.case_no} if collection in ("records", "cases") else {}
        rows = self.stand.rows(service, collection, by or {"case_no": case.case_no})
        types = {one["type"] for row in rows for one in row.get("events", ()) if event}
        return bool(rows) and (not event or event in types)

    def settled(self, case: Case, events: Iterable[str]) -> None:
        """Wait until a case has these events, each so often, and everybody knows of all of them;
        then assert that nothing of it stands or arrived twice."""
        wanted = Counter(events)
        seen: list[object] = []

        def is_settled() -> bool:
            seen[:] = self._missing(case, wanted)
            return not seen

        try:
            self.witness.until(is_settled, "the end", _SETTLED_WITHIN_S)
        except AssertionError:
            raise AssertionError(f"{case.case_no} is not settled: {seen}") from None
        assert self.witness.doubles(case.case_no) == []

    def _missing(self, case: Case, wanted: Counter[str]) -> list[object]:
        state = self.witness.state(case.case_no)
        found = Counter(event.type for event in state.timeline)
        missing: list[object] = [*state.incomplete, *state.open_wishes]
        if found != wanted:
            missing.append((dict(found - wanted), "too much", dict(wanted - found), "too few"))
        kept: dict[str, set[str]] = {}
        for service, name in _DOCUMENTS:
            for row in self.stand.rows(service, name, {"case_no": case.case_no}):
                kept[row["_id"]] = {one["id"] for one in row["events"]}
                if row["published_through"] != row["version"] or row["pending_since"]:
                    missing.append(f"{name} {row['_id']} is not published through")
                if row.get("state") == "planned":
                    missing.append(f"delivery {row['_id']} is not made")
        for document_id, stored in kept.items():
            logged = {one.id for one in state.timeline if one.data.document_id == document_id}
            logged -= {one.id for one in state.timeline if one.data.seq is None}
            if stored != logged:
                missing.append(f"{document_id}: {len(stored)} events stored, {len(logged)} logged")
        applied = self.stand.rows("reporting", "cases", {"_id": case.case_no})
        known = {key.partition("~")[0] for row in applied for key in row["events"]}
        if known != {event.id for event in state.timeline}:
            missing.append("reporting does not have all events")
        return missing


def _posting(case: Case) -> Call:
    return Call("intake", "/v1/requests", case.asked, case.key, ("channel", CHANNEL))
