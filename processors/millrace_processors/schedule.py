"""A job that runs once, or again and again until a stop, with an operators' endpoint while it does."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any

import click
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from millrace_contracts.settings import RuntimeSettings
from millrace_processors.command_errors import in_words
from millrace_processors.errors import UnavailableError
from millrace_runtime import zone_rules
from millrace_runtime.ops import OpsServer
from millrace_runtime.stopping import StopSignal
from millrace_runtime.waiting import GrowingPause

log = structlog.get_logger()

LATE_FACTOR, LATE_SECONDS = 3, 900.0
"""Not ready once the last run ended longer ago than so many times the pause, and so many seconds for the run itself."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
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

    A run that fails ends the process, so that a supervisor starts it again. One of a repeated job that fails since a server is away
    is tried again first, with a growing pause.
    """

    def __init__(self, name: str, every: float | None, clock: Callable[[], float] = time.time) -> None:
        self._name, self._every, self._clock = name, every, clock
        self._last: float | None = None
        self._missing: str | None = None
        self.metrics = JobMetrics()

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Ready once a run has ended well, and while the next one is not long overdue."""
        if self._missing is not None:
            return False, {"job": self._name, "state": f"waiting: {self._missing}", "lastRun": self._shown()}
        if self._last is None:
            return False, {"job": self._name, "state": "first run", "lastRun": None}
        late = self._clock() - self._last > LATE_FACTOR * (self._every or 0) + LATE_SECONDS
        return not late, {"job": self._name, "state": "overdue" if late else "on time", "lastRun": self._shown()}

    def _shown(self) -> str | None:
        return None if self._last is None else datetime.fromtimestamp(self._last, UTC).isoformat(timespec="seconds")

    def run(self, runtime: RuntimeSettings, ops_port: int, once: Callable[[], None], patience: float = 0.0) -> None:
        """Run; with ``every`` until SIGTERM or Ctrl-C, which let a run that has begun end.

        Raises:
            Exception: of a run; where a server was away and there is ``every``, of the first that fails after ``patience`` seconds.
        """
        stop = StopSignal()
        if self._every is not None:
            stop.install()
        server = OpsServer(self.metrics.registry, self.readiness, runtime.host, ops_port) if self._every is not None else nullcontext()
        with server:
            while True:
                began = self._clock()
                if self._held(once, stop, patience if self._every is not None else 0.0):
                    self._ended(began)
                if self._every is None or stop.wait(self._every):
                    return

    def _held(self, once: Callable[[], None], stop: StopSignal, patience: float) -> bool:
        """Run until it holds; False where a stop came first."""
        pauses, since = GrowingPause(FIRST_PAUSE, LONGEST_PAUSE), time.monotonic()
        while True:
            try:
                once()
                self._missing = None
                return True
            except Exception as error:
                if not isinstance(found := in_words(error), UnavailableError) or time.monotonic() - since > patience or not patience:
                    raise
                self._missing, pause = str(found), pauses.next()
            log.warning("job.waiting", job=self._name, reason=self._missing, next_try_in=round(pause, 1))
            if stop.wait(pause):
                return False

    def _ended(self, began: float) -> None:
        self._last = self._clock()
        self.metrics.runs.labels(self._name).inc()
        self.metrics.seconds.labels(self._name).set(self._last - began)
        self.metrics.last.labels(self._name).set(self._last)
