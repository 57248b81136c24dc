"""The services' stores, read-only: what they hold that the log must hold too.

The driver stays behind `services.chassis.store`; nothing here writes, and no index is made.
"""

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from contracts.ids import CASE_NUMBER_LENGTH
from deploy.audit.log import AuditError
from services.chassis.store import Fields, Store, StoreUnavailable

_DOCUMENTS = {
    "jieyou_triage": ("cases", "groups"),
    "jieyou_notify": ("handoffs", "deliveries"),
}
_INTAKE = "jieyou_intake"
_TRIAGE = "jieyou_triage"
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


class Stores:
    """The stores of intake, triage and notify."""

    def __init__(self, mongo_url: str) -> None:
        names = {_INTAKE, *_DOCUMENTS}
        self._stores = {name: Store(mongo_url, name, _READ_SECONDS) for name in names}

    def close(self) -> None:
        """Close all connections."""
        for store in self._stores.values():
            store.close()

    async def read(self, only: Collection[str] | None = None) -> dict[str, OfCase]:
        """Return what is held of each case, or, without what intake accepted, of some cases.

        The id of intake's record begins with the case number. Raises AuditError.
        """
        found: dict[str, OfCase] = {}
        try:
            for name, collections in _DOCUMENTS.items():
                for collection in collections:
                    async for row in self._rows(
                        name, collection, "case_no", only, {"case_no": 1, "version": 1}
                    ):
                        own = found.setdefault(row["case_no"], OfCase())
                        own.versions[row["_id"]] = int(row["version"])
            async for row in self._rows(_TRIAGE, "parked", "case_no", only, {"case_no": 1}):
                found.setdefault(row["case_no"], OfCase()).parked.append(row["_id"])
            if only is None:
                async for row in self._rows(_INTAKE, "records", "_id", None, {"event_id": 1}):
                    own = found.setdefault(row["_id"][:CASE_NUMBER_LENGTH], OfCase())
                    own.accepted.append(row["event_id"])
        except StoreUnavailable as error:
            raise AuditError(f"the store does not answer ({error})") from error
        return found

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
