"""Commands of people, against the document as it stands: decide, write, publish.

A command's id is the client's; the same id does nothing a second time. What the bus does not take
at once stays pending in the document, and the relay publishes it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from contracts.envelope import Event
from contracts.ids import group_id
from contracts.lifecycle import CaseDocument, Document, GroupDocument
from contracts.profile import Profile
from contracts.vocabulary import GroupKind
from services.chassis.bus import BusUnavailable
from services.chassis.clock import Clock
from services.chassis.documents import Publish, Unit
from services.chassis.kept import Kept
from services.chassis.store import Stale
from services.triage.domain import groups
from services.triage.domain.desk import Act
from services.triage.domain.occasion import NotPossible, Occasion
from services.triage.domain.views import view_of
from services.triage.store import TriageStore

log = structlog.get_logger()

_TRIES = 6


class Unknown(Exception):
    """There is no such case or group."""


class KeyReused(Exception):
    """The client's key was used for another act on this document."""


class SeenOtherwise(Exception):
    """What the person saw has changed; `view` is the mark of what stands now."""

    def __init__(self, view: str) -> None:
        super().__init__("the case has changed since it was read")
        self.view = view


@dataclass(frozen=True, slots=True)
class Commands:
    """The way in for people, with its ports."""

    kept: TriageStore
    profile: Profile
    clock: Clock
    publish: Publish

    async def on_case(
        self, case_no: str, command: str, act: Act, seen: str | None = None
    ) -> Kept[CaseDocument]:
        """Do one act on a case; return the case as it is then.

        Raises Unknown, SeenOtherwise, NotPossible, StoreUnavailable.
        """
        for _attempt in range(_TRIES):
            found = await self.kept.cases.load([case_no])
            kept = found.get(case_no)
            if kept is None:
                raise Unknown
            occasion = self._occasion(command)
            if is_repeated(kept.document, occasion.cause):
                return kept
            if seen is not None and seen != view_of(kept.document):
                raise SeenOtherwise(view_of(kept.document))
            act(occasion, kept)
            unit = Unit(self.kept.store, owed_by_offset=False)
            unit.add(self.kept.cases, kept)
            if await self._saved(unit):
                return kept
        raise SeenOtherwise("")

    async def form_group(
        self,
        command: str,
        kind: GroupKind,
        members: list[str],
        person: str,
        reasons: tuple[str, ...],
    ) -> Kept[GroupDocument]:
        """Form a group around the first member. Raises Unknown and NotPossible."""
        occasion = self._occasion(command)
        wanted = list(dict.fromkeys(members))
        cases = await self.kept.cases.load(wanted)
        if len(cases) < len(wanted):
            raise Unknown
        id_ = group_id(kind, occasion.cause)
        existing = await self.kept.groups.load([id_])
        if id_ in existing:
            return existing[id_]
        group = self.kept.groups.create(id_, wanted[0])
        documents = [cases[case_no].document for case_no in wanted]
        groups.form(occasion, group, kind, documents, person, reasons)
        unit = Unit(self.kept.store, owed_by_offset=False)
        unit.add(self.kept.groups, group)
        if not await self._saved(unit):
            return (await self.kept.groups.load([id_]))[id_]
        return group

    async def on_group(
        self,
        id_: str,
        command: str,
        act: Callable[[Occasion, Kept[GroupDocument], dict[str, CaseDocument]], Event | None],
        cases: tuple[str, ...] = (),
    ) -> Kept[GroupDocument]:
        """Do one act on a group. Raises Unknown, NotPossible, SeenOtherwise."""
        for _attempt in range(_TRIES):
            group = (await self.kept.groups.load([id_])).get(id_)
            found = await self.kept.cases.load(cases)
            if group is None or len(found) < len(set(cases)):
                raise Unknown
            occasion = self._occasion(command)
            if is_repeated(group.document, occasion.cause):
                return group
            act(occasion, group, {name: kept.document for name, kept in found.items()})
            unit = Unit(self.kept.store, owed_by_offset=False)
            unit.add(self.kept.groups, group)
            if await self._saved(unit):
                return group
        raise SeenOtherwise("")

    def _occasion(self, command: str) -> Occasion:
        return Occasion(self.profile, self.clock.now(), f"command:{command}")

    async def _saved(self, unit: Unit) -> bool:
        try:
            await unit.save()
        except Stale:
            return False
        try:
            await unit.publish_pending(self.publish)
        except BusUnavailable:
            log.warning("command kept, not published yet; the relay will")
        return True


def is_repeated(document: Document, cause: str) -> bool:
    """Whether a command (`command:<key>#<digest>`) was done already.

    Raises KeyReused if its key was used for something else.
    """
    if document.has_cause(cause):
        return True
    key = cause.rpartition("#")[0]
    if key and any(known.rpartition("#")[0] == key for known in document.causes):
        raise KeyReused
    return False


__all__ = ["Commands", "KeyReused", "NotPossible", "SeenOtherwise", "Unknown"]
