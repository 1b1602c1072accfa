"""``millrace connect watch``: look at the cluster again and again, name what failed, restart it with backoff."""

from __future__ import annotations

import time
from collections import Counter as Counting
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from millrace_cdc.connect.errors import ConnectError, NotFoundError, RefusedError, WorkerError
from millrace_cdc.connect.models import FAILED
from millrace_cdc.connect.operations import current
from millrace_cdc.connect.session import Session
from millrace_cdc.connect.snapshots.left_out import LookError
from millrace_cdc.connect.status import Report, Row
from millrace_cdc.connect.watchdog import Decision, Part, Watchdog
from millrace_runtime.stopping import StopSignal

log = structlog.get_logger()

LOOK_AGAIN = 3600.0
"""Seconds after which snapshots are looked after again: an operator may have asked for one."""
LOOK_SOON = 60.0
"""Seconds until the next try where MongoDB or Kafka did not answer."""

STATES = ("RUNNING", "FAILED", "PAUSED", "STOPPED", "UNASSIGNED", "RESTARTING", "MISSING", "UNKNOWN")


class Metrics:
    """What Prometheus sees of the watch."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("connector", "task")
        self.state = Gauge(
            "millrace_connect_state", "1 for the state that a connector or task is in.", (*labels, "state"), registry=self.registry
        )
        self.failures = Counter("millrace_connect_failures", "Failures seen.", labels, registry=self.registry)
        self.stuck = Gauge("millrace_connect_stuck", "1 while it fails at the same offset again and again.", labels, registry=self.registry)
        self.restarts = Counter("millrace_connect_restarts", "Restarts asked for.", labels, registry=self.registry)
        self.left_out = Gauge("millrace_connect_left_out", "Documents that snapshots leave out.", ("collection",), registry=self.registry)
        self.reachable = Gauge("millrace_connect_reachable", "1 while a worker answers.", registry=self.registry)

    def show(self, rows: Iterable[Row], stuck: Collection[Part]) -> None:
        """Set the states; what is gone leaves."""
        self.state.clear()
        self.stuck.clear()
        for row in rows:
            for state in STATES:
                self.state.labels(row.connector, _task(row.task), state).set(row.state == state)
            self.stuck.labels(row.connector, _task(row.task)).set((row.connector, row.task) in stuck)


class Watch:
    """One watch over the connectors of ours, or over all of the cluster."""

    def __init__(self, session: Session, *, every: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self.metrics = Metrics()
        self._session, self._every, self._clock = session, every, clock
        self._watchdog = Watchdog()
        self._last: Report | None = None
        self._unreachable = ""
        self._look_at = 0.0
        """When to look for what snapshots left out: at the start, whenever a task may have begun with one, and from time to time."""

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Ready while a worker answers; the failures are told either way."""
        troubles = [*(self._last.troubles if self._last else []), *map(_says, self._watchdog.stuck)]
        return not self._unreachable and self._last is not None, {"connect": self._unreachable or "answers", "troubles": troubles}

    def run(self, stop: StopSignal, interval: float) -> None:
        """Look every ``interval`` seconds until the stop; a cluster that is away is waited for."""
        while not stop.is_set:
            self.look()
            stop.wait(interval)

    def look(self) -> Decision | None:
        """One look; None where no worker answered."""
        try:
            report = current(self._session)
            if not self._every:
                mine = [row for row in report.rows if row.connector.startswith(self._session.prefix)]
                report = Report(mine, [trouble for trouble in report.troubles if trouble.startswith(self._session.prefix)])
            decision = self._watchdog.look(report.rows, self._clock(), self._offsets(report.rows))
            self._tell(decision)
            for part in decision.restart:
                self._restart(part)
        except ConnectError as error:
            if not self._unreachable:
                log.warning("connect does not answer", reason=error.message)
            self._unreachable = error.message
            self.metrics.reachable.set(0)
            return None
        if self._unreachable:
            log.info("connect answers again")
        self._last, self._unreachable = report, ""
        self.metrics.reachable.set(1)
        self.metrics.show(report.rows, self._watchdog.stuck)
        if decision.recovered or self._clock() >= self._look_at:
            self._tell_left_out()
        return decision

    def _tell_left_out(self) -> None:
        if self._session.look is None:
            return
        try:
            found = self._session.look.tell(self._session.declared)
        except LookError as error:
            log.warning("snapshots not looked after", reason=self._session.redactor.text(error.message))
            self._look_at = self._clock() + LOOK_SOON
            return
        self._look_at = self._clock() + LOOK_AGAIN
        self.metrics.left_out.clear()
        for collection, count in Counting(each.collection for each in found).items():
            self.metrics.left_out.labels(collection).set(count)
            log.error("snapshots leave out documents; see the dead letters", collection=collection, documents=count)

    def _offsets(self, rows: Iterable[Row]) -> dict[str, str]:
        """Where the connectors that failed stand; one of which that can not be told is left out."""
        found = {}
        for connector in sorted({row.connector for row in rows if row.state == FAILED}):
            with suppress(RefusedError, NotFoundError, WorkerError):
                found[connector] = repr(self._session.client.offsets(connector))
        return found

    def _tell(self, decision: Decision) -> None:
        for failure in decision.failed:
            connector, task = failure.part
            self.metrics.failures.labels(connector, _task(task)).inc()
            log.error(
                "failed",
                connector=connector,
                task=task,
                trouble=failure.trouble,
                failures=failure.failures,
                at_the_same_offset=failure.stuck,
                restart_in=failure.restart_in,
            )
        for connector, task in decision.recovered:
            log.info("runs again", connector=connector, task=task)

    def _restart(self, part: Part) -> None:
        connector, task = part
        log.info("restarting", connector=connector, task=task)
        self.metrics.restarts.labels(connector, _task(task)).inc()
        if task is None:
            self._session.client.restart(connector, tasks=True, only_failed=True)
        else:
            self._session.client.restart_task(connector, task)


def _says(part: Part) -> str:
    connector, task = part
    named = connector if task is None else f"{connector} task {task}"
    return f"{named}: fails at the same offset again; unless a server is away, put right what it meets there (connect-config/README.md)"


def _task(task: int | None) -> str:
    return "" if task is None else str(task)
