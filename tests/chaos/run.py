"""One run: the platform, its people, the load, the faults one after another, then the check."""

import asyncio
import random
import time
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from contracts.profile import Profile, load_profile
from deploy.audit import Audit, run_audit
from deploy.local import control
from deploy.local.credentials import WEBHOOK_SECRET
from deploy.local.folders import PlatformFolder
from deploy.simulators.calls import Calls
from deploy.simulators.receiver import ReceiverServer
from services.notify.domain.webhooks import printed, receiver_key
from tests.chaos import http_answers, journal
from tests.chaos.check import Check, Found
from tests.chaos.crowd import CHANNEL, Crowd
from tests.chaos.disk import own_disk
from tests.chaos.faults import Striker, Struck
from tests.chaos.load import Load
from tests.chaos.plan import Fault, Options, Strike, strikes, waves
from tests.chaos.poison import Poisoner
from tests.chaos.stage import PROFILE, Doors, Stage, planned
from tests.chaos.watch import Watch

JOURNALS = "clients"
_STILL_S = 30.0
_ENDED_FOR_S = 3.0
_LOOK_EVERY_S = 0.5
_FIGURES_WITHIN_S = 60.0
_STILL_LOOKS = 3

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that a run came to."""

    options: Options
    struck: list[Struck]
    found: Found
    answers: http_answers.Answers
    people: Counter[tuple[str, str]]
    """Answers of triage and notify to desk and departments."""
    audit: Audit
    audit_faults: list[str]
    """What the audit found beside the poison."""
    load_s: float
    drain_s: float

    @property
    def is_good(self) -> bool:
        """Whether nothing was lost, double, miscounted or refused, and all faults were survived."""
        recovered = all(one.recovery_s is not None for one in self.struck if one.is_done)
        return (
            self.found.is_good
            and recovered
            and not self.audit_faults
            and not self.answers.unexcused
        )


async def run(options: Options, root: Path, say: Say) -> Result:
    """Run and check. Everything that was started is ended."""
    folder = PlatformFolder(root)
    folder.create()
    wants_disk = any(one.fault is Fault.DISK for one in strikes(options))
    doors, server = Doors(options.nodes), ReceiverServer()
    with ExitStack() as stack:
        stack.callback(server.close)
        disk = None
        if wants_disk:
            disk = stack.enter_context(own_disk(root / "store.img", folder.data / "store"))
        profile = load_profile(PROFILE)
        urls = {
            one.code: server.url(one.code) for one in profile.departments if one.kind == "hotline"
        }
        plan = planned(folder, doors, options.nodes, urls)
        await doors.open()
        stack.callback(control.stop, folder)
        say(f"starting {options.nodes} brokers, the store and the services")
        await asyncio.to_thread(control.start, folder, plan)
        stage = Stage(folder, plan, doors.links, disk)
        stack.callback(stage.end_extras)
        with journal.Journals(root / JOURNALS) as journals:
            struck, people, load_s, drain_s = await _play(
                options, stage, profile, server, journals, say
            )
        say("checking")
        result = await _check(options, stage, struck, people, load_s, drain_s)
        await doors.close()
        return result


async def _play(
    options: Options,
    stage: Stage,
    profile: Profile,
    server: ReceiverServer,
    journals: journal.Journals,
    say: Say,
) -> tuple[list[Struck], Counter[tuple[str, str]], float, float]:
    """Load and faults; returns when the platform has finished what it has, or time is over."""
    kafka_url = stage.addresses.kafka_url
    keys = _webhook_keys(stage, profile)
    token = stage.tokens["channel"][CHANNEL]
    load = Load(
        stage.url("intake"), token, options.rate, options.seed, server.url(CHANNEL), journals
    )
    crowd = Crowd(stage, profile, load, server, keys, journals)
    watch = Watch(kafka_url)
    poisoner = Poisoner(kafka_url, [one.code for one in profile.departments], options.seed)
    over = asyncio.Event()
    working = [
        asyncio.create_task(_lasting("the watch", watch.run(), say)),
        asyncio.create_task(_lasting("the crowd", crowd.work(), say)),
    ]
    began = time.monotonic()
    asking = [
        asyncio.create_task(load.run(over)),
        asyncio.create_task(poisoner.run(options.rate * options.poison_share, over, journals)),
    ]
    try:
        await _warm(load)
        struck = await _strike(options, Striker(stage, watch, load, options, journals), say)
        await asyncio.sleep(max(0.0, began + options.least_s - time.monotonic()))
        over.set()
        load_s = time.monotonic() - began
        say(f"load is over after {load_s:.0f} s: {load.asked} asked, {len(watch.ended)} ended")
        await asyncio.gather(*asking)
        drain_s = await _drained(options, load, watch)
        say(f"drained in {drain_s:.0f} s: {len(watch.ended)} of {len(load.codes)} ended")
    finally:
        for task in [*asking, *working]:
            task.cancel()
        ends = await asyncio.gather(*asking, *working, return_exceptions=True)
        await load.close()
    failures = [one for one in ends if isinstance(one, Exception)]
    if failures:
        raise failures[0]
    return struck, crowd.answers, load_s, drain_s


async def _lasting(what: str, work: Awaitable[None], say: Say) -> None:
    """Run what must not end by itself: a harness without people would blame the platform."""
    try:
        await work
    except Exception:
        say(f"{what} failed:\n{traceback.format_exc()}")
        raise


async def _warm(load: Load) -> None:
    """Let the first requests through before the first fault."""
    while not load.accepted_at:
        await asyncio.sleep(_LOOK_EVERY_S)
    await asyncio.sleep(2)


async def _strike(options: Options, striker: Striker, say: Say) -> list[Struck]:
    chance = random.Random(f"{options.seed}/pauses")
    planned_ = waves(options)
    struck: list[Struck] = []

    async def one_of(wave: int, one: Strike) -> None:
        await asyncio.sleep(chance.uniform(*options.pause_s))
        done = await striker.strike(one)
        struck.append(done)
        recovery = "not recovered" if done.recovery_s is None else f"{done.recovery_s:.1f} s"
        said = f"{recovery} {done.note}" if done.is_done else done.note
        say(f"[{wave}/{len(planned_)}] {done.name}: {said}")

    for number, wave in enumerate(planned_, start=1):
        await asyncio.gather(*(one_of(number, one) for one in wave))
    return struck


async def _drained(options: Options, load: Load, watch: Watch) -> float:
    """Wait until all that was accepted has ended and stays so, since who was told may be
    discontent; or until nothing moves any more."""
    began = ended_at = time.monotonic()
    while time.monotonic() - began < options.drain_s:
        if not load.codes.keys() <= watch.ended:
            ended_at = time.monotonic()
        elif time.monotonic() - ended_at > _ENDED_FOR_S:
            break
        if time.monotonic() - watch.last_s > _STILL_S:
            break
        await asyncio.sleep(_LOOK_EVERY_S)
    return time.monotonic() - began


def _webhook_keys(stage: Stage, profile: Profile) -> dict[str, str]:
    """The keys by which receivers check webhooks, as an operator gives them out."""
    path = stage.folder.secrets / WEBHOOK_SECRET
    secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    codes = [one.code for one in profile.departments]
    keys = {code: printed(receiver_key(secret, "department", code)) for code in codes}
    return {**keys, CHANNEL: printed(receiver_key(secret, "channel", CHANNEL))}


async def _check(
    options: Options,
    stage: Stage,
    struck: list[Struck],
    people: Counter[tuple[str, str]],
    load_s: float,
    drain_s: float,
) -> Result:
    addresses, folder = stage.addresses, stage.folder.root / JOURNALS
    shown = await _standing_totals(stage)
    check = Check(addresses.kafka_url, folder)
    found = await check.run(shown)
    audit = await run_audit(addresses.kafka_url, addresses.mongo_url)
    return Result(
        options=options,
        struck=struck,
        found=found,
        answers=http_answers.count(folder, stage.down),
        people=people,
        audit=audit,
        audit_faults=_beside_poison(audit, check.poison),
        load_s=load_s,
        drain_s=drain_s,
    )


async def _standing_totals(stage: Stage) -> dict[str, int]:
    """Reporting's totals once they are current and stand still, or as they are after a while."""
    token = stage.tokens["operator"]["operator-1"]
    until_s = time.monotonic() + _FIGURES_WITHIN_S
    still, before = 0, None
    async with Calls(stage.url("reporting"), token=token) as reporting:
        while True:
            document = (await reporting.get("/v1/figures")).document
            totals: dict[str, int] = document["totals"]
            is_still = totals == before and bool(document["as_of"]["is_current"])
            still = still + 1 if is_still else 0
            if still >= _STILL_LOOKS or time.monotonic() > until_s:
                return {**totals, **document["totals"]["handoffs"]}
            before = totals
            await asyncio.sleep(_LOOK_EVERY_S)


def _beside_poison(audit: Audit, poison: set[str]) -> list[str]:
    """The audit's findings but for those that are the poison itself."""
    findings = [
        f"{one.kind} {one.case_no or ''} {one.what}".replace("  ", " ")
        for one in (*audit.missing, *audit.double)
        if one.what.partition(" ")[0] not in poison
    ]
    letters = [
        f"dead letter of {one.service}: {one.origin} {one.reason}"
        for one in audit.dead_letters
        if one.origin not in poison
    ]
    return findings + letters
