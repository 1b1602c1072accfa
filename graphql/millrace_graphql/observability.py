"""Prometheus metrics of the API."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from millrace_graphql.tallies import Clock, Clocks, Tallies, Tally

REGISTRY = CollectorRegistry()
REQUESTS = Tallies("millrace_api_requests", "Requests by operation and outcome.", ["kind", "operation", "outcome"], REGISTRY)
SECONDS = Clocks(
    "millrace_api_request_seconds",
    "Time of a request by operation.",
    ["kind", "operation"],
    (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
    REGISTRY,
)
CHUNKS = Tallies("millrace_api_chunks", "Column groups of a day looked up in Redis.", ["result"], REGISTRY)
REDIS_FAILURES = Counter("millrace_api_redis_failures", "Redis did not answer and Cassandra was read instead.", registry=REGISTRY)
DOCUMENTS = Tallies("millrace_api_documents", "GraphQL documents by where their parse and validation came from.", ["result"], REGISTRY)

NOTICES = Counter("millrace_api_notices", "Notices of changed windows taken from Redis.", ["result"], registry=REGISTRY)
FEED = Gauge("millrace_api_notices_trusted", "1 while notices arrive, so that caches may be used.", registry=REGISTRY)
RATE_LIMITED = Counter("millrace_api_throttled", "Requests refused because the tenant's points were spent.", registry=REGISTRY)
COST = Clocks(
    "millrace_api_cost_points",
    "Cost of the documents that were run.",
    [],
    (1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000, 100_000),
    REGISTRY,
).labels()
PAUSES = Histogram(
    "millrace_api_gc_seconds",
    "Time in which the garbage collector walked all but what is set aside, and nobody was answered.",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1),
    registry=REGISTRY,
)
SUBSCRIPTIONS = Gauge("millrace_api_subscriptions", "Open subscriptions.", ["transport"], registry=REGISTRY)


class Kept(Protocol):
    """What a response cache counts; plain numbers, since a kept answer takes less time than a Prometheus counter."""

    hits: int
    misses: int
    joined: int
    not_modified: int

    @property
    def size(self) -> int:
        """Bytes kept."""


_caches: list[Kept] = []


class _Responses(Collector):
    def collect(self) -> Iterator[Metric]:
        found = CounterMetricFamily("millrace_api_responses", "Answers by where they came from.", labels=["result"])
        found.add_metric(["hit"], sum(cache.hits - cache.not_modified for cache in _caches))
        found.add_metric(["not_modified"], sum(cache.not_modified for cache in _caches))
        found.add_metric(["miss"], sum(cache.misses for cache in _caches))
        found.add_metric(["joined"], sum(cache.joined for cache in _caches))
        yield found
        yield GaugeMetricFamily("millrace_api_response_bytes", "Bytes of answers kept.", value=sum(cache.size for cache in _caches))


REGISTRY.register(_Responses())


@contextmanager
def observed(cache: Kept) -> Iterator[None]:
    """Show a response cache's counts while its application runs."""
    _caches.append(cache)
    try:
        yield
    finally:
        _caches.remove(cache)


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
