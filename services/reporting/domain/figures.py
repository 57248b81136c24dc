"""Figures as they are asked for: a span of hours, filters, groups, with the rates of each."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from contracts.lifecycle import Status
from contracts.profile import Profile
from contracts.vocabulary import TaskKind
from services.reporting.domain.buckets import Bucket, Figures, hour_of
from services.reporting.domain.grouping import GroupedBy, placing
from services.reporting.domain.rates import rates_of
from services.reporting.domain.words import QUEUE_NAMES, STATUS_NAMES

CASE_COUNTERS = (
    *("accepted", "finished", "finished_in_time", "finished_ever", "finished_without_handoff"),
    *("open", "open_overdue", "closed", "handled_24h", "answered_online", "handed_over"),
    *("direct_base", "not_accepted", "withdrawn", "noise", "reopened", "matters"),
    *("inquired", "inquiries", "urged", "urgings", "supervised", "escalated"),
    *("online_visits_valid", "online_visits_solved", "online_ratings_n", "online_ratings_top3"),
    *("handoff_visits_valid", "handoff_visits_solved"),
    *("handoff_ratings_n", "handoff_ratings_top3", "incomplete", "double"),
)
HANDOFF_COUNTERS = (
    *("dispatched", "dispatched_lead", "signed", "signed_in_time", "sign_overdue"),
    *("returned", "returned_justified", "resolved", "contacted_in_time", "extended"),
    *("recalled", "not_needed", "undeliverable"),
)
PUBLIC_COUNTERS = (
    *("accepted", "finished", "open", "closed", "answered_online", "handed_over"),
    *("not_accepted", "withdrawn", "reopened", "matters"),
)


@dataclass(frozen=True, slots=True)
class Question:
    """Which figures are asked for: hours from `since` up to, not including, `until`."""

    since: datetime | None = None
    until: datetime | None = None
    by: GroupedBy | None = None
    region: str | None = None
    category: str | None = None
    tier: str | None = None
    department: str | None = None
    channel: str | None = None

    def hours(self) -> tuple[str | None, str | None]:
        """Return the first hour and the one after the last; a begun hour counts whole."""
        since = hour_of(self.since) if self.since else None
        until = self.until
        if until is not None and until.astimezone(UTC) != _floor(until):
            until = _floor(until) + timedelta(hours=1)
        return since, hour_of(until) if until else None


@dataclass(slots=True)
class _Group:
    name: str
    counters: Counter[str] = field(default_factory=Counter)


def figures_document(
    profile: Profile,
    question: Question,
    figures: Figures,
    *,
    public_only: bool = False,
) -> dict[str, Any]:
    """Return totals, rates and groups as they are answered."""
    total: Counter[str] = Counter()
    groups: dict[str, _Group] = {}
    place = placing(profile, question.by) if question.by else None
    for bucket, counters in _wanted(profile, question, figures):
        total.update(counters)
        if place is not None:
            key, name = place(bucket)
            groups.setdefault(key, _Group(name)).counters.update(counters)
    document: dict[str, Any] = {
        "totals": _shown(total, public_only),
        "rates": _rates(total, public_only),
    }
    if place is not None:
        document["groups"] = [
            {
                "key": key,
                "name": group.name,
                "totals": _shown(group.counters, public_only),
                "rates": _rates(group.counters, public_only),
            }
            for key, group in sorted(groups.items())
            if any(group.counters.values())
        ]
    return document


def _floor(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _wanted(
    profile: Profile, question: Question, figures: Figures
) -> Iterator[tuple[Bucket, Counter[str]]]:
    """A region's figures hold those of all below it; the other filters are exact."""
    exact = {
        name: value
        for name in ("category", "tier", "department", "channel")
        if (value := getattr(question, name)) is not None
    }
    since, until = question.hours()
    for bucket, counters in figures.items():
        if since is not None and bucket.hour < since:
            continue
        if until is not None and bucket.hour >= until:
            continue
        if any(getattr(bucket, name) != value for name, value in exact.items()):
            continue
        if question.region is not None and question.region not in (
            bucket.region,
            *profile.region_path(bucket.region),
        ):
            continue
        yield bucket, counters


def _shown(counters: Counter[str], public_only: bool) -> dict[str, Any]:
    if public_only:
        return {name: counters[name] for name in PUBLIC_COUNTERS}
    return {
        **{name: counters[name] for name in CASE_COUNTERS},
        "handoffs": {name: counters[name] for name in HANDOFF_COUNTERS},
        "open_by_status": {
            status.value: {"name": STATUS_NAMES[status], "count": counters[f"open_{status}"]}
            for status in Status
            if counters[f"open_{status}"]
        },
        "queues": {
            kind.value: {"name": QUEUE_NAMES[kind], "count": counters[f"queue_{kind}"]}
            for kind in TaskKind
            if counters[f"queue_{kind}"]
        },
    }


def _rates(counters: Counter[str], public_only: bool) -> dict[str, Any]:
    return {
        code: {
            "name": rate.name,
            "numerator": rate.numerator,
            "denominator": rate.denominator,
            "value": rate.value,
            "definition": rate.definition,
        }
        for code, rate in rates_of(counters, public_only=public_only).items()
    }
