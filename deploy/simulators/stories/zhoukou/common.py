"""The alike requests of the first week: wordings filled in turn, the same every time."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import zip_longest

from contracts.profile_parts import CategoryCode
from deploy.simulators.stories.zhoukou.entries import (
    CommonQuestion,
    CommonQuestions,
    RequestEntry,
    in_story_time,
)

AFTER_FESTIVAL = "02-03"
# Steps that share no factor with the lists they walk, so that every element comes up.
ORIGIN_STEP, COUNTY_STEP, KIN_STEP, MINUTE_STEP = 7, 3, 3, 389
FIRST_MINUTE, MINUTES = 7 * 60 + 5, 950  # people write from 7:05 to 22:54


def ask_common(
    common: CommonQuestions, counties: Mapping[str, str]
) -> Iterator[tuple[CategoryCode, RequestEntry]]:
    """Yield every alike request with its category, day by day."""
    turns: dict[tuple[str, CategoryCode], int] = {}
    count = 0
    for day, wanted in common.per_day.items():
        season = "after" if day >= AFTER_FESTIVAL else "before"
        for category, number in wanted.items():
            choices = _in_turn(common.questions, category, season)
            for _ in range(number):
                turn = turns.get((season, category), 0)
                turns[season, category] = turn + 1
                question, wording = choices[turn % len(choices)]
                yield category, _fill(common, counties, question, wording, day, count)
                count += 1


def _in_turn(
    questions: Sequence[CommonQuestion], category: CategoryCode, season: str
) -> list[tuple[CommonQuestion, str]]:
    """Return the first wording of each question, then the second of each, and so on."""
    fitting = [each for each in questions if each.category == category and each.season == season]
    columns = [[(question, wording) for wording in question.wordings] for question in fitting]
    return [choice for row in zip_longest(*columns) for choice in row if choice is not None]


def _fill(
    common: CommonQuestions,
    counties: Mapping[str, str],
    question: CommonQuestion,
    wording: str,
    day: str,
    count: int,
) -> RequestEntry:
    origins = common.origins[question.origins]
    codes = tuple(counties)
    region = codes[count * COUNTY_STEP % len(codes)]
    slots = {
        "origin": origins[count * ORIGIN_STEP % len(origins)],
        "county": counties[region],
        "kin": common.kin[count * KIN_STEP % len(common.kin)],
    }
    return RequestEntry.model_construct(
        at=_time_of(day, count),
        region=region,
        text=wording.format(**slots),
        category=question.category,
        chosen=_choice(question.category, count),
        quotes=question.quotes,
        answer=question.answer.format(**slots),
        anonymous=count % 6 == 5,
        common=True,
    )


def _time_of(day: str, count: int) -> datetime:
    midnight = in_story_time(f"{day} 00:00")
    return midnight + timedelta(minutes=FIRST_MINUTE + count * MINUTE_STEP % MINUTES)


def _choice(category: CategoryCode, count: int) -> CategoryCode | None:
    """Most choose rightly; one in nine nothing, one in twenty-three "other"."""
    if count % 9 == 4:
        return None
    return "other" if count % 23 == 11 else category
