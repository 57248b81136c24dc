"""What waits for people, by queue, with its age."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from contracts.ids import spoken
from services.reporting.domain.words import BLOCKED, QUEUE_NAMES, UNTRIAGED

OLDEST_SHOWN = 50


def queues_document(
    cases: Iterable[Mapping[str, Any]], blocked_since: Mapping[str, datetime], now: datetime
) -> list[dict[str, Any]]:
    """Return the queues, each with its oldest cases first. Ages are seconds up to `now`.

    A blocked case of which nothing else has arrived stands in the queue of the blocked alone.
    """
    queues: dict[str, list[tuple[datetime, Mapping[str, Any]]]] = {}
    known = {str(case["_id"]): case for case in cases}
    for case in known.values():
        for kind, since in _waits(case, now):
            queues.setdefault(kind, []).append((since, case))
    for case_no, since in blocked_since.items():
        queues.setdefault(BLOCKED, []).append((since, known.get(case_no, {"_id": case_no})))
    found = []
    for kind, name in QUEUE_NAMES.items():
        waiting = sorted(queues.get(kind, ()), key=lambda one: (one[0], one[1]["_id"]))
        if waiting:
            oldest = waiting[0][0]
            found.append(
                {
                    "queue": str(kind),
                    "name": name,
                    "count": len(waiting),
                    "oldest_since": oldest,
                    "oldest_age_seconds": _age(oldest, now),
                    "cases": [_shown(since, case, now) for since, case in waiting[:OLDEST_SHOWN]],
                }
            )
    return found


def _waits(case: Mapping[str, Any], now: datetime) -> list[tuple[str, datetime]]:
    accepted = case.get("accepted_at") or now
    waits = [(str(task["kind"]), task["since"]) for task in case.get("tasks", ())]
    if not case.get("is_opened"):
        waits.append((UNTRIAGED, accepted))
    return waits


def _shown(since: datetime, case: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "case_no": case["_id"],
        "case_no_spoken": spoken(case["_id"]),
        "since": since,
        "age_seconds": _age(since, now),
        "tier": case.get("tier"),
        "category": case.get("category"),
        "region": case.get("region"),
    }


def _age(since: datetime, now: datetime) -> int:
    return max(0, int((now - since).total_seconds()))
