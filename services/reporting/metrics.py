"""Reporting's own metrics, each with what it tells the operator."""

from prometheus_client import Counter

EVENTS_APPLIED = Counter(
    "jieyou_reporting_events_applied_total",
    "Events that were taken into a case document.",
)
EVENTS_REPEATED = Counter(
    # Usual after a restart of a writer; a steady rate means that somebody publishes in a loop.
    "jieyou_reporting_events_repeated_total",
    "Events that were held already, or in a later redaction.",
)
EVENTS_UNKNOWN = Counter(
    # Expected while a newer writer runs beside this reader; else this reader is forgotten.
    "jieyou_reporting_events_unknown_total",
    "Events of a type that this reader does not know; kept, and shown by the audit.",
)
EVENTS_CONFLICTING = Counter(
    # Never expected: a writer computed an event anew instead of publishing the stored one.
    "jieyou_reporting_events_conflicting_total",
    "Events whose id stands already with other bytes in the same redaction.",
)
RECORDS_UNREADABLE = Counter(
    # Each one is in the dead letters; where its case is known, the case is marked blocked.
    "jieyou_reporting_records_unreadable_total",
    "Records that break the contract.",
)
CASES_NOT_FOLDED = Counter(
    # A fault in the code: the case is marked blocked and keeps its events for the next release.
    "jieyou_reporting_cases_not_folded_total",
    "Cases whose state could not be computed.",
)
BATCHES_REDONE = Counter(
    # Some at each rebalance; lasting ones mean that two processes read the same partition.
    "jieyou_reporting_batches_redone_total",
    "Batches that were applied anew because somebody else had gone on in their partition.",
)
