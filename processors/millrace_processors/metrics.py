"""What Prometheus sees of the streaming job; every name of its own begins with ``millrace_processors_``."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from millrace_runtime import zone_rules

_PREFIX = "millrace_processors_"
_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600)


class Metrics:
    """One set a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        zone_rules.gauge(self.registry)
        self.events = self._counter("events", "Change events processed.", "query")
        self.dead_letters = self._counter("dead_letters", "Events that could not be decoded.", "query")
        self.facts = self._counter("facts_read", "Facts read back to compute reports.")
        self.reports = self._counter("reports", "Reports written.")
        self.unnoticed = self._counter("unnoticed", "Notices that Redis did not take.")
        self.restarts = self._counter("query_restarts", "Times that a query failed and was started again.", "query")
        self.batch_id = self._gauge("batch_id", "Newest finished micro-batch.", "query")
        self.last_batch = self._gauge("last_batch_seconds", "When a micro-batch last ended, in seconds since 1970.", "query")
        self.complete_through = self._gauge("complete_through_seconds", "All changes up to then are in the reports.")
        self.batch_seconds = self._histogram("batch_seconds", "Time of a micro-batch.", "query")
        self.offsets_behind = self._gauge("offsets_behind", "Kafka records that a query had still to read when a trigger began.", "query")
        self.trigger_seconds = self._histogram("trigger_seconds", "Time of a phase of a trigger, as Spark names them.", "query", "phase")
        self.step_seconds = self._histogram("step_seconds", "Time of a step of a micro-batch of payments.", "step")

    def expect(self, query: str) -> None:
        """Show a query's counters as 0 before they count: Prometheus sees no increase in a series that begins with 1."""
        for counter in (self.events, self.dead_letters, self.restarts):
            counter.labels(query)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(_PREFIX + name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(_PREFIX + name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(_PREFIX + name, text, labels, buckets=_SECONDS, registry=self.registry)
