"""The deliveries that this process has in hand: in order within a lane, fair between targets."""

import heapq
from collections import deque
from dataclasses import dataclass, field

from contracts.lifecycle import DeliveryDocument
from services.chassis.kept import Kept
from services.notify.store import host_of, lane_of


@dataclass(order=True, slots=True)
class InHand:
    """A delivery in hand; `place` orders it within its lane."""

    place: tuple[int, str]
    kept: Kept[DeliveryDocument] = field(compare=False)
    attempts: int = field(compare=False)

    @property
    def lane(self) -> str:
        """The lane it stands in."""
        return lane_of(self.kept.document)

    @property
    def host(self) -> str:
        """The host it goes to."""
        return host_of(self.kept.document) or "?"


class Lanes:
    """Lanes with at most one delivery of each under way, and so many to one host.

    A slow host fills its own slots and no others'.
    """

    def __init__(self, at_once: int, per_host: int, longest: int) -> None:
        self._at_once = at_once
        self._per_host = per_host
        self._longest = longest
        self._lanes: dict[str, list[InHand]] = {}
        self._ready: dict[str, deque[str]] = {}
        self._under_way: dict[str, InHand] = {}
        self._in_flight: dict[str, set[str]] = {}
        self._ids: set[str] = set()

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def room(self) -> int:
        """How many more deliveries may be taken in hand."""
        return self._longest - len(self._ids)

    @property
    def busy_hosts(self) -> list[str]:
        """Hosts for which more is in hand than they take at once."""
        return [host for host, lanes in self._ready.items() if lanes]

    def add(self, kept: Kept[DeliveryDocument], attempts: int) -> bool:
        """Take a delivery in hand; False if there is no room or it is in hand already."""
        document = kept.document
        if document.document_id in self._ids or self.room <= 0:
            return False
        one = InHand((document.order, document.document_id), kept, attempts)
        lane = self._lanes.setdefault(one.lane, [])
        is_idle = not lane and one.lane not in self._under_way
        heapq.heappush(lane, one)
        self._ids.add(document.document_id)
        if is_idle:
            self._ready.setdefault(one.host, deque()).append(one.lane)
        return True

    def take(self) -> list[InHand]:
        """Begin with as many heads of lanes as there are slots; each is under way until `done`."""
        begun: list[InHand] = []
        for host in list(self._ready):
            lanes = self._ready[host]
            while (
                lanes
                and sum(map(len, self._in_flight.values())) < self._at_once
                and len(self._in_flight.get(host, ())) < self._per_host
            ):
                lane = lanes.popleft()
                one = heapq.heappop(self._lanes[lane])
                self._under_way[lane] = one
                self._in_flight.setdefault(one.host, set()).add(lane)
                begun.append(one)
            if not lanes:
                del self._ready[host]
        for host in list(self._ready)[:1]:  # looked at first this time, last the next
            self._ready[host] = self._ready.pop(host)
        return begun

    def answered(self, one: InHand) -> None:
        """The host has answered: its slot is free, though the lane waits until that is settled."""
        lanes = self._in_flight.get(one.host, set())
        lanes.discard(one.lane)
        if not lanes:
            self._in_flight.pop(one.host, None)

    def in_lane(self, one: InHand) -> list[str]:
        """Return the ids of a delivery and of all that stand behind it in its lane."""
        behind = self._lanes.get(one.lane, [])
        return [each.kept.document.document_id for each in (one, *behind)]

    def done(self, one: InHand, *, drop_lane: bool = False) -> list[str]:
        """A delivery is settled, or put off: then `drop_lane`, for what follows must wait for it.
        Returns the ids of what was dropped from the lane besides it."""
        self.answered(one)
        lane = one.lane
        self._under_way.pop(lane, None)
        self._ids.discard(one.kept.document.document_id)
        waiting = self._lanes.get(lane, [])
        dropped: list[str] = []
        if drop_lane:
            dropped = [other.kept.document.document_id for other in waiting]
            self._ids.difference_update(dropped)
            waiting = []
        if waiting:
            self._ready.setdefault(waiting[0].host, deque()).append(lane)
        else:
            self._lanes.pop(lane, None)
        return dropped
