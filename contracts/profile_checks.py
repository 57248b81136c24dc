"""What a profile's parts must say about each other; field types are checked by the models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from string import Formatter
from typing import TYPE_CHECKING, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from contracts.profile_parts import STEP_FIELDS, CategoryCode, Clocks

if TYPE_CHECKING:
    from contracts.profile import Profile

Mistake = tuple[str, str]  # key, fix


def first_mistake(error: ValidationError) -> str:
    """The first of pydantic's findings in one line, with the key as one would look for it."""
    found = error.errors(include_url=False, include_input=False)
    key = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in found[0]["loc"]).lstrip(".")
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    if found[0]["type"] == "extra_forbidden":
        return f"{key}: unknown key; remove it or correct its spelling{more}"
    return f"{key}: {found[0]['msg']}{more}"


def check(profile: Profile) -> Iterator[Mistake]:
    """All contradictions of a profile, the most basic first."""
    yield from _time_zone(profile)
    yield from _duplicates(profile)
    yield from _regions(profile)
    yield from _categories(profile)
    yield from _clocks(profile)
    yield from _departments(profile)
    yield from _routing(profile)
    yield from _danger(profile)
    yield from _words(profile)
    yield from _rules(profile)


def _time_zone(profile: Profile) -> Iterator[Mistake]:
    try:
        ZoneInfo(profile.time_zone)
    except (ZoneInfoNotFoundError, ValueError):
        yield "time_zone", f"unknown zone {profile.time_zone}; use an IANA name like Asia/Shanghai"


def _duplicates(profile: Profile) -> Iterator[Mistake]:
    lists: dict[str, Iterable[str]] = {
        "regions": (part.code for part in profile.regions),
        "categories": (part.code for part in profile.categories),
        "departments": (part.code for part in profile.departments),
        "hotlines": (part.code for part in profile.hotlines),
        "needs": (part.code for part in profile.needs),
        "channels": (part.code for part in profile.channels),
        "routing": (part.id for part in profile.routing),
        "danger.signs": (part.code for part in profile.danger.signs),
    }
    for key, codes in lists.items():
        seen: set[str] = set()
        for index, code in enumerate(codes):
            if code in seen:
                yield f"{key}[{index}]", f"{code} stands twice; remove one of them"
            seen.add(code)


def _regions(profile: Profile) -> Iterator[Mistake]:
    for index, region in enumerate(profile.regions):
        key = f"regions[{index}].parent"
        if region.parent is None and region.level in ("county", "township"):
            yield key, f"{region.code} needs a parent"
        if region.parent is not None and region.parent not in profile.regions_by_code:
            yield key, f"unknown region {region.parent}; add it or correct the code"
        seen: set[str] = set()
        above: str | None = region.code
        while above is not None and above in profile.regions_by_code:
            if above in seen:
                yield key, f"{region.code} stands below itself; correct the parents"
                return
            seen.add(above)
            above = profile.regions_by_code[above].parent


def _categories(profile: Profile) -> Iterator[Mistake]:
    missing = set(get_args(CategoryCode)) - set(profile.categories_by_code)
    if missing:
        yield "categories", f"missing {', '.join(sorted(missing))}; all ten are needed"


def _clocks(profile: Profile) -> Iterator[Mistake]:
    for code, tier in (
        ("blue", profile.tiers.blue),
        ("orange", profile.tiers.orange),
        ("red", profile.tiers.red),
    ):
        yield from _clock(f"tiers.{code}.clocks", tier.clocks)
    if profile.tiers.red.clocks.judged is None:
        yield "tiers.red.clocks.judged", "missing; red cases need a time for 研判"
    tolds = [profile.tier(code).clocks.told for code in ("red", "orange", "blue")]
    if tolds[0] > tolds[1]:
        yield "tiers.red.clocks.told", f"{tolds[0]} is slower than orange's {tolds[1]}; lower it"


def _clock(key: str, clocks: Clocks) -> Iterator[Mistake]:
    if clocks.handed_over > clocks.told:
        yield f"{key}.handed_over", f"{clocks.handed_over} is after told ({clocks.told}); lower it"
    if clocks.handed_over + clocks.result > clocks.told:
        sums = f"handed_over {clocks.handed_over} + result {clocks.result}"
        yield f"{key}.result", f"{sums} passes told ({clocks.told}); lower one or raise told"
    for name, value in (("signed", clocks.signed), ("return_window", clocks.return_window)):
        if value > clocks.result:
            yield f"{key}.{name}", f"{value} is longer than result ({clocks.result}); lower it"
    if clocks.seen > clocks.handed_over:
        yield f"{key}.seen", f"{clocks.seen} is after handed_over ({clocks.handed_over}); lower it"
    if clocks.judged is not None and clocks.judged > clocks.handed_over:
        yield f"{key}.judged", f"{clocks.judged} is after handed_over ({clocks.handed_over})"


def _departments(profile: Profile) -> Iterator[Mistake]:
    for index, department in enumerate(profile.departments):
        key = f"departments[{index}]"
        if department.superior is not None:
            if department.superior not in profile.departments_by_code:
                yield f"{key}.superior", f"unknown department {department.superior}; add it"
            elif department.superior == department.code:
                yield f"{key}.superior", f"{department.code} can't be its own superior; use null"
        for code in department.regions:
            if code not in profile.regions_by_code:
                yield f"{key}.regions", f"unknown region {code}; add it to regions"
        if department.kind == "hotline" and department.transport != "http":
            yield f"{key}.transport", f"{department.code} is a hotline; its transport must be http"
    for index, hotline in enumerate(profile.hotlines):
        entry = profile.departments_by_code.get(hotline.department or "")
        if hotline.department is not None and (entry is None or entry.kind != "hotline"):
            yield (
                f"hotlines[{index}].department",
                f"{hotline.department} is no department of kind hotline; add it or use null",
            )


def _routing(profile: Profile) -> Iterator[Mistake]:
    needs = {need.code for need in profile.needs}
    for index, rule in enumerate(profile.routing):
        key = f"routing[{index}]"
        for field, codes in (("lead", (rule.lead,)), ("assist", rule.assist)):
            for code in codes:
                if code not in profile.departments_by_code:
                    yield f"{key}.{field}", f"unknown department {code}; add it to departments"
        if rule.lead in rule.assist:
            yield f"{key}.assist", f"{rule.lead} leads already; remove it"
        if rule.need is not None and rule.need not in needs:
            yield f"{key}.need", f"unknown need {rule.need}; add it to needs"
        if rule.region is not None and rule.region not in profile.regions_by_code:
            yield f"{key}.region", f"unknown region {rule.region}; add it to regions"
        if rule.hotline is not None and rule.hotline not in profile.hotlines_by_code:
            yield f"{key}.hotline", f"unknown hotline {rule.hotline}; add it to hotlines"


def _danger(profile: Profile) -> Iterator[Mistake]:
    needs = {need.code for need in profile.needs}
    for index, sign in enumerate(profile.danger.signs):
        key = f"danger.signs[{index}]"
        for number in sign.ring:
            if number not in profile.hotlines_by_code:
                yield f"{key}.ring", f"unknown hotline {number}; add it to hotlines"
        if sign.need is not None and sign.need not in needs:
            yield f"{key}.need", f"unknown need {sign.need}; add it to needs"
        if not sign.words:
            yield f"{key}.words", f"{sign.code} has none; add at least one"


def _words(profile: Profile) -> Iterator[Mistake]:
    for step, allowed in STEP_FIELDS.items():
        template = {str(name): text for name, text in profile.words.items()}.get(step)
        if template is None:
            yield f"words.{step}", "missing; say what the citizen is told"
            continue
        try:
            used = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
        except ValueError as error:
            yield f"words.{step}", f"{error}; write {{{{ for a literal brace"
            continue
        for name in sorted(used - allowed):
            yield (
                f"words.{step}",
                f"unknown field {{{name}}}; allowed: {', '.join(sorted(allowed))}",
            )


def _rules(profile: Profile) -> Iterator[Mistake]:
    for name in ("category", "tier", "kind", "hotline", "department"):
        if name not in profile.rules.confidence_bounds:
            yield f"rules.confidence_bounds.{name}", "missing; give a share from 0 to 1"
    for tier in ("blue", "orange", "red"):
        if tier not in profile.rules.automatic_handoff:
            yield f"rules.automatic_handoff.{tier}", "missing; true or false"
