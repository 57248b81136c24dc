"""The services' stores, read-only: what they hold that the log must hold too.

The driver stays behind `services.chassis.store`; nothing here writes, and no index is made.
"""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.ids import CASE_NUMBER_LENGTH
from deploy.audit.log import AuditError
from services.chassis.documents import REDACTED
from services.chassis.store import Fields, Store, StoreUnavailable

_DOCUMENTS = {
    "jieyou_triage": ("cases", "groups"),
    "jieyou_notify": ("handoffs", "deliveries"),
}
_INTAKE = "jieyou_intake"
_TRIAGE = "jieyou_triage"
_GROUPS = "groups"
_PASSES = {"intake": _INTAKE, "triage": _TRIAGE, "notify": "jieyou_notify"}
PASSING = frozenset(_PASSES)
"""The services that go through what they keep of an erased case."""
_DOCUMENT_FIELDS = {"case_no": 1, "version": 1, REDACTED: 1}
_RECORD_FIELDS = {"event_id": 1, REDACTED: 1}
_READ_SECONDS = 120.0
_CASES_AT_ONCE = 200


@dataclass(slots=True)
class OfCase:
    """What the stores hold of one case."""

    versions: dict[str, int] = field(default_factory=dict)
    """Version of each document of triage and notify."""
    accepted: list[str] = field(default_factory=list)
    """Ids of the events that intake accepted."""
    parked: list[str] = field(default_factory=list)
    """Ids of the events that triage keeps until the case arrives."""
    redacted: set[str] = field(default_factory=set)
    """Documents and accepted events of which nothing personal is kept, or that are no person's."""
    passed: set[str] = field(default_factory=set)
    """The services that have gone through what they keep of an erased case."""

    @property
    def unredacted(self) -> Iterator[str]:
        """What is kept as it was first written. Of an erased case that ought to be nothing."""
        yield from (f"document {one}" for one in self.versions if one not in self.redacted)
        yield from (f"event {one}" for one in self.accepted if one not in self.redacted)


class Stores:
    """The stores of intake, triage and notify."""

    def __init__(self, mongo_url: str) -> None:
        names = {_INTAKE, *_DOCUMENTS}
        self._stores = {name: Store(mongo_url, name, _READ_SECONDS) for name in names}

    def close(self) -> None:
        """Close all connections."""
        for store in self._stores.values():
            store.close()

    async def read(
        self, only: Collection[str] | None = None, erased: Collection[str] = ()
    ) -> dict[str, OfCase]:
        """Return what is held of each case, or of some cases; of these what intake accepted is
        read for the `erased` alone.

        The id of intake's record begins with the case number. Raises AuditError.
        """
        found: dict[str, OfCase] = {}
        try:
            await self._read_documents(only, found)
            async for row in self._rows(_TRIAGE, "parked", "case_no", only, {"case_no": 1}):
                found.setdefault(row["case_no"], OfCase()).parked.append(row["_id"])
            async for row in self._accepted(only, erased):
                _take_record(row, found)
            for service, name in _PASSES.items():
                async for row in self._rows(name, "erased", "_id", only, {"pass": 1}):
                    if row["pass"]:
                        found.setdefault(row["_id"], OfCase()).passed.add(service)
        except StoreUnavailable as error:
            raise AuditError(f"the store does not answer ({error})") from error
        return found

    async def _read_documents(self, only: Collection[str] | None, found: dict[str, OfCase]) -> None:
        for name, collections in _DOCUMENTS.items():
            for collection in collections:
                async for row in self._rows(name, collection, "case_no", only, _DOCUMENT_FIELDS):
                    own = found.setdefault(row["case_no"], OfCase())
                    own.versions[row["_id"]] = int(row["version"])
                    if collection == _GROUPS or row.get(REDACTED):
                        own.redacted.add(row["_id"])

    async def _accepted(
        self, only: Collection[str] | None, erased: Collection[str]
    ) -> AsyncIterator[Fields]:
        if only is None:
            async for row in self._rows(_INTAKE, "records", "_id", None, _RECORD_FIELDS):
                yield row
        for case_no in erased:
            async for row in self._records_of(case_no):
                yield row

    async def _records_of(self, case_no: str) -> AsyncIterator[Fields]:
        """Yield intake's records of one case: "0" follows "/", which begins its later words."""
        store = self._stores[_INTAKE]
        where = {"_id": {"$gte": case_no, "$lt": f"{case_no}0"}}
        async with store.answering():
            async for row in store.collection("records").find(where, dict(_RECORD_FIELDS)):
                yield row

    async def _rows(
        self,
        database: str,
        collection: str,
        key: str,
        only: Collection[str] | None,
        fields: Mapping[str, int],
    ) -> AsyncIterator[Fields]:
        """Yield rows, whole collections or those whose `key` is one of some cases."""
        store = self._stores[database]
        wanted = sorted(only) if only is not None else None
        chunks: list[dict[str, Any]] = (
            [{}]
            if wanted is None
            else [
                {key: {"$in": wanted[at : at + _CASES_AT_ONCE]}}
                for at in range(0, len(wanted), _CASES_AT_ONCE)
            ]
        )
        for where in chunks:
            async with store.answering():
                async for row in store.collection(collection).find(where, dict(fields)):
                    yield row


def _take_record(row: Fields, found: dict[str, OfCase]) -> None:
    own = found.setdefault(row["_id"][:CASE_NUMBER_LENGTH], OfCase())
    own.accepted.append(row["event_id"])
    if row.get(REDACTED):
        own.redacted.add(row["event_id"])
