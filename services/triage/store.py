"""Triage's database: cases, groups, parked wishes, claims, policies."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from contracts.envelope import Event, decode
from contracts.lifecycle import CaseDocument, GroupDocument
from contracts.vocabulary import TaskKind, Tier
from services.chassis.documents import Documents
from services.chassis.due import next_due
from services.chassis.erasure import ErasedCases
from services.chassis.fence import Fence
from services.chassis.kept import Kept
from services.chassis.store import AlreadyThere, Collection, Fields, Store, insert_new

DATABASE = "jieyou_triage"
_TIERS = (Tier.RED, Tier.ORANGE, Tier.BLUE)


def _facts_of_case(case: CaseDocument) -> Fields:
    """The queues in which the desk finds a case: its tier, and its tier with each kind of task."""
    kinds = sorted({str(task.kind) for task in case.tasks.values()})
    queues = [str(case.tier), *(f"{case.tier}/{kind}" for kind in kinds)] if kinds else []
    return {"queues": queues}


def _facts_of_group(group: GroupDocument) -> Fields:
    return {
        "is_open": not (group.resolved or group.dissolved) and group.seq > 0,
        "fanned_out": False,
    }


@dataclass(frozen=True, slots=True)
class Parked:
    """A record whose case has not arrived yet."""

    event: Event
    since: datetime

    def row(self) -> Fields:
        """Return it as it is stored."""
        return {
            "_id": self.event.id,
            "case_no": self.event.data.case_no,
            "type": self.event.type,
            "data": self.event.encoded,
            "since": self.since,
        }


class TriageStore:
    """Everything that triage keeps."""

    def __init__(self, store: Store, fence: Fence | None = None) -> None:
        self.store = store
        self.erased = ErasedCases(store)
        self.cases: Documents[CaseDocument] = Documents(
            store,
            "cases",
            CaseDocument,
            next_due,
            _facts_of_case,
            fence=fence,
            note_erased=self.erased.add,
        )
        self.groups: Documents[GroupDocument] = Documents(
            store, "groups", GroupDocument, lambda _group: None, _facts_of_group, fence=fence
        )
        self._parked: Collection = store.collection("parked")
        self._claims: Collection = store.collection("claims")
        self._policies: Collection = store.collection("policies")

    async def prepare(self) -> None:
        """Create what the queries need."""
        await self.cases.prepare("queues")
        await self.groups.prepare("is_open", "fanned_out")
        await self.erased.prepare()
        async with self.store.answering():
            await self._parked.create_index("since")

    async def waiting(self, kind: TaskKind | None, limit: int) -> list[Kept[CaseDocument]]:
        """Return cases that wait for a person: red first, then by the clock that ends soonest."""
        found: list[Kept[CaseDocument]] = []
        for tier in _TIERS:
            if len(found) >= limit:
                break
            queue = str(tier) if kind is None else f"{tier}/{kind}"
            of_tier = await self.cases.find({"queues": queue}, limit - len(found))
            found += sorted(of_tier, key=lambda kept: _soonest(kept.document))
        return found

    async def count_waiting(self) -> dict[str, int]:
        """Return how many cases wait, by tier."""
        async with self.store.answering():
            return {
                str(tier): await self.cases.collection.count_documents({"queues": str(tier)})
                for tier in _TIERS
            }

    async def park(self, parked: Sequence[Parked]) -> None:
        """Keep records until their cases arrive; parking twice is parking once."""
        try:
            await insert_new(self.store, self._parked, [one.row() for one in parked])
        except AlreadyThere:
            return

    async def parked(self, limit: int = 200) -> list[Parked]:
        """Return what is parked."""
        async with self.store.answering():
            rows = await self._parked.find({}).limit(limit).to_list(limit)
        return [Parked(decode(r["type"], r["_id"], r["data"]), r["since"]) for r in rows]

    async def redact_parked(self, case_no: str) -> int:
        """Redact what is parked for a case: it still gets its answer."""
        redacted = 0
        async with self.store.answering():
            for row in await self._parked.find({"case_no": case_no}).to_list(None):
                event = decode(row["type"], row["_id"], row["data"])
                if not event.data.rev:
                    change = {"$set": {"data": event.redacted().encoded}}
                    redacted += (
                        await self._parked.update_one({"_id": row["_id"]}, change)
                    ).matched_count
        return redacted

    async def unpark(self, event_id: str) -> None:
        """Drop what has found its case."""
        async with self.store.answering():
            await self._parked.delete_one({"_id": event_id})

    async def claim(self, case_no: str, person: str, now: datetime, minutes: int) -> str:
        """Reserve a case for a person; return who has it (another, if it is taken)."""
        until = now + timedelta(minutes=minutes)
        try:
            await insert_new(
                self.store, self._claims, [{"_id": case_no, "person": person, "until": until}]
            )
            return person
        except AlreadyThere:
            pass
        async with self.store.answering():
            taken = await self._claims.update_one(
                {"_id": case_no, "$or": [{"person": person}, {"until": {"$lt": now}}]},
                {"$set": {"person": person, "until": until}},
            )
            if taken.matched_count:
                return person
            held = await self._claims.find_one({"_id": case_no})
        return str(held["person"]) if held else person

    async def release(self, case_no: str, person: str) -> None:
        """Give a claimed case back."""
        async with self.store.answering():
            await self._claims.delete_one({"_id": case_no, "person": person})

    async def claims(self, case_nos: Sequence[str], now: datetime) -> dict[str, str]:
        """Return who has which of these cases now."""
        async with self.store.answering():
            rows = await self._claims.find(
                {"_id": {"$in": list(case_nos)}, "until": {"$gt": now}}
            ).to_list(len(case_nos))
        return {row["_id"]: row["person"] for row in rows}

    async def open_groups(self, limit: int = 200) -> list[Kept[GroupDocument]]:
        """Return the groups that have no result yet."""
        return await self.groups.find({"is_open": True}, limit)

    async def groups_to_fan_out(self, limit: int = 100) -> list[Kept[GroupDocument]]:
        """Return the groups whose last events have not reached all members yet."""
        return await self.groups.find({"fanned_out": False}, limit)

    async def mark_fanned_out(self, group: Kept[GroupDocument]) -> None:
        """Note that all events up to this version reached the members."""
        document = group.document
        async with self.store.answering():
            await self.groups.collection.update_one(
                {"_id": document.document_id, "version": document.seq},
                {"$set": {"fanned_out": True}},
            )

    async def put_policy(self, policy: dict[str, Any]) -> None:
        """Keep a policy; the topic carries it to everybody."""
        async with self.store.answering():
            await self._policies.replace_one(
                {"_id": policy["policy_id"]}, {"_id": policy["policy_id"], **policy}, upsert=True
            )

    async def policies(self) -> list[dict[str, Any]]:
        """Return all policies."""
        async with self.store.answering():
            rows = await self._policies.find({}).to_list(2_000)
        return [{k: v for k, v in row.items() if k != "_id"} for row in rows]


def _soonest(case: CaseDocument) -> tuple[bool, datetime | None, str]:
    due = next_due(case)
    return (due is None, due or case.accepted_at, case.case_no)
