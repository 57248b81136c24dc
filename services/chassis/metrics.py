"""Every metric of the chassis, once, each with what it tells the operator."""

from prometheus_client import Counter, Gauge, Histogram

RECORDS_HANDLED = Counter(
    # Falls to nothing while OLDEST_UNHANDLED_SECONDS grows: the consumer is stuck.
    "jieyou_records_handled_total",
    "Records of the bus that were handled and committed.",
    ["group"],
)
HANDLER_FAILURES = Counter(
    # Single ones are passing trouble (the store restarts); a steady rate is a fault in the code.
    "jieyou_handler_failures_total",
    "Batches that failed and were given back for another attempt.",
    ["group", "error"],
)
OLDEST_UNHANDLED_SECONDS = Gauge(
    # The figure to alarm and to scale by. Offset lag is not: compaction distorts it.
    "jieyou_oldest_unhandled_seconds",
    "Age of the oldest record that waits for this consumer.",
    ["group"],
)
BATCH_SECONDS = Histogram(
    # Near the handler's limit (120 s) means redelivery without end: lower max_records.
    "jieyou_batch_seconds",
    "How long a batch took from the poll to the end of its handler.",
    ["group"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
DEAD_LETTERS = Counter(
    # Any rise needs a person: each one is a case that stands still.
    "jieyou_dead_letters_total",
    "Records that could not be handled and were put aside.",
    ["service", "topic"],
)
DEAD_LETTERS_ASIDE = Gauge(
    # What is left to do, over all instances and restarts: `jieyou dead-letters list`.
    "jieyou_dead_letters_aside",
    "Dead letters of a service that were neither handled after a retry nor given up.",
    ["service"],
)
OLDEST_DEAD_LETTER_SECONDS = Gauge(
    # Alarmed at 7 days: at 14 the topic drops the letter, and with it the record.
    "jieyou_oldest_dead_letter_seconds",
    "Age of the oldest dead letter that lies aside; 0 for none.",
)
RECORDS_PUBLISHED = Counter(
    "jieyou_records_published_total",
    "Records that the bus has acknowledged.",
    ["topic"],
)
PUBLISH_FAILURES = Counter(
    # The outcome is unknown, the records are sent again; lasting: Kafka is down or too slow.
    "jieyou_publish_failures_total",
    "Publishes that failed or were not acknowledged in time.",
)
PUBLISH_SECONDS = Histogram(
    # The p99 belongs under a tenth of a second; above it, accepting requests becomes slow.
    "jieyou_publish_seconds",
    "How long the bus took to acknowledge what was published together.",
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2),
)
WHOLE_TOPIC_FAILURES = Counter(
    # A document that cannot be applied is left out until it is written again.
    "jieyou_whole_topic_failures_total",
    "Records of a topic read whole that could not be applied.",
    ["topic"],
)
ERASURES_WAITING = Gauge(
    # Each case is counted till its second pass, half a minute after the first; then 0 again.
    "jieyou_erasures_waiting",
    "Erased cases whose copies in this service are still to be redacted or looked at again.",
    ["service"],
)
HTTP_SECONDS = Histogram(
    # By route, never by path: paths carry case numbers.
    "jieyou_http_seconds",
    "How long calls took, by route and status.",
    ["method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
