"""The documents that notify owns, and the fields by which they are found."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from contracts.lifecycle import DeliveryDocument, HandoffDocument
from services.chassis.documents import Documents
from services.chassis.due import next_due
from services.chassis.erasure import ErasedCases
from services.chassis.fence import Fence
from services.chassis.kept import Kept
from services.chassis.store import Fields, Store, change_all

PLANNED = "planned"
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)
_MOST_OF_A_CASE = 1_000


def real_time() -> datetime:
    """Return this machine's time: retries and leases go by it and by no story's clock."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Leased:
    """A delivery that this process alone may attempt for a while."""

    kept: Kept[DeliveryDocument]
    attempts: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A planned delivery as it stands in its lane."""

    delivery_id: str
    order: int
    attempts: int
    next_due: datetime

    @property
    def place(self) -> tuple[int, str]:
        """Its place in the lane; the lowest goes first."""
        return self.order, self.delivery_id


def lane_of(delivery: DeliveryDocument) -> str:
    """Return the queue that a delivery stands in: what one case's citizen, or one hand-off's
    department, is told arrives in order."""
    return delivery.handoff_id or delivery.case_no


def host_of(delivery: DeliveryDocument) -> str | None:
    """Return the host that a delivery goes to; None for what is left for lookup, `?` where the
    address is none."""
    if delivery.target is None:
        return None
    try:
        return urlsplit(delivery.target).netloc.rpartition("@")[2] or "?"
    except ValueError:
        return "?"


def _handoff_facts(handoff: HandoffDocument) -> Fields:
    return {"open_of": handoff.department if handoff.state.is_open else None}


def _delivery_facts(delivery: DeliveryDocument) -> Fields:
    return {
        "state": delivery.state,
        "lane": lane_of(delivery),
        "order": delivery.order,
        "host": host_of(delivery),
        "handoff_id": delivery.handoff_id,
        "step": delivery.step,
        "channel": delivery.channel,
        "attempts": delivery.attempts,
    }


class NotifyStore:
    """Hand-offs and deliveries.

    A planned delivery is first due only `lease` after it was planned: the process that planned it
    sends it at once from memory, and the others take over when that did not happen.
    """

    def __init__(
        self,
        store: Store,
        lease: timedelta,
        now: Callable[[], datetime] = real_time,
        fence: Fence | None = None,
    ) -> None:
        self.store = store
        self._lease = lease
        self._now = now
        self.erased = ErasedCases(store)
        self.handoffs: Documents[HandoffDocument] = Documents(
            store,
            "handoffs",
            HandoffDocument,
            next_due,
            _handoff_facts,
            erased=self.erased,
            fence=fence,
        )
        self.deliveries: Documents[DeliveryDocument] = Documents(
            store,
            "deliveries",
            DeliveryDocument,
            self._send_at,
            _delivery_facts,
            cached=0,
            erased=self.erased,
            fence=fence,
        )

    async def prepare(self) -> None:
        """Create the indexes."""
        await self.erased.prepare()
        await self.handoffs.prepare("open_of", "case_no")
        await self.deliveries.prepare("lane", "handoff_id", "case_no")

    def _send_at(self, delivery: DeliveryDocument) -> datetime | None:
        return self._now() + self._lease if delivery.state == PLANNED else None

    async def open_handoffs(self, department: str, limit: int) -> list[Kept[HandoffDocument]]:
        """Return a department's open hand-offs, at most `limit`."""
        return await self.handoffs.find({"open_of": department}, limit)

    async def handoffs_of(self, case_nos: Iterable[str]) -> list[Kept[HandoffDocument]]:
        """Return the hand-offs of some cases."""
        wanted = sorted(set(case_nos))
        if not wanted:
            return []
        where: Fields = {"case_no": {"$in": wanted}}
        return await self.handoffs.find(where, _MOST_OF_A_CASE * len(wanted))

    async def deliveries_of(
        self, case_nos: Iterable[str], *, only_planned: bool = False
    ) -> list[Kept[DeliveryDocument]]:
        """Return the deliveries of some cases; `only_planned`: those that wait, and those that
        were cancelled, since a cause that comes again finds there what it cancelled."""
        wanted = sorted(set(case_nos))
        if not wanted:
            return []
        where: Fields = {"case_no": {"$in": wanted}}
        if only_planned:
            where["state"] = {"$in": [PLANNED, "cancelled"]}
        return await self.deliveries.find(where, _MOST_OF_A_CASE * len(wanted))

    async def channels_of(self, case_nos: Iterable[str]) -> dict[str, str]:
        """Return the channel of each case that has been told something by callback."""
        wanted = sorted(set(case_nos))
        if not wanted:
            return {}
        where = {"case_no": {"$in": wanted}, "channel": {"$ne": None}}
        fields = {"case_no": 1, "channel": 1}
        async with self.store.answering():
            cursor = self.deliveries.collection.find(where, fields)
            found = await cursor.to_list(_MOST_OF_A_CASE * len(wanted))
        return {one["case_no"]: one["channel"] for one in found}

    async def lease_due(self, token: str, limit: int, without_hosts: Sequence[str]) -> list[Leased]:
        """Lease deliveries that are due, at most `limit`, none to the hosts named.

        `token` is new for each call: what carries it afterwards is this call's.
        """
        now = self._now()
        due: Fields = {"next_due": {"$gt": _BEGINNING, "$lte": now}}
        if without_hosts:
            due["host"] = {"$nin": list(without_hosts)}
        collection = self.deliveries.collection
        async with self.store.answering():
            found = await collection.find(due, {"_id": 1}).limit(limit).to_list(limit)
            if not found:
                return []
        ids: Fields = {"_id": {"$in": [one["_id"] for one in found]}}
        leased = {"next_due": now + self._lease, "leased_by": token}
        still_due = {**ids, "next_due": {"$lte": now}}
        await change_all(self.store, collection, still_due, {"$set": leased})
        async with self.store.answering():
            mine = {**ids, "leased_by": token, "state": PLANNED}
            counted = await collection.find(mine, {"attempts": 1}).to_list(limit)
        attempts = {one["_id"]: int(one["attempts"]) for one in counted}
        kept = await self.deliveries.load(attempts)
        return [Leased(one, attempts[document_id]) for document_id, one in kept.items()]

    async def waiting_for(self, case_nos: Iterable[str]) -> dict[str, list[Waiting]]:
        """Return what is planned in each lane of some cases, the first to go first."""
        where = {"case_no": {"$in": sorted(set(case_nos))}, "state": PLANNED}
        fields = {"lane": 1, "order": 1, "attempts": 1, "next_due": 1}
        async with self.store.answering():
            found = await self.deliveries.collection.find(where, fields).to_list(_MOST_OF_A_CASE)
        waiting: dict[str, list[Waiting]] = {}
        for one in found:
            waiting.setdefault(one["lane"], []).append(
                Waiting(one["_id"], one["order"], one["attempts"], one["next_due"])
            )
        return {lane: sorted(them, key=lambda w: w.place) for lane, them in waiting.items()}

    async def postpone(self, delivery_ids: Sequence[str], until: datetime) -> None:
        """Let deliveries wait for the one before them in their lane."""
        where = {"_id": {"$in": list(delivery_ids)}, "state": PLANNED}
        change = {"$set": {"next_due": until}}
        await change_all(self.store, self.deliveries.collection, where, change)

    async def retry_later(
        self, delivery: Kept[DeliveryDocument], attempts: int, failure: str, next_due: datetime
    ) -> None:
        """Note a failed attempt and when the next is due; no event, since nothing is settled."""
        where = {"_id": delivery.document.document_id, "version": delivery.stored_seq}
        noted = {"attempts": attempts, "last_failure": failure, "next_due": next_due}
        async with self.store.answering():
            await self.deliveries.collection.update_one(where, {"$set": noted})

    async def delivery_rows(self, case_no: str) -> list[Fields]:
        """Return how the deliveries of a case stand, for people, without addresses or texts."""
        shown = ("state", "step", "host", "order", "attempts", "last_failure", "next_due")
        fields = dict.fromkeys(shown, 1)
        async with self.store.answering():
            cursor = self.deliveries.collection.find({"case_no": case_no}, fields)
            return await cursor.to_list(_MOST_OF_A_CASE)
