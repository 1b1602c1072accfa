"""A job that runs once, or again and again until a stop, with an operators' endpoint while it does."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import click
from prometheus_client import CollectorRegistry, Counter, Gauge

from millrace_contracts.settings import RuntimeSettings
from millrace_runtime import zone_rules
from millrace_runtime.ops import OpsServer
from millrace_runtime.stopping import StopSignal

LATE_FACTOR, LATE_SECONDS = 3, 900.0
"""Not ready once the last run ended longer ago than so many times the pause, and so many seconds for the run itself."""
OPS_PORT = click.option(
    "--ops-port",
    type=click.IntRange(0, 65535),
    default=0,
    show_default=True,
    help="With --every: port of /health, /ready, /metrics; 0: any.",
)


class JobMetrics:
    """What Prometheus sees of a job that is repeated; every name of its own begins with ``millrace_job_``."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        zone_rules.gauge(self.registry)
        self.runs = Counter("millrace_job_runs", "Runs that ended well.", ["job"], registry=self.registry)
        self.seconds = Gauge("millrace_job_run_seconds", "How long the last run took.", ["job"], registry=self.registry)
        self.last = Gauge(
            "millrace_job_last_run_seconds", "When a run last ended well, in seconds since 1970.", ["job"], registry=self.registry
        )


class Schedule:
    """The runs of one job. ``every``: seconds between them; None runs it once.

    A run that fails ends the process: a supervisor starts it again.
    """

    def __init__(self, name: str, every: float | None, clock: Callable[[], float] = time.time) -> None:
        self._name, self._every, self._clock = name, every, clock
        self._last: float | None = None
        self.metrics = JobMetrics()

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Ready once a run has ended well, and while the next one is not long overdue."""
        if self._last is None:
            return False, {"job": self._name, "state": "first run", "lastRun": None}
        late = self._clock() - self._last > LATE_FACTOR * (self._every or 0) + LATE_SECONDS
        last = datetime.fromtimestamp(self._last, UTC).isoformat(timespec="seconds")
        return not late, {"job": self._name, "state": "overdue" if late else "on time", "lastRun": last}

    def run(self, runtime: RuntimeSettings, ops_port: int, once: Callable[[], None]) -> None:
        """Run; with ``every`` until SIGTERM or Ctrl-C, which let a run that has begun end."""
        stop = StopSignal()
        if self._every is not None:
            stop.install()
        server = OpsServer(self.metrics.registry, self.readiness, runtime.host, ops_port) if self._every is not None else nullcontext()
        with server:
            while True:
                began = self._clock()
                once()
                self._ended(began)
                if self._every is None or stop.wait(self._every):
                    return

    def _ended(self, began: float) -> None:
        self._last = self._clock()
        self.metrics.runs.labels(self._name).inc()
        self.metrics.seconds.labels(self._name).set(self._last - began)
        self.metrics.last.labels(self._name).set(self._last)
