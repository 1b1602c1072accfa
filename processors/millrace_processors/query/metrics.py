"""What Prometheus sees of the query service; every name of its own begins with ``millrace_query_``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from millrace_runtime import zone_rules

_PREFIX = "millrace_query_"
_SECONDS = (0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300)


class Metrics:
    """One set a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.zone_rules = zone_rules.gauge(registry)
        self.jobs = Counter(f"{_PREFIX}jobs", "Jobs that ended, by how.", ["state"], registry=registry)
        self.refused = Counter(f"{_PREFIX}refused", "Queries that were not taken, by the problem's code.", ["code"], registry=registry)
        self.queued = Gauge(f"{_PREFIX}queued", "Jobs that wait.", registry=registry)
        self.running = Gauge(f"{_PREFIX}running", "Jobs that run.", registry=registry)
        self.stuck = Gauge(f"{_PREFIX}slots_stuck", "Slots that a job holds after it has ended.", registry=registry)
        self.replaced = Counter(
            f"{_PREFIX}engines_replaced", "Engines that a query which did not end has ended, by what it was at.", ["at"], registry=registry
        )
        self.again = Counter(f"{_PREFIX}jobs_again", "Jobs taken up again after their engine was replaced.", registry=registry)
        self.rows_read = Counter(f"{_PREFIX}rows_read", "Rows of the lake that ended jobs have read, by plan.", registry=registry)
        self.wait = Histogram(f"{_PREFIX}wait_seconds", "From a job's submission to its start.", buckets=_SECONDS, registry=registry)
        self.seconds = Histogram(f"{_PREFIX}run_seconds", "From a job's start to its end.", buckets=_SECONDS, registry=registry)
