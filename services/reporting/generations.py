"""Generations of what reporting holds: which one is served, and which one is being built.

One document names the live generation; whoever reads cases or figures looks at it first, so all
processes turn to another generation in the same moment. The first one stands in reporting's own
database, beside this; later ones have a database and a consumer group of their own.

A generation is built by `jieyou rebuild reporting`. Before it is turned to, the live one is closed
for a moment: nothing more is applied to it (`Projection.close`), so that the new one can be brought
to exactly as far. The run that does this shows by its beat that it is alive; if it dies in between,
whoever wants to go on opens the live one again, and the run that comes back finds that it was.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import uuid4

from services.chassis.store import (
    AlreadyThere,
    Collection,
    Fields,
    Stale,
    Store,
    compare_and_set,
    insert_new,
)

_LIVE = "live"
_BUILDING = "building"
LAID_DOWN = "laid down"
"""Stands for the run of what was left half-built in good order."""


@dataclass(frozen=True, slots=True)
class Generation:
    """Where a generation stands; `since`: from when it was live, None for the first."""

    number: int
    database: str
    group: str
    since: datetime | None = None

    def as_fields(self) -> Fields:
        """Return this as it is stored."""
        fields: Fields = {
            "number": self.number,
            "database": self.database,
            "group": self.group,
            "since": self.since,
        }
        return fields


FIRST = Generation(1, "jieyou_reporting", "reporting")
"""What is live as long as nothing was rebuilt."""


@dataclass(frozen=True, slots=True)
class Live:
    """The live generation. `closing`: the run that has closed it and is about to turn to another.
    `retired`: what was live before and is not dropped yet."""

    generation: Generation
    version: int = 0
    closing: str | None = None
    retired: tuple[Generation, ...] = ()


@dataclass(frozen=True, slots=True)
class Building:
    """A generation that is being built, or was when its run died: `beat` grows while it lives."""

    run: str
    generation: Generation
    beat: int
    began: datetime | None = field(compare=False, default=None)


class Generations:
    """The collection that says all this, in the database of the first generation."""

    def __init__(self, store: Store, first: Generation = FIRST) -> None:
        self._store = store
        self._first = first
        self._collection: Collection = store.collection("generations")

    async def live(self) -> Live:
        """Return the live generation, the first if nothing says otherwise."""
        row = await self._row(_LIVE)
        if row is None:
            return Live(self._first)
        return Live(
            _generation(row),
            row["version"],
            row.get("closing"),
            tuple(_generation(one) for one in row["retired"]),
        )

    async def building(self) -> Building | None:
        """Return what is being built, or was left half-built."""
        row = await self._row(_BUILDING)
        if row is None:
            return None
        return Building(row["run"], _generation(row), row["beat"], row["began"])

    def after(self, number: int) -> Generation:
        """Return the generation that follows this number."""
        number += 1
        first = self._first
        return Generation(number, f"{first.database}_{number}", f"{first.group}-{number}")

    async def take_up(
        self, generation: Generation, left: Building | None, now: datetime
    ) -> Building:
        """Begin to build a generation, or go on where another run left it.

        Raises Stale if somebody else has done so.
        """
        await self._prepare()
        run = uuid4().hex
        row = {**generation.as_fields(), "run": run, "beat": 0, "began": now}
        if left is None:
            try:
                await insert_new(self._store, self._collection, [{"_id": _BUILDING, **row}])
            except AlreadyThere:
                raise Stale("somebody else builds") from None
        else:
            await self._set({"_id": _BUILDING, "run": left.run, "beat": left.beat}, {"$set": row})
        return Building(run, generation, 0, now)

    async def beat(self, run: str) -> None:
        """Show that a run is alive. Raises Stale if another has taken its work up."""
        await self._set({"_id": _BUILDING, "run": run}, {"$inc": {"beat": 1}})

    async def close(self, live: Live, run: str) -> Live:
        """Note that a run is closing the live generation. Raises Stale if that has changed."""
        await self._change(live, {"$set": {"closing": run}})
        return replace(live, version=live.version + 1, closing=run)

    async def open_again(self, live: Live) -> Live:
        """Note that the live generation goes on: its run can no longer turn to another.

        Raises Stale if the run was quicker.
        """
        await self._change(live, {"$unset": {"closing": ""}})
        return replace(live, version=live.version + 1, closing=None)

    async def turn(
        self, live: Live, to: Generation, now: datetime, *, keeps_old: bool = False
    ) -> None:
        """Make another generation the live one, from this moment on, for every process.

        `live` is the one that is closed. Raises Stale if it was opened again.
        """
        retired = [*live.retired, *([] if keeps_old else [live.generation])]
        change = {
            "$set": {
                **replace(to, since=now).as_fields(),
                "retired": [one.as_fields() for one in retired],
            },
            "$unset": {"closing": ""},
        }
        await self._change(live, change)

    async def forget(self, generation: Generation) -> None:
        """A retired generation is dropped."""
        async with self._store.answering():
            await self._collection.update_one(
                {"_id": _LIVE}, {"$pull": {"retired": {"number": generation.number}}}
            )

    async def lay_down(self, run: str) -> None:
        """A run ends before it is through: whoever comes next need not wait for its beat."""
        async with self._store.answering():
            await self._collection.update_one(
                {"_id": _BUILDING, "run": run}, {"$set": {"run": LAID_DOWN}}
            )

    async def end(self, run: str) -> None:
        """A run has ended, whatever it came to."""
        async with self._store.answering():
            await self._collection.delete_one({"_id": _BUILDING, "run": run})

    async def _prepare(self) -> None:
        row = {"_id": _LIVE, "version": 0, **self._first.as_fields(), "retired": []}
        try:
            await insert_new(self._store, self._collection, [row])
        except AlreadyThere:
            return

    async def _row(self, id_: str) -> Fields | None:
        async with self._store.answering():
            return await self._collection.find_one({"_id": id_})

    async def _change(self, live: Live, change: Fields) -> None:
        where = {"_id": _LIVE, "version": live.version, "closing": live.closing}
        await self._set(where, {**change, "$inc": {"version": 1}})

    async def _set(self, where: Fields, change: Fields) -> None:
        async with self._store.answering():
            await compare_and_set(self._collection, [(where, change)])


def _generation(row: Fields) -> Generation:
    return Generation(row["number"], row["database"], row["group"], row["since"])
