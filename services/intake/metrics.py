"""Every metric of intake, each with what it tells the operator."""

from prometheus_client import Counter, Gauge

ACCEPTED = Counter(
    # `way` spool: the bus does not answer; bus_alone: the store does not. Both need a look.
    "jieyou_intake_accepted_total",
    "What was accepted, by event type and by what took it (bus, spool, bus_alone, repeat).",
    ["type", "way"],
)
REFUSED = Counter(
    # invalid in number: a channel's new release sends something wrong. unavailable: citizens are
    # turned away, act at once.
    "jieyou_intake_refused_total",
    "What was refused, by the kind of problem.",
    ["reason"],
)
DANGER = Counter(
    "jieyou_intake_danger_total",
    "Requests and supplements whose words show danger, by its cause.",
    ["cause"],
)
SPOOLED_DANGER = Counter(
    # Any rise: the desk cannot see this request before the bus is back. Somebody must look now.
    "jieyou_intake_spooled_danger_total",
    "Signs of danger that wait in the spool.",
)
SPOOL_RECORDS = Gauge(
    "jieyou_intake_spool_records",
    "Records that wait for the bus in this process (here) and in others (elsewhere).",
    ["where"],
)
SPOOL_OLDEST_SECONDS = Gauge(
    # Requests are refused once it reaches JIEYOU_SPOOL_LIMIT_MINUTES.
    "jieyou_intake_spool_oldest_seconds",
    "How long the record has waited for the bus that has waited longest in this process.",
)
SPOOL_PUBLISHED = Counter(
    # `orphan`: of a process that died. A few after each crash are as it should be.
    "jieyou_intake_spool_published_total",
    "Records that were published later than they were accepted.",
    ["of"],
)
