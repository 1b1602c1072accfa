"""Prometheus metrics of the collection tier; with several workers they are summed over the processes."""

from __future__ import annotations

import os

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector  # type: ignore[no-untyped-call,unused-ignore]

from millrace_runtime import zone_rules

REQUESTS = Counter("millrace_collection_requests", "Answered requests.", ["route", "method", "status"])
SECONDS = Histogram(
    "millrace_collection_request_seconds",
    "Time from request to answer.",
    ["route", "method"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120),
)
COMMANDS = Counter("millrace_collection_commands", "Payment commands by kind and status of their answer.", ["kind", "status"])
zone_rules.gauge(REGISTRY)
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


def exposition() -> tuple[bytes, str]:
    """The metrics as Prometheus text, and its media type."""
    registry: CollectorRegistry = REGISTRY
    if os.environ.get(MULTIPROCESS):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST
