"""The metrics of notify, each with what it tells the operator."""

from prometheus_client import Counter, Gauge, Histogram

ATTEMPTS = Counter(
    # `failure` is a word of a fixed vocabulary, "none" for what was taken.
    "jieyou_delivery_attempts_total",
    "Attempts to deliver, by purpose and failure.",
    ["purpose", "failure"],
)
EXHAUSTED = Counter(
    # Each one is a person's task: somebody was not told by machine.
    "jieyou_deliveries_exhausted_total",
    "Deliveries that were given up.",
    ["purpose"],
)
IN_MEMORY = Gauge(
    # Grows while receivers are slower than what is planned; what does not fit waits in the store.
    "jieyou_deliveries_in_memory",
    "Deliveries that this process has in hand.",
)
POST_SECONDS = Histogram(
    "jieyou_delivery_post_seconds",
    "How long receivers took to answer.",
    ["purpose"],
    buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
