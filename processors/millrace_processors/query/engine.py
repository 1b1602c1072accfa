"""The engine behind the service: a port, and Spark behind it.

Spark gets a session of its own for each query, so that nothing that one sets or names is there for another, and each tenant a pool, so that
tenants share the cores. Its own analysed plan is looked at before anything runs: it may read the statement's tables and nothing else.
"""

from __future__ import annotations

import functools
import logging
import os
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

import pyarrow as pa
import structlog
from py4j.protocol import Py4JError
from pyspark.errors import AnalysisException, ParseException, PySparkException
from pyspark.logger import PySparkLogger
from pyspark.sql import DataFrame, SparkSession, types

from millrace_contracts import exit_codes
from millrace_contracts.windows import WINDOW_MS, from_ms
from millrace_processors.errors import LakeError, ProcessorsError
from millrace_processors.lake import Lake
from millrace_processors.query import views
from millrace_processors.query.errors import CancelledError, FailedError, TooLargeError
from millrace_processors.query.rewriting import Scope, Statement, Table, rewrite
from millrace_processors.query.text.forms import SQL_TYPE

log = structlog.get_logger()
WARM = "warm-up"
POOLS = 32
"""Pools among which tenants are spread: Spark never forgets one."""
SAFETY = {
    # A second lock behind the guard: no query reads a file by its path.
    "spark.sql.runSQLOnFiles": "false",
    # Nor does Spark put settings or environment variables for ${…} into the text.
    "spark.sql.variable.substitute": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "10000",
    # https://issues.apache.org/jira/browse/SPARK-58428: with it, planning never ends where a constant in a branch fails, such as 1/0. It
    # would fold constants a second time, on the way to the lake; the optimizer has folded those that do not fail by then.
    "spark.sql.optimizer.datasourceV2ExprFolding": "false",
    # A side of a join is sent to every task only where it is known to be small.
    "spark.sql.autoBroadcastJoinThreshold": "8m",
}

_IN_ARROW = (
    types.NumericType, types.StringType, types.BooleanType, types.BinaryType, types.DateType, types.TimestampType, types.TimestampNTZType,
    types.NullType,
)  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """What one query may cost."""

    rows_read: int
    result_rows: int
    result_bytes: int


@dataclass(frozen=True)
class Answer:
    """What a query gave. ``truncated``: whether rows beyond the limit were cut off."""

    table: pa.Table
    truncated: bool
    rows_read: int


@dataclass(frozen=True)
class Sources:
    """The lake's tables at the snapshots of one instant (epoch milliseconds)."""

    tables: Mapping[str, Table]
    as_of_ms: int | None


class Engine(Protocol):
    """What the service needs of an engine. ``run`` and ``cancel`` are called from different threads."""

    def sources(self) -> Sources:
        """The lake as it is now.

        Raises:
            LakeError: it is not there.
        """

    def run(self, job_id: str, pool: str, statement: Statement, limits: Limits, cancelled: Callable[[], bool]) -> Answer:
        """Run a statement.

        Raises:
            QueryError: it failed, cost too much or was cancelled.
        """

    def cancel(self, job_id: str) -> None:
        """End what runs for a job, and what would run for it later."""

    def busy(self, job_id: str) -> bool:
        """Whether something still runs for a job."""


class SparkEngine:
    """Statements on a Spark session of this process."""

    def __init__(self, spark: SparkSession, lake: Lake) -> None:
        self._spark, self._lake = spark, lake
        # A caller's mistake is told to the caller, and logged by the service in a line of its own.
        PySparkLogger.getLogger("SQLQueryContextLogger").setLevel(logging.CRITICAL)

    def sources(self) -> Sources:
        """The newest snapshots."""
        # Iceberg asks the session of the calling thread for its catalogue, and a thread of ours has none yet.
        SparkSession._get_j_spark_session_class(self._spark._jvm).setActiveSession(self._spark._jsparkSession)
        found = {views.FACTS: self._lake.facts, views.MERCHANT_HISTORY: self._lake.merchants}
        snapshots = {short: self._lake.snapshots(full) for short, full in found.items()}
        newest = snapshots[views.FACTS]
        tables = {
            short: Table(tuple(full.split(".")), snapshots[short][-1].id if snapshots[short] else None) for short, full in found.items()
        }
        return Sources(tables, int(newest[-1].at.timestamp() * 1000) if newest else None)

    def run(self, job_id: str, pool: str, statement: Statement, limits: Limits, cancelled: Callable[[], bool]) -> Answer:
        """Plan, look at the plan and its cost, and collect a bounded result."""
        session = self._spark.newSession()
        for name, value in SAFETY.items():
            session.conf.set(name, value)
        context = session.sparkContext
        try:
            context.setLocalProperty("spark.scheduler.pool", f"tenant-{zlib.crc32(pool.encode()) % POOLS}")
            context.setJobGroup(job_id, f"query {job_id}", interruptOnCancel=True)
            frame = session.sql(statement.sql, args=statement.parameters)
            _only(frame, statement)
            bounded = _held(frame).limit(limits.result_rows + 1)
            rows_read = _rows_read(frame)
            if rows_read > limits.rows_read and (statement.everything or _own_rows(frame) > limits.rows_read):
                log.info("query.costs_too_much", job=job_id, rows=rows_read)
                raise TooLargeError(
                    f"the query would read more than {limits.rows_read:,} rows of the lake, which are allowed; ask for a shorter range, "
                    "fewer merchants, or read each view once",
                    allowed=limits.rows_read,
                )
            if cancelled():
                raise CancelledError("cancelled")
            table = _typed(bounded.toArrow(), frame)
        except (PySparkException, Py4JError) as error:
            if cancelled():
                raise CancelledError("cancelled") from None
            raise _failed(error, limits) from None
        finally:
            context.setLocalProperty("spark.jobGroup.id", None)  # type: ignore[arg-type]  # None takes it away
            context.setLocalProperty("spark.scheduler.pool", None)  # type: ignore[arg-type]
        if table.nbytes > limits.result_bytes:
            raise _too_many_bytes(limits)
        return Answer(table.slice(0, limits.result_rows), table.num_rows > limits.result_rows, rows_read)

    def cancel(self, job_id: str) -> None:
        """Cancel the job group; the future ones too, since a query may still be planned."""
        jvm_context: Any = self._spark.sparkContext._jsc.sc()
        jvm_context.cancelJobGroupAndFutureJobs(job_id)

    def busy(self, job_id: str) -> bool:
        """Whether tasks of the job group are still at work: one in a tight loop of a join does not hear that it is to stop."""
        tracker = self._spark.sparkContext.statusTracker()
        jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(job_id)]
        stages = [tracker.getStageInfo(stage) for job in jobs if job is not None for stage in job.stageIds]
        return any(stage is not None and stage.numActiveTasks > 0 for stage in stages)

    def zone_release(self) -> str:
        """The release of the IANA time zone database that the driver's Java has."""
        jvm: Any = self._spark._jvm
        return str(jvm.java.time.zone.ZoneRulesProvider.getVersions("UTC").lastEntry().getKey())

    def abandon(self) -> NoReturn:
        """End this process and its JVM at once; whoever watches over it starts another."""
        gateway: Any = self._spark.sparkContext._gateway
        gateway.proc.kill()
        os._exit(exit_codes.FATAL)

    def warm(self) -> None:
        """Ask a small question, so that the first caller does not wait until Spark has loaded and compiled what every query needs."""
        scope = Scope((WARM,), everything=False, start=from_ms(0), end=from_ms(WINDOW_MS))
        try:
            statement = rewrite("SELECT currency, sum(net) AS net FROM reports GROUP BY 1 ORDER BY 1", scope, self.sources().tables)
            self.run(WARM, WARM, statement, Limits(1, 1, 1_000_000), lambda: False)
        except ProcessorsError as error:
            log.info("query.not_warmed", problem=str(error))

    def ready(self) -> tuple[bool, str]:
        """Whether the lake can be asked, and what is wrong."""
        try:
            self.sources()
        except LakeError as error:
            return False, str(error)
        return True, "ready"


def _leaves(plan: Any) -> Iterator[Any]:
    """The leaves of a JVM plan, and of every subquery in it."""
    for part in (plan, *_sequence(plan.subqueriesAll())):
        yield from _sequence(part.collectLeaves())


def _sequence(found: Any) -> list[Any]:
    return [found.apply(place) for place in range(found.size())]


def _only(frame: DataFrame, statement: Statement) -> None:
    """Refuse a plan that reads anything but the statement's tables: what stands behind a mistake of the guard."""
    allowed = {".".join(path) for path in statement.tables}
    for leaf in _leaves(frame._jdf.queryExecution().analyzed()):
        kind = leaf.getClass().getSimpleName()
        if kind in ("OneRowRelation", "LocalRelation", "CTERelationRef"):
            continue
        if kind == "DataSourceV2Relation" and str(leaf.table().name()) in allowed:
            continue
        log.error("query.plan_refused", leaf=kind, name=str(leaf.nodeName())[:200])
        raise FailedError("the query reads something that is no view; nothing was read")


def _rows_read(frame: DataFrame) -> int:
    """Rows of the files that are left after pruning, by the engine's own statistics; each read of a table counts."""
    total = 0
    for leaf in _leaves(frame._jdf.queryExecution().optimizedPlan()):
        if leaf.getClass().getSimpleName() == "DataSourceV2ScanRelation":
            rows = leaf.stats().rowCount()
            total += int(str(rows.get())) if rows.isDefined() else 0
    return total


def _own_rows(frame: DataFrame) -> int:
    """Rows that pass the conditions at each read of a table, the caller's merchants and range among them; counted by reading them.

    I9: files hold rows of others too, so a refusal by the files' rows would tell of these. The files hold at least the rows counted here:
    where theirs are within the limit, so are these, and nothing has to be counted.
    """
    jvm: Any = frame.sparkSession._jvm
    datasets = getattr(jvm, "org.apache.spark.sql.classic.Dataset")
    plan = frame._jdf.queryExecution().optimizedPlan()
    reads = [read for part in (plan, *_sequence(plan.subqueriesAll())) for read in _reads(part, jvm)]
    return sum(int(datasets.ofRows(frame.sparkSession._jsparkSession, read).count()) for read in reads)


def _reads(plan: Any, jvm: Any) -> Iterator[Any]:
    """Each read of a table in a plan, with the conditions right above it that ask no other table."""
    kind, below = plan.getClass().getSimpleName(), _sequence(plan.children())
    if kind == "DataSourceV2ScanRelation":
        yield plan
    elif kind == "Filter" and below[0].getClass().getSimpleName() == "DataSourceV2ScanRelation":
        catalyst = jvm.org.apache.spark.sql.catalyst
        alone = [each for each in _conjuncts(plan.condition()) if not catalyst.expressions.SubqueryExpression.hasSubquery(each)]
        yield catalyst.plans.logical.Filter(functools.reduce(catalyst.expressions.And, alone), below[0]) if alone else below[0]
    else:
        for each in below:
            yield from _reads(each, jvm)


def _conjuncts(condition: Any) -> Iterator[Any]:
    if condition.getClass().getSimpleName() == "And":
        yield from _conjuncts(condition.left())
        yield from _conjuncts(condition.right())
    else:
        yield condition


def _held(frame: DataFrame) -> DataFrame:
    """The frame with each column that Arrow cannot hold, such as one of intervals, as Spark's own text of it."""
    kinds = [field.dataType for field in frame.schema.fields]
    if all(map(_in_arrow, kinds)):
        return frame
    # By numbers: columns may be named alike.
    numbered = frame.toDF(*(f"c{place}" for place in range(len(kinds))))
    texts = [f"c{place}" if _in_arrow(kind) else f"CAST(c{place} AS STRING) AS c{place}" for place, kind in enumerate(kinds)]
    return numbered.selectExpr(*texts).toDF(*frame.columns)


def _in_arrow(kind: types.DataType) -> bool:
    if isinstance(kind, types.ArrayType):
        return _in_arrow(kind.elementType)
    if isinstance(kind, types.MapType):
        return _in_arrow(kind.keyType) and _in_arrow(kind.valueType)
    if isinstance(kind, types.StructType):
        return all(_in_arrow(field.dataType) for field in kind.fields)
    return isinstance(kind, _IN_ARROW)


def _typed(table: pa.Table, frame: DataFrame) -> pa.Table:
    """The table whose columns of text say which type of Spark's they hold."""
    kinds = [None if _in_arrow(field.dataType) else field.dataType.simpleString() for field in frame.schema.fields]
    if not any(kinds):
        return table
    fields = [field.with_metadata({SQL_TYPE: kind}) if kind else field for field, kind in zip(table.schema, kinds, strict=True)]
    return pa.Table.from_arrays(table.columns, schema=pa.schema(fields))


def _too_many_bytes(limits: Limits) -> TooLargeError:
    fix = "ask for fewer columns, sum up, or add a LIMIT"
    return TooLargeError(f"the result is larger than {limits.result_bytes:,} bytes; {fix}", allowed=limits.result_bytes)


def _failed(error: Exception, limits: Limits) -> FailedError | TooLargeError:
    """The engine's error as one line for the caller: its condition and words, without our tables, paths and plans."""
    text = str(error)
    if "maxResultSize" in text:
        return _too_many_bytes(limits)
    condition = error.getCondition() if isinstance(error, PySparkException) else None
    found = re.search(r"\[([A-Z0-9_.]{3,80})\] ([^\n]{1,300})", text)
    if condition is None and found is None:
        log.error("query.failed", problem=text[:2_000])
        return FailedError("the engine could not run the query; the log of the service says why")
    name, words = (found[1], found[2]) if found else (str(condition), "")
    words = re.sub(r"`lake`\.\S+|\bfile:\S+|\b(hdfs|s3a?)://\S+", "…", words)
    if not isinstance(error, AnalysisException | ParseException):
        # I9: an optimizer may test a condition of the caller on a row before ours has removed it, and the words would tell its value.
        words = re.sub(r"'[^']*'|\"[^\"]*\"|\b\d\S*", "…", words)
    return FailedError(f"{name}: {words}".rstrip(": "), condition=name)
