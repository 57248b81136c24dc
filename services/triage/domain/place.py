"""Where a case belongs (属地): by what was chosen, the address, the text or coordinates."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from contracts.profile import Profile, Region
from contracts.text import normalise
from contracts.vocabulary import Location

How = Literal["chosen", "address", "text", "coordinates"]

_FARTHEST_KM = 45.0  # from a county's seat; farther away is no longer surely that county
_SUFFIXES = ("街道", "回族镇", "镇", "乡", "县", "区", "市")
# Right before a place these say that it is where one is or goes, not where one comes from.
_HERE = ("在", "回", "到", "住", "位于", "地址", "地点", "：", ":", "来", "去", "返")
_FROM = ("从", "离开", "途经", "路过", "经过", "由")


@dataclass(frozen=True, slots=True)
class Place:
    """A region of the profile, how it was found and how sure that is (0 to 1)."""

    region: str
    how: How
    confidence: float


@dataclass(frozen=True, slots=True)
class _Mention:
    region: Region
    start: int
    weight: float


class PlaceFinder:
    """Finds the profile's regions in texts. Compiled once; `find` is pure."""

    def __init__(self, profile: Profile) -> None:
        self._profile = profile
        self._names: dict[str, list[tuple[str, Region, bool]]] = {}
        for region in profile.regions:
            names = {normalise(name).text for name in (region.name, *region.aliases)}
            for name in names:
                self._add(name, region, full=True)
            stem = _stem(region.name)
            if region.level == "township" and len(stem) >= 2 and stem not in names:
                self._add(stem, region, full=False)

    def _add(self, name: str, region: Region, *, full: bool) -> None:
        self._names.setdefault(name[:2], []).append((name, region, full))

    def find(self, text: str, chosen: str | None, location: Location | None) -> Place | None:
        """The place of a request; what a person said outright comes before what we read.

        A county that was chosen or found is narrowed to a township that the words name inside it.
        """
        address = (location.address if location else None) or ""
        place = self._stated(chosen) or self._read(address, "address")
        if place is None and location and location.lat is not None and location.lon is not None:
            place = self._nearest(location.lat, location.lon)
        if place is None:
            return self._read(text, "text")
        return self._narrowed(place, f"{address}\n{text}")

    def _stated(self, chosen: str | None) -> Place | None:
        if chosen is None or chosen not in self._profile.regions_by_code:
            return None
        return Place(chosen, "chosen", 1.0)

    def _read(self, text: str, how: How) -> Place | None:
        mentions = list(self._mentions(normalise(text).text)) if text else []
        if not mentions:
            return None
        best = max(mentions, key=lambda m: (m.weight, -m.start))
        path = self._profile.region_path(best.region.code)
        rivals = {
            m.region.code
            for m in mentions
            if m.region.level in ("county", "township")
            and m.region.code not in path
            and best.region.code not in self._profile.region_path(m.region.code)
        }
        sure = 0.95 if how == "address" else 0.85
        return Place(best.region.code, how, sure if not rivals else 0.5)

    def _mentions(self, text: str) -> Iterator[_Mention]:
        """Regions named in the text; a name that several share needs its county beside it."""
        pairs = set(map(operator.add, text, text[1:]))
        found = [
            (name, region, full, text.find(name))
            for head in self._names.keys() & pairs
            for name, region, full in self._names[head]
            if name in text
        ]
        counties = {region.code for _, region, _, _ in found if region.level == "county"}
        bearers: dict[str, int] = {}
        for name, region, _, _ in found:
            if region.level == "township":
                bearers[name] = bearers.get(name, 0) + 1
        depth = {"province": 0.0, "city": 1.0, "county": 4.0, "township": 6.0}
        for name, region, full, start in found:
            if region.level == "township":
                lonely = region.parent not in counties
                if lonely and (not full or bearers[name] > 1 or counties):
                    continue
            before = text[max(0, start - 3) : start]
            weight = depth[region.level]
            if before.endswith(_FROM):
                weight -= 3.5
            elif before.endswith(_HERE):
                weight += 1.5
            yield _Mention(region, start, weight)

    def _narrowed(self, place: Place, text: str) -> Place:
        read = self._read(text, "text")
        if read is None or read.region == place.region:
            return place
        inside = place.region in self._profile.region_path(read.region)
        return Place(read.region, place.how, min(place.confidence, 0.9)) if inside else place

    def _nearest(self, latitude: float, longitude: float) -> Place | None:
        """The county whose seat is nearest: an approximation, and its confidence says so."""
        seats = [
            (_kilometres(latitude, longitude, *region.centre), region.code)
            for region in self._profile.regions
            if region.centre is not None and region.level == "county"
        ]
        distance, code = min(seats, default=(math.inf, ""))
        if distance > _FARTHEST_KM:
            return None
        return Place(code, "coordinates", round(0.8 - 0.4 * distance / _FARTHEST_KM, 2))


def _stem(name: str) -> str:
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return name.removesuffix(suffix)
    return name


def _kilometres(latitude: float, longitude: float, other: float, across: float) -> float:
    """Distance on a plane tangent at the place: right to a per cent within a province."""
    north = (latitude - other) * 111.2
    east = (longitude - across) * 111.2 * math.cos(math.radians(latitude))
    return math.hypot(north, east)
