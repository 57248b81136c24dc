"""Strategies for arbitrary instances of the contract's models, from their fields and bounds."""

from datetime import datetime, timedelta, timezone
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from hypothesis import strategies as st
from pydantic import AnyHttpUrl, AwareDatetime, BaseModel, StringConstraints
from pydantic.fields import FieldInfo

from contracts import ids
from contracts.vocabulary import Personal
from tests.contract.histories import MARKER, PERSONAL_NUMBERS

M = TypeVar("M", bound=BaseModel)

_ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
INSTANTS = st.builds(
    datetime.fromtimestamp,
    st.integers(0, 7 * 10**9) | st.floats(0, 7e9, width=32),
    _ZONES,
)
_WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_CASE_NUMBERS = st.integers(0, 2**32).map(lambda n: ids.case_number(b"s", "app", str(n)))
_CAUSES = st.sampled_from(["event", "command", "deadline", "reply", "group", "attempt"]).flatmap(
    lambda kind: st.text(
        st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), min_size=1
    ).map(lambda what: f"{kind}:{what}")
)
_PATTERNS = {
    ids.CASE_NUMBER_PATTERN: _CASE_NUMBERS,
    r"^(event|command|deadline|reply|group|attempt):.+$": _CAUSES,
}


def instances(model: type[M]) -> st.SearchStrategy[M]:
    """Arbitrary valid instances of a model."""
    return _models(model, filled=False)


def filled(model: type[M]) -> st.SearchStrategy[M]:
    """Instances in which nothing is null or empty and every personal field holds a trace."""
    return _models(model, filled=True)


@cache
def _models(model: type[Any], *, filled: bool) -> st.SearchStrategy[Any]:
    fields = {name: _field(field, filled=filled) for name, field in model.model_fields.items()}
    return st.fixed_dictionaries(fields).map(lambda values: model(**values))


def _field(field: FieldInfo, *, filled: bool) -> st.SearchStrategy[Any]:
    return _annotated(field.annotation, list(field.metadata), filled=filled)


def _annotated(of: Any, marks: list[Any], *, filled: bool) -> st.SearchStrategy[Any]:
    """Values of a type with what `Annotated` and `Field` say about it."""
    while get_origin(of) is Annotated:
        of, *more = get_args(of)
        marks = [*more, *marks]
    marks = [mark for outer in marks for mark in _parts(outer)]
    origin = get_origin(of)
    if origin in (Union, UnionType):
        chosen = [one for one in get_args(of) if not (filled and one is NoneType)]
        return st.one_of(*(_annotated(one, marks, filled=filled) for one in chosen))
    if origin is Literal:
        return st.sampled_from(get_args(of))
    if origin is tuple:
        member = _annotated(get_args(of)[0], [], filled=filled)
        return st.lists(member, min_size=int(filled), max_size=2).map(tuple)
    return _plain(of, marks, filled=filled)


def _parts(mark: Any) -> list[Any]:
    return list(mark.metadata) if isinstance(mark, FieldInfo) else [mark]


def _plain(of: Any, marks: list[Any], *, filled: bool) -> st.SearchStrategy[Any]:
    is_traced = filled and any(isinstance(mark, Personal) for mark in marks)
    if of is NoneType:
        return st.none()
    if of in (datetime, AwareDatetime):
        return INSTANTS
    if of is bool:
        return st.booleans()
    if of is AnyHttpUrl:
        return st.just(AnyHttpUrl("https://example.org/policy"))
    if of is int:
        return st.integers(_bound(marks, "ge", -(2**40)), _bound(marks, "le", 2**40))
    if of is float:
        return st.just(PERSONAL_NUMBERS[0]) if is_traced else _numbers(marks)
    if of is str:
        return st.just(MARKER) if is_traced else _texts(marks)
    if issubclass(of, Enum):
        return st.sampled_from(list(of))
    if issubclass(of, BaseModel):
        return _models(of, filled=filled)
    raise NotImplementedError(f"no strategy for {of!r}")


def _bound(marks: list[Any], name: str, otherwise: Any) -> Any:
    found = [getattr(mark, name) for mark in marks if getattr(mark, name, None) is not None]
    return found[0] if found else otherwise


def _numbers(marks: list[Any]) -> st.SearchStrategy[float]:
    over = _bound(marks, "gt", None)
    return st.floats(
        _bound(marks, "ge", -1e9) if over is None else over,
        _bound(marks, "le", 1e9),
        exclude_min=over is not None,
        allow_nan=False,
    )


def _texts(marks: list[Any]) -> st.SearchStrategy[str]:
    pattern = _bound(marks, "pattern", None)
    if pattern is not None:
        return _PATTERNS[pattern]
    least, most = _bound(marks, "min_length", 0), _bound(marks, "max_length", 20)
    is_stripped = any(isinstance(m, StringConstraints) and m.strip_whitespace for m in marks)
    if is_stripped or least:
        return st.text("求助abc0 ", min_size=1, max_size=min(most, 20)).map(
            lambda s: f"x{s[:-1]}y"[:most]
        )
    return _WORDS
