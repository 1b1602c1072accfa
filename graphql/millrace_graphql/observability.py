"""Prometheus metrics of the API."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric

from millrace_graphql.tallies import BOARD, Clock, Clocks, Gauges, Tallies, Tally
from millrace_runtime import zone_rules

REGISTRY = CollectorRegistry()
zone_rules.gauge(REGISTRY)
REQUESTS = Tallies("millrace_api_requests", "Requests by operation and outcome.", ["kind", "operation", "outcome"], REGISTRY)
SECONDS = Clocks(
    "millrace_api_request_seconds",
    "Time of a request by operation.",
    ["kind", "operation"],
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
    REGISTRY,
)
CHUNKS = Tallies("millrace_api_chunks", "Column groups of a day looked up in Redis.", ["result"], REGISTRY)
REDIS_FAILURES = Tallies("millrace_api_redis_failures", "Redis did not answer and Cassandra was read instead.", [], REGISTRY).labels()
DOCUMENTS = Tallies("millrace_api_documents", "GraphQL documents by where their parse and validation came from.", ["result"], REGISTRY)

NOTICES = Tallies("millrace_api_notices", "Notices of changed windows taken from Redis.", ["result"], REGISTRY)
FEED = Gauges(
    "millrace_api_notices_trusted", "1 while notices arrive, so that caches may be used, at every worker.", [], REGISTRY, min
).labels()
RATE_LIMITED = Tallies("millrace_api_throttled", "Requests refused because the tenant's points were spent.", [], REGISTRY).labels()
COST = Clocks(
    "millrace_api_cost_points",
    "Cost of the documents that were run.",
    [],
    (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 100_000),
    REGISTRY,
).labels()
PAUSES = Clocks(
    "millrace_api_gc_seconds",
    "Time in which the garbage collector walked all but what is set aside, and nobody was answered.",
    [],
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1),
    REGISTRY,
).labels()
SUBSCRIPTIONS = Gauges("millrace_api_subscriptions", "Open subscriptions.", ["transport"], REGISTRY)


class _Responses(Tallies):
    """Of what was found, what was not modified is told apart when it is shown."""

    def collect(self) -> Iterator[Metric]:
        for family in super().collect():
            numbers = {sample.labels["result"]: sample.value for sample in family.samples}
            shown = CounterMetricFamily("millrace_api_responses", self._doc, labels=self._labelnames)
            for result, number in numbers.items():
                shown.add_metric([result], number - numbers.get("not_modified", 0.0) if result == "hit" else number)
            yield shown


RESPONSES = _Responses("millrace_api_responses", "Answers by where they came from.", ["result"], REGISTRY)
RESPONSE_BYTES = Gauges("millrace_api_response_bytes", "Bytes of answers kept.", [], REGISTRY).labels()


@lru_cache(2_000)
def request_counters(kind: str, operation: str, outcome: str) -> tuple[Tally, Clock]:
    """The counter and the clock of an operation; looked up once."""
    return REQUESTS.labels(kind, operation, outcome), SECONDS.labels(kind, operation)


OPERATION_NAMES = 200
_seen: set[str] = set()


def operation_label(name: str | None) -> str:
    """A label for an operation's name: callers choose the names, so that only the first 200 get one of their own."""
    if not name:
        return "anonymous"
    if name not in _seen and len(_seen) >= OPERATION_NAMES:
        return "other"
    _seen.add(name[:60])
    return name[:60]


def exposition() -> tuple[bytes, str]:
    """The metrics of all workers as Prometheus text, and its media type."""
    with BOARD.snapshot():
        return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
