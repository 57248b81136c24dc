"""What may stand in the YAML files of this story: short forms that `build.py` completes."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path as FilePath
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from contracts.profile_parts import CategoryCode
from contracts.vocabulary import GroupKind, OnBehalfOf
from deploy.simulators.stories.story import (
    Extension,
    Inquiry,
    Judgement,
    NotAccepted,
    Return,
    SourceFigures,
    Withdrawal,
    Words,
)

TEXTS = FilePath(__file__).parent / "texts"
BEIJING = timezone(timedelta(hours=8))  # no summer time: needs no time-zone database
YEAR = 2022
Level = Annotated[int, Field(ge=1, le=5)]
Parsed = TypeVar("Parsed")


def in_story_time(written: str) -> datetime:
    """Return "MM-DD HH:MM", Beijing time of the story's year, in UTC."""
    local = datetime.strptime(f"{YEAR}-{written}", "%Y-%m-%d %H:%M").replace(tzinfo=BEIJING)
    return local.astimezone(UTC)


def read(name: str, kind: type[Parsed]) -> Parsed:
    """Return a file of this story as the type given; raises pydantic's `ValidationError`."""
    loaded = yaml.safe_load((TEXTS / name).read_text(encoding="utf-8"))
    return TypeAdapter(kind).validate_python(loaded)


class Entry(BaseModel):
    """Base of the short forms: an unknown key is a mistake."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)


class AssistEntry(Entry):
    """A second department, its result in words."""

    department: str
    result: Words


class OrderEntry(Entry):
    """A hand-off; `department` is the one that brings the result in the end."""

    department: str
    returns: tuple[Return, ...] = ()
    assigned: bool = False
    progress: tuple[Words, ...] = ()
    contacted: bool = True
    extension: Extension | None = None
    assists: tuple[AssistEntry, ...] = ()
    result: Words


class RoundEntry(Entry):
    """What a round holds, in short."""

    quotes: tuple[str, ...] = ()
    answer: Words | None = None
    inquiry: Inquiry | None = None
    order: OrderEntry | None = None
    level: Level | None = None
    solved: bool = True
    words: Words | None = None


class AgainEntry(RoundEntry):
    """The second round, with what the citizen says."""

    reopening: Words


class RequestEntry(RoundEntry):
    """A request written by hand, its first round beside it."""

    at: Annotated[datetime, BeforeValidator(in_story_time)]
    region: str
    text: Words
    category: CategoryCode | None = None
    chosen: CategoryCode | None = None
    address: Words | None = None
    anonymous: bool = False
    common: bool = False
    behalf: OnBehalfOf | None = None
    again: AgainEntry | None = None
    judgement: Judgement | None = None
    group: str | None = None
    urgings: tuple[Words, ...] = ()
    supplements: tuple[Words, ...] = ()
    withdrawal: Withdrawal | None = None
    not_accepted: NotAccepted | None = None


class CommonQuestion(Entry):
    """A question that many ask, in several wordings with slots."""

    category: CategoryCode
    origins: Annotated[str, Field(alias="from")] = "anywhere"
    season: Literal["before", "after"] = "before"
    quotes: tuple[str, ...]
    wordings: tuple[Words, ...]
    answer: Words


class CommonQuestions(Entry):
    """All of them, with what fills the slots and how many come on each day (MM-DD)."""

    origins: Mapping[str, tuple[str, ...]]
    kin: tuple[str, ...]
    per_day: Mapping[str, Mapping[CategoryCode, int]]
    questions: tuple[CommonQuestion, ...]


class GroupEntry(Entry):
    """A group and why its cases go together."""

    code: str
    kind: Literal["event", "need"]
    title: Words

    @property
    def group_kind(self) -> GroupKind:
        """The contract's word for it."""
        return GroupKind.SAME_EVENT if self.kind == "event" else GroupKind.SAME_NEED


class PolicyEntry(Entry):
    """A policy passage; dates are days in Beijing."""

    id: str
    title: Words
    categories: Annotated[tuple[CategoryCode, ...], Field(min_length=1)]
    regions: tuple[str, ...] = ()
    valid_from: date
    valid_until: date | None = None
    on_home_page_from: date | None = None
    body: Words


class PolicyFile(Entry):
    """The passages and whom they come from."""

    source: Words
    policies: tuple[PolicyEntry, ...]


class SourceFile(Entry):
    """The source's figures and the tables that complete each entry."""

    figures: SourceFigures
    counties: Mapping[str, str]
    groups: tuple[GroupEntry, ...]
    department_contacts: Mapping[str, str]
    surnames: tuple[str, ...]
    given_names: tuple[str, ...]
    usual_levels: tuple[int, ...]
