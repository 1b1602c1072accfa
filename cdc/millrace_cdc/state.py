"""What the relay is doing, for /ready, the metrics and the logs."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from millrace_cdc.pump import Committed

KAFKA_PATIENCE_SECONDS = 2.0
WORKING = frozenset(["streaming", "snapshot", "reconciling"])


class RelayState:
    """One stream's state and metrics; safe to read from the ops server's threads."""

    def __init__(self, registry: CollectorRegistry, collection: str, stream: int) -> None:
        labels = {"collection": collection, "stream": str(stream)}
        names = list(labels)

        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, names, registry=registry).labels(**labels)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, names, registry=registry).labels(**labels)

        self._lock = threading.Lock()
        self._sink_waits: Callable[[], float | None] = lambda: None
        self._phase = "starting"
        self._since = time.time()
        self._detail = ""
        self._committed_at: float | None = None
        self._cluster_seconds: int | None = None
        self._caught_up = False
        self._committed_events = 0
        self._waiting: float | None = None
        self.events = counter("millrace_relay_events", "Change events committed to Kafka.")
        self.dead_letters = counter("millrace_relay_dead_letters", "Changes committed to the dead-letter topic (I4).")
        self.bytes = counter("millrace_relay_event_bytes", "Bytes of committed event values.")
        self.transactions = counter("millrace_relay_transactions", "Committed transactions.")
        self.aborts = counter("millrace_relay_aborted_transactions", "Aborted transactions.")
        self.reopens = counter("millrace_relay_source_reopens", "How often the source was opened again after an error.")
        text = "How long the relay may be down before history is lost; NaN until it is known, +Inf until the oplog turns over."
        self.runway = gauge("millrace_relay_oplog_runway_seconds", text)
        self.runway.set(math.nan)  # 0 means that the next oplog entry removes history, which pages
        self.gaps_open = gauge("millrace_relay_gaps_open", "Gaps of lost history that are not closed yet.")
        self.seconds = Histogram(
            "millrace_relay_transaction_seconds",
            "Age of a transaction when its commit returned.",
            names,
            registry=registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        ).labels(**labels)
        gauge("millrace_relay_lag_seconds", "Age of the last committed position; 0 when nothing waits.").set_function(self.lag_seconds)
        text = "Estimate of the events behind the last committed position; NaN while unknown, 0 when nothing waits."
        gauge("millrace_relay_lag_events", text).set_function(self.lag_events)

    def enter(self, phase: str, detail: str = "") -> None:
        """Say what is being done now."""
        with self._lock:
            if phase != self._phase:
                self._phase, self._since = phase, time.time()
            self._detail = detail

    def committed(self, done: Committed) -> None:
        """Count a committed transaction."""
        self.events.inc(done.events)
        self.dead_letters.inc(done.dead_letters)
        self.bytes.inc(done.event_bytes)
        self.transactions.inc()
        self.seconds.observe(done.seconds)
        with self._lock:
            self._committed_at = time.time()
            self._committed_events += done.events
            self._cluster_seconds = done.cluster_seconds or self._cluster_seconds
            self._caught_up = done.caught_up

    @property
    def committed_events(self) -> int:
        """Events committed since the start."""
        with self._lock:
            return self._committed_events

    def waiting(self, events: float | None) -> None:
        """Learn how many events wait, about."""
        with self._lock:
            self._waiting = events

    @property
    def last_commit(self) -> float | None:
        """When a transaction was committed last; None before the first."""
        with self._lock:
            return self._committed_at

    @property
    def cluster_seconds(self) -> int | None:
        """Cluster time of the last committed position, in seconds."""
        with self._lock:
            return self._cluster_seconds

    def idle(self) -> None:
        """Nothing waits and nothing is open."""
        with self._lock:
            self._caught_up = True

    def lag_seconds(self) -> float:
        """Seconds between now and the cluster time of the last committed position, 0 when nothing waits behind it."""
        with self._lock:
            if self._cluster_seconds is None or (self._caught_up and self._phase in WORKING):
                return 0.0
            return max(0.0, time.time() - self._cluster_seconds)

    def lag_events(self) -> float:
        """About how many events wait behind the last committed position (see ``oplog.EventsWaiting``), NaN while that is not known."""
        lag = self.lag_seconds()
        with self._lock:
            if self._cluster_seconds is not None and lag == 0.0:
                return 0.0
            return math.nan if self._waiting is None else round(self._waiting)

    def watch_sink(self, waiting_since: Callable[[], float | None]) -> None:
        """Learn from the sink since when (monotonic) the broker has not answered."""
        self._sink_waits = waiting_since

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """For /ready: whether the relay works, and what a person needs to know."""
        lag, waits, events = self.lag_seconds(), self._sink_waits(), self.lag_events()
        with self._lock:
            if waits is not None and time.monotonic() - waits > KAFKA_PATIENCE_SECONDS:
                detail = f"Kafka has not answered for {time.monotonic() - waits:.0f} s"
                return False, {"phase": "waiting for Kafka", "since": self._since, "detail": detail, "lag_seconds": round(lag, 3)}
            state = {
                "phase": self._phase,
                "since": self._since,
                "detail": self._detail,
                "lag_seconds": round(lag, 3),
                "lag_events": None if math.isnan(events) else events,
                "committed_at": self._committed_at,
            }
            return self._phase in WORKING, state
