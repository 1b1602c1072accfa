"""Step 6: reports into Cassandra, from the Python workers of Spark.

Every statement is idempotent and carries the report's version as its write timestamp (I7). Reports whose partitions have the same
replicas travel together in unlogged batches, so that no coordinator has to pass a part of a batch on. One session a worker process,
made after the fork and kept for later tasks.
"""

from __future__ import annotations

import random
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from cassandra import ConsistencyLevel, DriverException, OperationTimedOut, RequestExecutionException
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable, Session
from cassandra.policies import DCAwareRoundRobinPolicy, ExponentialReconnectionPolicy, TokenAwarePolicy
from cassandra.query import UNSET_VALUE, BatchStatement, BatchType, BoundStatement, PreparedStatement

from millrace_contracts.reports import BREAKDOWNS, COUNTERS, REPORTS_TABLE
from millrace_contracts.settings import CassandraSettings
from millrace_contracts.windows import Grain, Inner, bucket, from_ms
from millrace_processors.errors import ReportStoreError
from millrace_processors.replica_batches import PARTITION, Row, by_replicas
from millrace_processors.reports import Reports

RETRIED = (RequestExecutionException, NoHostAvailable, OperationTimedOut, DriverException, OSError)
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
_COLUMNS = (
    "merchant_id", "grain", "bucket", "window_start", "currency", *COUNTERS, *BREAKDOWNS, "customers", "amounts", "revision", "version",
    "complete_through",
)  # fmt: skip
_BIGINT = struct.Struct(">q")
_open: dict[CassandraSettings, Session] = {}
_lock = threading.Lock()


@dataclass(frozen=True)
class Target:
    """Where reports go and what they are stamped with."""

    cassandra: CassandraSettings
    keyspace: str
    inflight: int
    patience_seconds: float
    version: int
    complete_through_ms: int | None
    grain: Grain | Inner = Grain.TEN_MINUTES


def connect(settings: CassandraSettings) -> Session:
    """A new session; the caller shuts its cluster down.

    Raises:
        NoHostAvailable: no node answers.
    """
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(local_dc=settings.local_dc)),
        # The API reads LOCAL_QUORUM too: what a notice tells of is seen.
        consistency_level=ConsistencyLevel.LOCAL_QUORUM,
        request_timeout=20,
    )
    auth = PlainTextAuthProvider(settings.username, settings.password) if settings.username else None
    cluster = Cluster(
        settings.contact_points(),
        port=settings.port,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        auth_provider=auth,
        reconnection_policy=ExponentialReconnectionPolicy(0.5, 5.0),
        protocol_version=5,
        connect_timeout=5,
    )
    try:
        return cluster.connect()
    except BaseException:
        cluster.shutdown()
        raise


def session(settings: CassandraSettings) -> Session:
    """The session of this process."""
    with _lock:
        if settings not in _open:
            _open[settings] = connect(settings)
        return _open[settings]


def write(target: Target, reports: Reports) -> None:
    """Write reports, with bounded retries; all of them are in when it returns.

    Raises:
        ReportStoreError: Cassandra did not take them within the patience.
    """
    send(target, insertion(target.keyspace), rows(target, reports), "reports")


def send(target: Target, statement: str, rows: Iterable[Row], what: str, key: slice = PARTITION) -> None:
    """Run one idempotent statement for many rows, whose cells ``key`` are the partition key. Raises as ``write`` does."""
    deadline, pause, left = time.monotonic() + target.patience_seconds, FIRST_PAUSE, list(rows)
    while left:
        try:
            found = session(target.cassandra)
            left, problem = _attempt(found, target, statement, left, key)
        except RETRIED as error:
            problem = error
        if not left:
            return
        if time.monotonic() > deadline:
            raise ReportStoreError(f"Cassandra did not take {len(left)} {what} in {target.patience_seconds:.0f} s: {problem}")
        time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
        pause = min(pause * 2, LONGEST_PAUSE)


def rows(target: Target, reports: Reports) -> Iterator[Row]:
    """The reports' cells in the protocol's bytes; the driver's own conversion is ten times slower."""
    pack, grain = _BIGINT.pack, target.grain.value.encode()
    through = UNSET_VALUE if target.complete_through_ms is None else pack(target.complete_through_ms)
    version = pack(target.version)
    counters = [[pack(value) for value in reports.counters[name].tolist()] for name in COUNTERS]
    starts = reports.window_ms.tolist()
    keys = zip(reports.merchants, starts, reports.currencies, strict=True)
    maps = [reports.breakdowns[name] for name in BREAKDOWNS]
    cells = zip(*counters, *maps, reports.customers, reports.amounts, map(pack, reports.revision.tolist()), strict=True)
    buckets = {start: bucket(target.grain, from_ms(start)).encode() for start in set(starts)}
    for (merchant, start, currency), values in zip(keys, cells, strict=True):
        yield [merchant.encode(), grain, buckets[start], pack(start), currency.encode(), *values, version, through, version]


def insertion(keyspace: str) -> str:
    """The upsert of one report."""
    marks = ", ".join("?" * len(_COLUMNS))
    return f"INSERT INTO {keyspace}.{REPORTS_TABLE} ({', '.join(_COLUMNS)}) VALUES ({marks}) USING TIMESTAMP ?"  # noqa: S608 - names of our own


def prepared(found: Session, text: str) -> PreparedStatement:
    """An idempotent statement, prepared once a session."""
    cache: dict[str, PreparedStatement] = found.__dict__.setdefault("millrace_prepared", {})
    if text not in cache:
        cache[text] = found.prepare(text)
        cache[text].is_idempotent = True
    return cache[text]


def _attempt(found: Session, target: Target, text: str, rows: list[Row], key: slice) -> tuple[list[Row], Any]:
    """Send every row, so many batches in flight at a time; the rows that failed, and one reason."""
    statement = prepared(found, text)
    slots, failed, reasons = threading.Semaphore(target.inflight), [], []
    for batch in by_replicas(found.cluster.metadata, target.keyspace, rows, key):
        slots.acquire()
        future = found.execute_async(_statement(statement, batch))

        def refused(error: Exception, batch: list[Row] = batch) -> None:
            failed.extend(batch)
            reasons.append(error)
            slots.release()

        future.add_callbacks(lambda _: slots.release(), refused)
    for _ in range(target.inflight):
        slots.acquire()
    return failed, reasons[0] if reasons else None


def _statement(statement: PreparedStatement, batch: list[Row]) -> BoundStatement | BatchStatement:
    alone = [bound(statement, row) for row in batch]
    if len(alone) == 1:
        return alone[0]
    together = BatchStatement(BatchType.UNLOGGED)
    together.is_idempotent = True
    for each in alone:
        together.add(each)
    return together


def bound(statement: PreparedStatement, row: Row) -> BoundStatement:
    """A statement with cells that are in the protocol's bytes already."""
    made = BoundStatement(statement)
    made.values = row
    return made


def execute_all(found: Session, statements: list[tuple[PreparedStatement, tuple[Any, ...]]]) -> None:
    """Run idempotent statements concurrently.

    Raises:
        ReportStoreError: one of them failed after its retries.
    """
    from cassandra.concurrent import execute_concurrent

    left, pause = statements, FIRST_PAUSE
    while left:
        results = execute_concurrent(found, left, concurrency=32, raise_on_first_error=False)
        failed = [(statement, result[1]) for statement, result in zip(left, results, strict=True) if not result[0]]
        if failed and pause > LONGEST_PAUSE:
            raise ReportStoreError(f"Cassandra did not take {len(failed)} rows: {failed[0][1]}")
        left = [statement for statement, _ in failed]
        if left:
            time.sleep(pause)
            pause *= 2
