"""Whether two versions of the contract can be read side by side.

The case topics are kept for ever and readers are deployed one after another, so both directions
count: a reader of the released schemas meets records of the new ones, and a reader of the new
ones meets records of the released ones. So nearly every change of a field that exists is a break;
what may be added is a new schema (an event type) and a new optional field, which readers ignore.

Two changes that look harmless are breaks. A value added to an enum: the enums are closed, a
reader of the released version refuses the whole record. A new field of an object that takes no
other fields (a reply): its released reader refuses it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]

_UNREAD = frozenset({"title", "description", "examples", "discriminator", "$defs", "$id"})
"""Keywords that say nothing about which records are valid."""
_COMPARED_APART = frozenset(
    {"$ref", "properties", "required", "items", "prefixItems", "anyOf", "oneOf", "enum"}
)
_LOWER = ("minimum", "exclusiveMinimum", "minLength", "minItems")
_UPPER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems")


@dataclass(frozen=True, slots=True)
class Break:
    """One change that breaks a reader: in which schema, at which field, and why."""

    schema: str
    field: str
    why: str

    def __str__(self) -> str:
        return f"{self.schema}: {self.field or 'the whole'}: {self.why}"


def breaks(released: Mapping[str, Schema], new: Mapping[str, Schema]) -> list[Break]:
    """Return what in `new` breaks a reader or a record of `released`; both map names to schemas."""
    found: list[Break] = []
    for name in sorted(released):
        if name not in new:
            found.append(Break(name, "", "is removed, but records of it are kept"))
            continue
        comparison = _Comparison(released[name], new[name])
        found.extend(
            Break(name, field, why)
            for field, why in comparison.differences(released[name], new[name], "")
        )
    return found


class _Comparison:
    """Compares two schemas part by part; each resolves references in its own root."""

    def __init__(self, old_root: Schema, new_root: Schema) -> None:
        self._old_root = old_root
        self._new_root = new_root
        self._entered: set[tuple[str, str]] = set()

    def differences(self, old: Schema, new: Schema, field: str) -> Iterator[tuple[str, str]]:
        """Yield (field, why) for each breaking difference of two parts."""
        refs = (str(old.get("$ref", "")), str(new.get("$ref", "")))
        if all(refs):
            if refs in self._entered:
                return
            self._entered.add(refs)
        old, new = _resolved(old, self._old_root), _resolved(new, self._new_root)
        yield from _values(old, new, field)
        yield from self._fields(old, new, field)
        yield from self._members(old, new, field)
        yield from self._alternatives(old, new, field)
        self._entered.discard(refs)

    def _fields(self, old: Schema, new: Schema, field: str) -> Iterator[tuple[str, str]]:
        had, has = old.get("properties", {}), new.get("properties", {})
        was_required, is_required = set(old.get("required", ())), set(new.get("required", ()))
        closed = old.get("additionalProperties") is False
        for name in sorted(had.keys() | has.keys()):
            path = f"{field}.{name}" if field else name
            if name not in has:
                yield path, "is removed or renamed"
            elif name not in had:
                if name in is_required:
                    yield path, "is new and required: records that are kept do not have it"
                elif closed:
                    yield path, "is new in an object whose released reader refuses other fields"
            else:
                if name in is_required - was_required:
                    yield path, "is required now: records that are kept may lack it"
                if name in was_required - is_required:
                    yield path, "may be missing now: the released reader requires it"
                yield from self.differences(had[name], has[name], path)

    def _members(self, old: Schema, new: Schema, field: str) -> Iterator[tuple[str, str]]:
        path = f"{field}[]"
        if ("items" in old) != ("items" in new):
            yield path, "has members of another kind"
        elif "items" in old:
            yield from self.differences(old["items"], new["items"], path)
        had, has = old.get("prefixItems", []), new.get("prefixItems", [])
        if len(had) != len(has):
            yield path, "has another number of members"
        else:
            for before, now in zip(had, has, strict=True):
                yield from self.differences(before, now, path)

    def _alternatives(self, old: Schema, new: Schema, field: str) -> Iterator[tuple[str, str]]:
        had = [*old.get("anyOf", ()), *old.get("oneOf", ())]
        has = [*new.get("anyOf", ()), *new.get("oneOf", ())]
        if not had and not has:
            return
        left = list(has)
        unmatched: list[Schema] = []
        for before in had:
            match = next((now for now in left if self._is_same(before, now)), None)
            if match is None:
                unmatched.append(before)
            else:
                left.remove(match)
        if len(unmatched) == len(left) == 1:
            yield from self.differences(unmatched[0], left[0], field)
        elif unmatched:
            yield field, "has lost or changed an alternative"
        elif left:
            yield field, "has a new alternative, which the released reader refuses"

    def _is_same(self, old: Schema, new: Schema) -> bool:
        return not list(self.differences(old, new, ""))


def _resolved(part: Schema, root: Schema) -> Schema:
    """Follow a `$ref` inside the schema; keywords beside it stay."""
    ref = part.get("$ref")
    if ref is None:
        return part
    target: Any = root
    for step in str(ref).removeprefix("#/").split("/"):
        target = target[step]
    beside = {key: value for key, value in part.items() if key != "$ref"}
    return _resolved({**target, **beside}, root)


def _values(old: Schema, new: Schema, field: str) -> Iterator[tuple[str, str]]:
    """Compare everything that bounds a single value."""
    lost, added = _enum(old) - _enum(new), _enum(new) - _enum(old)
    if ("enum" in old) != ("enum" in new):
        yield field, "is an enum in one version only"
    else:
        if lost:
            yield field, f"no longer takes {', '.join(sorted(lost))}"
        if added:
            yield field, f"takes {', '.join(sorted(added))}, which the released reader refuses"
    keywords = (old.keys() | new.keys()) - _UNREAD - _COMPARED_APART
    for keyword in sorted(keywords):
        before, now = old.get(keyword), new.get(keyword)
        if before != now or (keyword in old) != (keyword in new):
            yield field, _change(keyword, before, now)


def _enum(part: Schema) -> set[str]:
    return {str(value) for value in part.get("enum", ())}


def _change(keyword: str, before: Any, now: Any) -> str:
    if keyword == "x-personal":
        return "changes whether it is personal: erasure would not reach records that are kept"
    if keyword == "default":
        return f"a missing value meant {before!r} and means {now!r} now"
    if keyword in _LOWER or keyword in _UPPER:
        whom = _refusing(keyword, before, now)
        return f"{keyword} changes from {before} to {now}: {whom}"
    return f"{keyword} changes from {before!r} to {now!r}"


def _refusing(keyword: str, before: Any, now: Any) -> str:
    """Say which side of a changed bound refuses the other's records."""
    if before is None:
        is_narrower = True
    elif now is None:
        is_narrower = False
    else:
        is_narrower = now > before if keyword in _LOWER else now < before
    if is_narrower:
        return "records that are kept may be refused"
    return "the released reader refuses what is allowed now"
