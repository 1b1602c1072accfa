"""Prometheus metrics of the API."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY = CollectorRegistry()
REQUESTS = Counter("millrace_api_requests", "Requests by operation and outcome.", ["kind", "operation", "outcome"], registry=REGISTRY)
SECONDS = Histogram(
    "millrace_api_request_seconds",
    "Time of a request by operation.",
    ["kind", "operation"],
    buckets=(0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
    registry=REGISTRY,
)
CHUNKS = Counter("millrace_api_chunks", "Column groups of a day looked up in Redis.", ["result"], registry=REGISTRY)
REDIS_FAILURES = Counter("millrace_api_redis_failures", "Redis did not answer and Cassandra was read instead.", registry=REGISTRY)
DOCUMENTS = Counter(
    "millrace_api_documents", "GraphQL documents by where their parse and validation came from.", ["result"], registry=REGISTRY
)

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
