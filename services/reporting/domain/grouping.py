"""To which group a cell of the figures belongs, and what the group is called."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from contracts.profile import Profile
from services.reporting.domain.buckets import Bucket

GroupedBy = Literal["region", "category", "tier", "department", "channel", "hour", "day"]
Place = Callable[[Bucket], tuple[str, str]]
"""Returns key and name of a bucket's group."""
_UNKNOWN = "未定"


def placing(profile: Profile, by: GroupedBy) -> Place:
    """Return what places buckets. Hours and days are those of the profile's zone."""
    match by:
        case "hour":
            return _by_time(profile, 16, "%Y-%m-%d %H:00")
        case "day":
            return _by_time(profile, 10, "%Y-%m-%d")
        case "region":
            return _by_county(profile)
        case _:
            return _by_code(by, _names(profile, by))


def _by_code(field: str, names: dict[str, str]) -> Place:
    def place(bucket: Bucket) -> tuple[str, str]:
        code = str(getattr(bucket, field))
        return code, names.get(code, code or _UNKNOWN)

    return place


def _by_county(profile: Profile) -> Place:
    """Townships count with their county: a village's figures would point at a person."""

    def place(bucket: Bucket) -> tuple[str, str]:
        for code in profile.region_path(bucket.region):
            region = profile.regions_by_code[code]
            if region.level != "township":
                return code, region.name
        return bucket.region, bucket.region or _UNKNOWN

    return place


def _by_time(profile: Profile, length: int, form: str) -> Place:
    zone = ZoneInfo(profile.time_zone)

    def place(bucket: Bucket) -> tuple[str, str]:
        at = datetime.strptime(bucket.hour, "%Y-%m-%dT%H").replace(tzinfo=UTC).astimezone(zone)
        return at.isoformat()[:length], at.strftime(form)

    return place


def _names(profile: Profile, by: GroupedBy) -> dict[str, str]:
    match by:
        case "category":
            return {one.code: one.name for one in profile.categories}
        case "department":
            return {one.code: one.name for one in profile.departments}
        case "channel":
            return {one.code: one.name for one in profile.channels}
        case _:
            tiers = profile.tiers
            return {
                "blue": tiers.blue.name,
                "orange": tiers.orange.name,
                "red": tiers.red.name,
            }
