"""What differs from city to city, read from one YAML file and checked before anything starts.

Code knows no city: regions, categories, tiers with their clocks, departments, hotlines, routing,
channels, the danger lexicon, the words told to citizens and the working rules all stand in a
profile (shipped ones: `deploy/profiles/*.yaml`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path

import yaml
from pydantic import ValidationError

from contracts.profile_checks import check, first_mistake
from contracts.profile_parts import (
    STEP_FIELDS,
    Category,
    CategoryCode,
    Channel,
    Clocks,
    Code,
    DangerCause,
    DangerLexicon,
    DangerSign,
    Department,
    Hotline,
    HotlineCode,
    KindCode,
    Need,
    Part,
    Plan,
    Region,
    Rule,
    Rules,
    Step,
    Text,
    Tier,
    TierCode,
    Tiers,
)

__all__ = [
    "STEP_FIELDS",
    "Category",
    "CategoryCode",
    "Channel",
    "Clocks",
    "DangerCause",
    "DangerLexicon",
    "DangerSign",
    "Department",
    "Hotline",
    "HotlineCode",
    "KindCode",
    "Need",
    "Plan",
    "Profile",
    "ProfileError",
    "Region",
    "Rule",
    "Rules",
    "Step",
    "Tier",
    "TierCode",
    "Tiers",
    "load_profile",
    "shipped_profiles",
]

SHIPPED = Path(__file__).resolve().parent.parent / "deploy" / "profiles"


class ProfileError(ValueError):
    """A profile that can't be used: one line that names the file, the key and what to do."""


class Profile(Part):
    """One city (or province, or flood) as software can know it. Load it with `load_profile`."""

    id: Code
    version: Text
    name: Text
    time_zone: Text
    regions: tuple[Region, ...]
    categories: tuple[Category, ...]
    tiers: Tiers
    departments: tuple[Department, ...]
    hotlines: tuple[Hotline, ...]
    needs: tuple[Need, ...] = ()
    routing: tuple[Rule, ...]
    channels: tuple[Channel, ...]
    danger: DangerLexicon
    words: dict[Step, Text]  # str.format templates over STEP_FIELDS
    rules: Rules

    @cached_property
    def regions_by_code(self) -> Mapping[str, Region]:
        return {region.code: region for region in self.regions}

    @cached_property
    def departments_by_code(self) -> Mapping[str, Department]:
        return {department.code: department for department in self.departments}

    @cached_property
    def hotlines_by_code(self) -> Mapping[str, Hotline]:
        return {hotline.code: hotline for hotline in self.hotlines}

    @cached_property
    def channels_by_code(self) -> Mapping[str, Channel]:
        return {channel.code: channel for channel in self.channels}

    @cached_property
    def categories_by_code(self) -> Mapping[str, Category]:
        return {category.code: category for category in self.categories}

    def tier(self, code: TierCode) -> Tier:
        return {"blue": self.tiers.blue, "orange": self.tiers.orange, "red": self.tiers.red}[code]

    def region_path(self, code: str | None) -> tuple[str, ...]:
        """The region and all above it, from the inside out; empty for an unknown one."""
        path: list[str] = []
        while code is not None and code in self.regions_by_code:
            path.append(code)
            code = self.regions_by_code[code].parent
        return tuple(path)

    def covers(self, department: str, region: str | None) -> bool:
        """Whether a department acts in a region. An unknown region is covered by those that act
        everywhere only."""
        regions = self.departments_by_code[department].regions
        return not regions or any(code in regions for code in self.region_path(region))

    def plan_for(
        self,
        category: str,
        region: str | None,
        hotline: str | None = None,
        needs: Collection[str] = (),
        kind: str | None = None,
    ) -> Plan | None:
        """The first routing rule that fits and whose lead acts in the region; None: the desk."""
        path = self.region_path(region)
        for rule in self.routing:
            fits = (
                rule.category in (None, category)
                and rule.kind in (None, kind)
                and (rule.need is None or rule.need in needs)
                and (rule.region is None or rule.region in path)
                and (rule.hotline is None or rule.hotline == hotline)
            )
            if fits and self.covers(rule.lead, region):
                assist = tuple(code for code in rule.assist if self.covers(code, region))
                return Plan(lead=rule.lead, assist=assist, rule=rule.id)
        return None

    def say(self, step: Step, **fields: str) -> str:
        """The sentence told to the citizen at `step`.

        Raises KeyError if one of `STEP_FIELDS[step]` that the template uses is not given.
        """
        return self.words[step].format(**fields)


def shipped_profiles() -> Iterable[str]:
    """Names that `load_profile` knows without a path."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load_profile(name_or_path: str | Path) -> Profile:
    """Read and check a profile: the name of a shipped one, or a path.

    Raises ProfileError, one line naming file, key and fix.
    """
    path = SHIPPED / f"{name_or_path}.yaml"
    if not path.is_file():
        path = Path(name_or_path)
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)  # noqa: S506 - it is a safe loader
    except FileNotFoundError:
        known = ", ".join(shipped_profiles())
        raise ProfileError(f"{path}: no such profile; give a path or one of: {known}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: can't be read as UTF-8 ({type(error).__name__})") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid"
        raise ProfileError(f"{path}{line}: YAML {problem}; mend the syntax") from None
    if not isinstance(content, dict):
        raise ProfileError(f"{path}: must be a mapping with the keys id, version, name, …")
    try:
        profile = Profile.model_validate(content)
    except ValidationError as error:
        raise ProfileError(f"{path}: {first_mistake(error)}") from None
    for key, fix in check(profile):
        raise ProfileError(f"{path}: {key}: {fix}")
    return profile


# The C loader is the same safe loader, ten times as fast; wheels of PyYAML carry it.
_LOADER: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
