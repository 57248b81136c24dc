"""What the services' stores hold of one case, and whether the person still stands in it."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.envelope import ContractError, decode
from deploy.erasure.personal import event_holds_person
from deploy.local.errors import PlatformError
from services.chassis.store import Fields, Store, StoreUnavailable
from services.reporting.generations import FIRST, Generations

_READ_SECONDS = 30.0
_DATABASES = {"intake": "jieyou_intake", "triage": "jieyou_triage", "notify": "jieyou_notify"}
WITH_PASSES = tuple(_DATABASES)
"""The services that note erased cases and go through what they keep."""


@dataclass(frozen=True, slots=True)
class Row:
    """A stored document of the case."""

    service: str
    collection: str
    id: str
    holds_person: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """What was found. `passes`: by service, how many passes are done; None if it has not noted the
    case."""

    rows: tuple[Row, ...] = ()
    passes: Mapping[str, int | None] = field(default_factory=dict)


class Copies:
    """The stores, read-only."""

    def __init__(self, mongo_url: str) -> None:
        self._stores = {
            service: Store(mongo_url, database, _READ_SECONDS)
            for service, database in _DATABASES.items()
        }
        self._reporting = Store(mongo_url, FIRST.database, _READ_SECONDS)

    def close(self) -> None:
        """Close all connections."""
        for store in (*self._stores.values(), self._reporting):
            store.close()

    async def of(self, case_no: str) -> Stored:
        """Return what is kept of a case. Raises PlatformError when the store does not answer."""
        later = {"$gt": f"{case_no}/", "$lt": f"{case_no}0"}  # "0" follows "/"
        of_case = {"case_no": case_no}
        try:
            found = await asyncio.gather(
                self._rows("intake", "records", {"_id": case_no}),
                self._rows("intake", "records", {"_id": later}),
                self._rows("triage", "cases", {"_id": case_no}),
                self._rows("triage", "parked", of_case),
                self._rows("notify", "handoffs", of_case),
                self._rows("notify", "deliveries", of_case),
                self._reported(case_no),
            )
            passes = {service: await self._passes(service, case_no) for service in WITH_PASSES}
        except StoreUnavailable as error:
            raise PlatformError(f"the store does not answer ({error})") from error
        return Stored(tuple(row for rows in found for row in rows), passes)

    async def _rows(self, service: str, collection: str, where: Fields) -> list[Row]:
        store = self._stores[service]
        async with store.answering():
            found = await store.collection(collection).find(where).to_list(None)
        return [Row(service, collection, str(one["_id"]), holds_person(one)) for one in found]

    async def _reported(self, case_no: str) -> list[Row]:
        generations = Generations(self._reporting, FIRST)
        live, building = await generations.live(), await generations.building()
        wanted = {live.generation.database, *(one.database for one in live.retired)}
        if building is not None:
            wanted.add(building.generation.database)
        rows: list[Row] = []
        for database in sorted(wanted):
            store = self._reporting.beside(database)
            async with store.answering():
                found = await store.collection("cases").find({"_id": case_no}).to_list(None)
            rows += [Row("reporting", "cases", database, holds_person(one)) for one in found]
        return rows

    async def _passes(self, service: str, case_no: str) -> int | None:
        store = self._stores[service]
        async with store.answering():
            row = await store.collection("erased").find_one({"_id": case_no}, {"pass": 1})
        return None if row is None else int(row["pass"])


def holds_person(fields: Fields) -> bool:
    """Whether one of the events in a stored document, or the event that it is, holds a person."""
    for type_, id_, value in _events(fields):
        try:
            if event_holds_person(decode(type_, id_, bytes(value))):
                return True
        except ContractError:
            return True
    return False


def _events(fields: Fields) -> Iterator[tuple[str, str, Any]]:
    """Yield type, id and bytes of events, as each of the services lays them down."""
    if "encoded" in fields:
        yield fields["type"], fields["event_id"], fields["encoded"]
    if "data" in fields:
        yield fields["type"], str(fields["_id"]), fields["data"]
    events: Any = fields.get("events", ())
    stored: Iterable[Any] = events.values() if isinstance(events, dict) else events
    for one in stored:
        yield one["type"], str(one.get("id", "")), one["data"]
