"""Puts the story together: entries by hand and common ones, in order, completed and checked."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from functools import cache

from contracts.policies import Policy
from contracts.profile_parts import CategoryCode
from contracts.vocabulary import Contact, TierCause
from deploy.simulators.stories.path_rules import HOTLINE_PREFIX
from deploy.simulators.stories.story import (
    Assist,
    Feedback,
    Order,
    Path,
    PathKind,
    Round,
    Story,
    StoryGroup,
    StoryPolicy,
    StoryRequest,
    StoryResult,
)
from deploy.simulators.stories.zhoukou.common import ask_common
from deploy.simulators.stories.zhoukou.entries import (
    BEIJING,
    YEAR,
    AgainEntry,
    CommonQuestions,
    OrderEntry,
    PolicyEntry,
    PolicyFile,
    RequestEntry,
    RoundEntry,
    SourceFile,
    read,
)

# The files by hand; the category of those in the last one stands on each entry.
BY_HAND: dict[str, CategoryCode | None] = {
    "policy.yaml": "policy",
    "transport.yaml": "transport",
    "health_code.yaml": "health_code",
    "medical.yaml": "medical",
    "remaining.yaml": None,
}
FIRST_PHONE = 13_800_000_000
PHONE_STEP = 17
ACT_DATE = re.compile(r"(\d{1,2})月(\d{1,2})日")
SHORTEST_WORK = timedelta(minutes=20)


@cache
def load_story() -> Story:
    """Return the Zhoukou story, 473 requests with their paths; the same every time.

    Raises:
        pydantic.ValidationError: an entry breaks a rule of `story.py` or `path_rules.py`.
    """
    source = read("source.yaml", SourceFile)
    policies = read("policies.yaml", PolicyFile)
    entries = sorted(_entries(source), key=lambda pair: pair[1].at)
    return Story(
        requests=tuple(
            _request(source, ordinal, category, entry)
            for ordinal, (category, entry) in enumerate(entries, start=1)
        ),
        policies=tuple(_policy(policies.source, entry) for entry in policies.policies),
        groups=tuple(
            StoryGroup(code=group.code, kind=group.group_kind, title=group.title)
            for group in source.groups
        ),
        source_figures=source.figures,
    )


def _entries(source: SourceFile) -> Iterator[tuple[CategoryCode, RequestEntry]]:
    for name, category_of_file in BY_HAND.items():
        for entry in read(name, tuple[RequestEntry, ...]):
            category = category_of_file or entry.category
            if category is None:
                raise ValueError(f"{name}: the entry of {entry.at:%m-%d %H:%M} has no category")
            yield category, entry
    yield from ask_common(read("common.yaml", CommonQuestions), source.counties)


def _request(
    source: SourceFile, ordinal: int, category: CategoryCode, entry: RequestEntry
) -> StoryRequest:
    return StoryRequest(
        ordinal=ordinal,
        external_id=f"zhoukou-{ordinal:04}",
        submitted_at=entry.at,
        text=entry.text,
        category=entry.chosen if "chosen" in entry.model_fields_set else category,
        true_category=category,
        region=entry.region,
        address=entry.address,
        contact=None if entry.anonymous else _contact(source, ordinal),
        on_behalf_of=entry.behalf,
        from_common_question=entry.common,
        path=_path(source, ordinal, entry),
    )


def _contact(source: SourceFile, ordinal: int) -> Contact:
    surname = source.surnames[ordinal % len(source.surnames)]
    given = source.given_names[ordinal % len(source.given_names)]
    return Contact(name=surname + given, phone=str(FIRST_PHONE + ordinal * PHONE_STEP))


def _path(source: SourceFile, ordinal: int, entry: RequestEntry) -> Path:
    played: list[RoundEntry] = []
    if entry.withdrawal is None and entry.not_accepted is None:
        played = [entry] if entry.again is None else [entry, entry.again]
    danger = entry.judgement is not None and entry.judgement.cause is TierCause.DANGER
    return Path(
        kind=_kind(entry),
        rounds=tuple(_round(source, ordinal, entry.at, each) for each in played),
        judgement=entry.judgement,
        group=entry.group,
        urgings=entry.urgings,
        supplements=entry.supplements,
        withdrawal=entry.withdrawal,
        not_accepted=entry.not_accepted,
        told_by="lookup" if ordinal % 5 == 0 and not danger else "callback",
    )


def _kind(entry: RequestEntry) -> PathKind:
    if entry.withdrawal is not None:
        return PathKind.WITHDRAWN
    if entry.not_accepted is not None:
        return PathKind.NOT_ACCEPTED
    if entry.order is not None:
        hotline = entry.order.department.startswith(HOTLINE_PREFIX)
        return PathKind.TO_HOTLINE if hotline else PathKind.HANDED_OFF
    if entry.answer is None:
        return PathKind.GROUPED
    return PathKind.INQUIRED if entry.inquiry is not None else PathKind.ANSWERED


def _round(source: SourceFile, ordinal: int, at: datetime, entry: RoundEntry) -> Round:
    return Round(
        wish=entry.reopening if isinstance(entry, AgainEntry) else None,
        answer=entry.answer,
        quotes=entry.quotes,
        inquiry=entry.inquiry,
        order=None if entry.order is None else _order(source, at, entry.order),
        feedback=_feedback(source, ordinal, entry),
    )


def _feedback(source: SourceFile, ordinal: int, entry: RoundEntry) -> Feedback:
    level = entry.level or source.usual_levels[ordinal % len(source.usual_levels)]
    if level:
        return Feedback(by="citizen", level=level, solved=entry.solved, comment=entry.words)
    if ordinal % 4 == 0:
        return Feedback(by="visit", attempts=3, reached=False)
    return Feedback(by="visit", attempts=1 + ordinal % 3, level=4 + ordinal % 2, solved=True)


def _order(source: SourceFile, at: datetime, entry: OrderEntry) -> Order:
    return Order(
        department=entry.department,
        returns=entry.returns,
        binding=entry.assigned,
        progress=entry.progress,
        contacted=entry.contacted,
        extension=entry.extension,
        assists=tuple(
            Assist(
                department=each.department,
                result=_result(source, at, each.department, each.result),
            )
            for each in entry.assists
        ),
        result=_result(source, at, entry.department, entry.result),
    )


def _result(source: SourceFile, at: datetime, department: str, words: str) -> StoryResult:
    """Complete a result: what was done, when (the first day it names), and whom to ring."""
    named = ACT_DATE.search(words)
    if named is None:
        raise ValueError(f"the result of {at:%m-%d %H:%M} for {department} names no day")
    day = date(YEAR, int(named[1]), int(named[2]))
    noon = datetime.combine(day, time(12), BEIJING).astimezone(UTC)
    contact = source.department_contacts[department]
    return StoryResult(
        text=f"{words}经办：{contact}。",
        acts=re.split("[，；。]", words, maxsplit=1)[0],
        acted_at=max(noon, at + SHORTEST_WORK),
        contact=contact,
    )


def _policy(source: str, entry: PolicyEntry) -> StoryPolicy:
    return StoryPolicy(
        policy=Policy(
            policy_id=entry.id,
            version=1,
            title=entry.title,
            text=entry.body,
            source=source,
            category=entry.categories[0],
            regions=entry.regions,
            valid_from=_start_of(entry.valid_from),
            valid_until=None if entry.valid_until is None else _start_of(entry.valid_until),
        ),
        on_home_page_from=entry.on_home_page_from,
    )


def _start_of(day: date) -> datetime:
    return datetime.combine(day, time(), BEIJING).astimezone(UTC)
