"""The streaming job: one query a topic, each restarted with a growing pause when it fails, all stopped between two batches."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog
from cassandra.cluster import Session
from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from millrace_contracts.documents import MERCHANTS, PAYMENTS, USERS
from millrace_contracts.reports import PROGRESS_PAYMENTS
from millrace_contracts.topics import change_topic
from millrace_processors import sources, tables
from millrace_processors.dimensions import DimensionBatch
from millrace_processors.errors import CommandError, ProcessorsError, UnavailableError
from millrace_processors.joining import FileJoiner
from millrace_processors.lake import Lake
from millrace_processors.metrics import Metrics
from millrace_processors.payments import PaymentsBatch
from millrace_processors.progress import LowWater, ProgressTable
from millrace_processors.session import release_readers
from millrace_processors.settings import Config
from millrace_runtime.stopping import StopSignal
from millrace_runtime.waiting import GrowingPause

log = structlog.get_logger()
QUERIES = (PAYMENTS, MERCHANTS, USERS)
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
Run = Callable[[DataFrame, str, int], None]


_ERROR = re.compile(r"^(?!py4j|org\.apache|java\.)(\w+\.)*(\w+(Error|Exception)|[A-Z]\w+)(: |\(\S)")


_AWAY = re.compile(
    r"NoHostAvailable|OperationTimedOut|ReportStoreError|ServerSelectionTimeout|AutoReconnect|NetworkTimeout"
    r"|kafka\.common\.errors\.(Timeout|Disconnect|RetriableCommit|BrokerNotAvailable)"
)
"""Names of errors, in whatever Spark says of a failed task, that mean that a server is away."""


class Stopping(Exception):
    """Raised instead of beginning a batch once a stop was asked for."""


@dataclass
class Query:
    """One topic's query and how it fares."""

    name: str
    topic: str
    run: Run | None = None
    """Made with the first start: it reads where an earlier driver stopped, from a server that may be away."""
    active: StreamingQuery | None = None
    state: str = "starting"
    batch_id: int = -1
    failures: int = 0
    pauses: GrowingPause = field(default_factory=lambda: GrowingPause(FIRST_PAUSE, LONGEST_PAUSE))
    retry_at: float = 0.0
    healthy_at: float = field(default_factory=time.monotonic)


class Streaming:
    """All queries of this driver."""

    def __init__(self, config: Config, session: SparkSession, metrics: Metrics, names: tuple[str, ...], trigger: str) -> None:
        self._config, self._session, self._metrics, self._trigger = config, session, metrics, trigger
        self._lake = Lake(session, config.lake, config.names.lake_namespace)
        self._stop = StopSignal()
        self._gate = threading.Lock()
        for name in names:
            metrics.expect(name)
        self.queries = [Query(name, change_topic(config.names, name)) for name in names]

    def readiness(self) -> tuple[bool, dict[str, Any]]:
        """Ready while every query runs."""
        states = {query.name: {"state": query.state, "batch": query.batch_id, "failures": query.failures} for query in self.queries}
        return all(query.state == "running" for query in self.queries), {"queries": states}

    def run(self, stop: StopSignal) -> None:
        """Run until the stop; a batch that has begun is finished first. A server that is away as a query starts is waited for as later.

        Raises:
            UnavailableError: a query failed for longer than the patience, since a server was away.
            ProcessorsError: for another reason.
            CommandError: a topic or table is missing.
        """
        self._stop = stop
        while not stop.is_set:
            for query in self.queries:
                self._look_after(query)
            stop.wait(0.2)
        with self._gate:
            for query in self.queries:
                if query.active is not None and query.active.isActive:
                    query.active.stop()
                query.state = "stopped"
        log.info("stream.stopped")

    def _look_after(self, query: Query) -> None:
        if query.active is not None:
            if query.active.isActive:
                return
            self._failed(query, query.active.exception())
            query.active = None
        if time.monotonic() >= query.retry_at:
            try:
                self._start(query)
            except CommandError as error:
                if query.batch_id < 0:
                    raise
                self._failed(query, error)
            except (ProcessorsError, PySparkException, Py4JJavaError) as error:
                self._failed(query, error)

    def _failed(self, query: Query, error: Exception | None) -> None:
        reason, patience = reason_of(error), self._config.processors.patience_seconds
        if time.monotonic() - query.healthy_at > patience:
            kind = UnavailableError if isinstance(error, UnavailableError) or is_away(error) else ProcessorsError
            raise kind(f"the query {query.name} has not finished a batch for {patience:.0f} s: {reason}")
        query.failures += 1
        pause = query.pauses.next()
        query.state = f"failed, next try in {pause:.0f} s: {reason}"
        query.retry_at = time.monotonic() + pause
        self._metrics.restarts.labels(query.name).inc()
        log.warning("stream.query_failed", query=query.name, reason=reason, failures=query.failures)

    def _start(self, query: Query) -> None:
        config = self._config
        sources.partitions(config.kafka, query.topic)
        query.run = query.run or self._runner(query.name)
        run = query.run
        records = sources.stream(self._session, config.kafka, query.topic, config.processors.max_events_per_batch)
        checkpoint = f"{config.processors.checkpoints}/{config.names.lake_namespace}/{query.name}"
        writer = records.writeStream.queryName(query.name).option("checkpointLocation", checkpoint).trigger(processingTime=self._trigger)
        query.active = writer.foreachBatch(lambda batch, batch_id: self._batch(query, run, batch, batch_id)).start()
        query.state = "running"
        log.info("stream.query_started", query=query.name, topic=query.topic, checkpoint=checkpoint)

    def _batch(self, query: Query, run: Run, records: DataFrame, batch_id: int) -> None:
        if self._stop.is_set:
            raise Stopping
        with self._gate:
            began = time.monotonic()
            # The id of the checkpoint: a new one may count its batches from 0 again.
            checkpoint_id = records.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId") or query.name
            run(records, checkpoint_id, batch_id)
            self._metrics.batch_seconds.labels(query.name).observe(time.monotonic() - began)
            self._release_readers()
        query.batch_id, query.failures, query.healthy_at = batch_id, 0, time.monotonic()
        query.pauses.reset()
        self._metrics.batch_id.labels(query.name).set(batch_id)
        self._metrics.last_batch.labels(query.name).set_to_current_time()

    def _release_readers(self) -> None:
        """Called inside of the gate: no other query of this driver reads the lake then."""
        try:
            release_readers(self._session)
        except Py4JJavaError as error:
            # The batch is through; one that can not be closed is what it was before.
            log.warning("stream.readers_not_released", reason=str(error.java_exception)[:500])

    def _runner(self, name: str) -> Run:
        if name == PAYMENTS:
            return self._payments()
        dimension, metrics = DimensionBatch(self._config, self._lake, name), self._metrics

        def run(records: DataFrame, query: str, batch_id: int) -> None:
            before = dimension.dead_letters
            metrics.events.labels(name).inc(dimension.run(records, query, batch_id))
            metrics.dead_letters.labels(name).inc(dimension.dead_letters - before)

        return run

    def _payments(self) -> Run:
        config, metrics = self._config, self._metrics
        partitions = sources.partitions(config.kafka, change_topic(config.names, PAYMENTS))

        def saved(store: Session) -> tuple[ProgressTable, LowWater]:
            table = ProgressTable(store, config.names.keyspace)
            return table, table.load(PROGRESS_PAYMENTS, partitions)

        # One try: the loop comes again, and looks for a stop between.
        batch = PaymentsBatch(config, self._lake, *tables.asked(config, saved, patience=0.0))
        joiner = FileJoiner(self._lake, config.processors.join_files_every)

        def run(records: DataFrame, query: str, batch_id: int) -> None:
            outcome = batch.run(records, query, batch_id)
            metrics.events.labels(PAYMENTS).inc(outcome.events)
            metrics.dead_letters.labels(PAYMENTS).inc(outcome.dead_letters)
            metrics.facts.inc(outcome.refreshed.facts)
            metrics.reports.inc(outcome.refreshed.reports)
            metrics.unnoticed.inc(outcome.refreshed.unnoticed)
            for step, seconds in outcome.steps.seconds.items():
                metrics.step_seconds.labels(step).observe(seconds)
            if outcome.complete_through_ms is not None:
                metrics.complete_through.set(outcome.complete_through_ms / 1000)
            if outcome.events:
                log.info(
                    "stream.batch",
                    query=PAYMENTS,
                    batch=batch_id,
                    events=outcome.events,
                    dead_letters=outcome.dead_letters,
                    reports=outcome.refreshed.reports,
                    facts=outcome.refreshed.facts,
                    seconds=outcome.steps.rounded(),
                )
            joiner.after_batch(appended=outcome.events > 0)

        return run


def is_away(error: Exception | None) -> bool:
    """Whether Spark failed since a server was away."""
    return _AWAY.search(str(error)) is not None


def reason_of(error: Exception | None) -> str:
    """The line that says what happened: behind a Python traceback it is the last one before the JVM's own frames."""
    lines = [line.strip() for line in str(error or "ended").splitlines() if line.strip() and not line.startswith("\tat ")]
    named = [line for line in lines if _ERROR.match(line)]
    return (named or lines)[0][:500]
