"""The parts of the chaos harness: a check that finds nothing must be one that can find."""

import asyncio
from collections import Counter
from pathlib import Path

from contracts import handling as h
from contracts.lifecycle import state_of
from tests.chaos import effects, http_answers, journal, recount
from tests.chaos.check import Check
from tests.chaos.plan import SERVICES, Fault, Options, strikes, waves
from tests.chaos.proxy import Link, Proxy
from tests.notify_story import CaseStory

WAIT_SECONDS = 5.0


def test_a_seed_gives_the_same_faults_in_the_same_order_and_each_service_its_kills() -> None:
    options = Options(seed=4)
    assert strikes(options) == strikes(Options(seed=4)) != strikes(Options(seed=5))
    counts = Counter(one.fault for one in strikes(options))
    for fault in (Fault.KILL_INTAKE, Fault.KILL_TRIAGE, Fault.KILL_NOTIFY, Fault.KILL_REPORTING):
        assert counts[fault] >= 10
    assert counts[Fault.KILL_BROKER] == 3
    assert set(counts) == set(Fault)


def test_services_are_struck_together_and_what_strikes_all_of_them_alone() -> None:
    options = Options(seed=4)
    struck = waves(options)
    assert sorted(map(str, strikes(options))) == sorted(str(one) for wave in struck for one in wave)
    assert max(map(len, struck)) == options.at_once
    for wave in struck:
        targets = [one.target for one in wave]
        assert len(wave) == 1 or (len(set(targets)) == len(wave) and {*targets} <= {*SERVICES})
    assert [wave for wave in waves(Options.short(5, 1, ())) if len(wave) > 1] == []


def test_two_orders_of_one_place_are_double_and_one_is_not() -> None:
    story = CaseStory()
    events = [story.opened(), story.ordered("health")]
    assert list(effects.on_log(state_of(story.case_no, events))) == []
    second = events[1].data.model_copy(update={"handoff_id": "another", "seq": 3})
    again = type(events[1]).of("00000000-0000-0000-0000-000000000001", second)
    found = list(effects.on_log(state_of(story.case_no, [*events, again])))
    assert len(found) == 1
    assert found[0].endswith("2 times")


def test_messages_and_webhooks_under_two_ids_are_double_and_repeated_ones_are_not(
    tmp_path: Path,
) -> None:
    with journal.Journals(tmp_path) as journals:
        for webhook_id in ("w1", "w1"):
            journals[journal.TOLD].write(
                webhook_id=webhook_id, case_no="c", event_id="e", step="answered", round=0
            )
            journals[journal.WEBHOOKS].write(
                webhook_id=webhook_id,
                case_no="c",
                department="d",
                handoff_id="h",
                version=1,
                order=[0, "lead", 1],
            )
    assert [*effects.at_citizens(tmp_path), *effects.at_departments(tmp_path)] == []
    with journal.Journals(tmp_path) as journals:
        journals[journal.TOLD].write(
            webhook_id="w2", case_no="c", event_id="e2", step="answered", round=0
        )
        journals[journal.WEBHOOKS].write(
            webhook_id="w2",
            case_no="c",
            department="d",
            handoff_id="h",
            version=1,
            order=[0, "lead", 1],
        )
    assert len(list(effects.at_citizens(tmp_path))) == 1
    assert len(list(effects.at_departments(tmp_path))) == 1


def test_a_recount_that_differs_is_said_for_each_counter() -> None:
    story = CaseStory()
    totals: Counter[str] = Counter()
    recount.count(totals, state_of(story.case_no, [story.opened(), story.ordered("health")]))
    assert (
        totals["accepted"] == totals["open"] == totals["handed_over"] == totals["dispatched"] == 1
    )
    shown = {name: totals[name] for name in recount.COUNTERS}
    assert recount.differences(shown, totals) == []
    assert recount.differences({**shown, "open": 2}, totals) == ["open: shown 2, counted 1"]


def test_a_5xx_is_excused_only_while_both_bus_and_store_are_away(tmp_path: Path) -> None:
    with journal.Journals(tmp_path) as journals:
        for began in (10.0, 20.0):
            journals[journal.ANSWERS].write(
                what="requests", status=503, attempt=1, began=began, took_s=0.1
            )
        journals[journal.ANSWERS].write(
            what="requests", status=202, attempt=2, began=21.0, took_s=0.5
        )
    down = {"bus": [(9.0, 12.0)], "store": [(9.5, 25.0)]}
    answers = http_answers.count(tmp_path, down)
    assert answers.unexcused == ["503 requests at 20.0"]
    assert answers.by_status == {"503": 2, "202": 1}
    assert len(http_answers.count(tmp_path, {"store": down["store"]}).unexcused) == 2


def test_what_clients_were_told_twice_differently_is_double(tmp_path: Path) -> None:
    with journal.Journals(tmp_path) as journals:
        for key in ("k1", "k2", "k3"):
            journals[journal.ASKED].write(key=key)
        for key, case_no in (("k1", "A"), ("k1", "A"), ("k1", "B"), ("k2", "A")):
            journals[journal.ACCEPTED].write(key=key, case_no=case_no)
    check = Check("nowhere:1", tmp_path)
    check.read_clients()
    assert check.found.doubled == ["case A for two keys", "key k1 has 2 cases"]
    assert check.found.unanswered == 1
    assert not check.found.is_good


def test_a_result_is_seen_twice_if_it_was_recorded_twice() -> None:
    story = CaseStory()
    ordered = story.ordered("health")
    handoff = ordered.data.model_dump()["handoff_id"]
    fields = {
        "case_no": story.case_no,
        "document_id": handoff,
        "handoff_id": handoff,
        "lc": 2,
        "occurred_at": story.at,
        "recorded_at": story.at,
        "by": "feed",
        "role": "lead",
        "attempt": 1,
        "department": "health",
    }
    sent = [
        type(ordered).of(
            f"00000000-0000-0000-0000-00000000000{number}",
            h.HandoffSent.model_validate(
                {**fields, "seq": number, "caused_by": f"command:{number}"}
            ),
        )
        for number in (1, 2)
    ]
    found = list(effects.on_log(state_of(story.case_no, [ordered, *sent])))
    assert [one for one in found if one.startswith("handoff.sent")]


async def test_a_cut_link_holds_back_what_is_sent_and_brings_it_after_the_cut() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    link = Link()
    proxy = Proxy(link)
    await proxy.serve(server.sockets[0].getsockname()[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            writer.write(b"one")
            assert await reader.readexactly(3) == b"one"
            link.cut()
            writer.write(b"two")
            waiting = asyncio.create_task(reader.readexactly(3))
            done, _ = await asyncio.wait([waiting], timeout=0.3)
            assert not done, "a cut link let something through"
            link.mend()
            assert await waiting == b"two"
    finally:
        writer.close()
        await proxy.close()
        server.close()
