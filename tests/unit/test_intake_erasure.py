"""Intake and an erased case: an old key is answered as before, nothing of the person goes out."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from contracts.envelope import TYPE_PREFIX, Event
from contracts.requests import ErasureRequested, SupplementGiven
from contracts.triage import CaseErased
from services.chassis.bus import Record
from services.intake.domain.bodies import ErasureBody
from services.intake.domain.wishes import record_id, wish
from services.intake.erasing import Listener, without_erased
from services.intake.handlers import Gone, KeyReused, Way, accept
from services.intake.store import Kept
from tests.unit.test_intake_accepting import NOW, World, kept

CASE_NO = kept("a").event.data.case_no


async def test_an_old_key_is_answered_as_before_and_a_new_one_refused() -> None:
    world = World()
    first = await accept(kept("a"), world.ports)
    world.ports.erased = {CASE_NO}
    again = await accept(kept("a"), world.ports)
    assert (again.way, again.event.id) == (Way.REPEAT, first.event.id)
    with pytest.raises(KeyReused):
        await accept(kept("a", "乙"), world.ports)
    written = len(world.memory.records)
    with pytest.raises(Gone) as refused:
        await accept(kept("b"), world.ports)
    assert refused.value.document()["status"] == 410
    assert len(world.memory.records) == written
    assert {event.id for event in world.bus.events} == {first.event.id}


async def test_the_wish_to_erase_is_taken_in_again() -> None:
    world = World()
    world.ports.erased = {CASE_NO}
    event = wish(CASE_NO, ErasureBody(), by="operator:o", key="k", now=NOW, traceparent="")
    accepted = await accept(Kept(record_id(event), "digest", None, event), world.ports)
    assert accepted.way is Way.BUS
    assert without_erased([event], {CASE_NO}) == [event]


def test_what_is_published_of_an_erased_case_holds_nothing_personal() -> None:
    event, of_another = kept("a", "某某").event, kept("b", "某某").event
    redacted = without_erased([event], {CASE_NO})[0]
    assert isinstance(redacted.data, SupplementGiven)
    assert (redacted.id, redacted.data.rev, redacted.data.text) == (event.id, 1, None)
    assert "某某" not in redacted.encoded.decode()
    assert without_erased([of_another], set()) == [of_another]
    assert without_erased([redacted], {CASE_NO}) == [redacted]


class Noted:
    """What was noted as erased, and what was put aside."""

    def __init__(self) -> None:
        self.cases: list[str] = []
        self.aside: list[tuple[int, str]] = []

    async def add(self, case_nos: Iterable[str]) -> None:
        self.cases += case_nos

    async def put(self, record: Record, reason: str, error: BaseException | None = None) -> None:
        self.aside.append((record.offset, reason))


def record(offset: int, event: Event, value: bytes | None = None) -> Record:
    return Record(
        "triage.v1",
        event.partition,
        offset,
        event.key,
        value if value is not None else event.encoded,
        event.headers(),
        0,
    )


async def test_only_erasures_are_read_and_a_broken_one_costs_nobody_else() -> None:
    event = kept("a").event
    fields = event.data.model_dump(exclude={"text", "seq"})
    erased = Event.of(event.id, CaseErased.model_validate({**fields, "seq": 1, "by": "channel:x"}))
    other = Event.of(event.id, ErasureRequested.model_validate({**fields, "by": "channel:x"}))
    assert erased.headers()["ce_type"] == TYPE_PREFIX + "case.erased"
    noted = Noted()
    listener = Listener(noted, noted)
    unreadable_but_of_no_concern = record(1, other, b"{")
    await listener.handle(
        [unreadable_but_of_no_concern, record(2, erased, b"{"), record(3, erased)]
    )
    assert noted.cases == [CASE_NO]
    assert noted.aside == [(2, "breaks the contract at value")]
