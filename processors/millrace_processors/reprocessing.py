"""The reprocess job: reports computed again, from the lake or from Kafka, beside what they were before (I6).

Both go the way that the stream goes (refresh, payments), so that they may run beside it (I7) and be killed and repeated at any instant.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from millrace_contracts.documents import PAYMENTS
from millrace_contracts.reports import PROGRESS_PAYMENTS
from millrace_contracts.topics import change_topic
from millrace_contracts.windows import to_ms
from millrace_processors import decoding, facts, refresh, sources, tables
from millrace_processors.errors import CommandError, ProcessorsError
from millrace_processors.lake import Lake
from millrace_processors.payments import Outcome, PaymentsBatch
from millrace_processors.progress import ProgressTable
from millrace_processors.refresh import Mode, Refreshed
from millrace_processors.report_diff import EXAMPLES
from millrace_processors.settings import Config
from millrace_runtime.stopping import StopSignal


@dataclass(frozen=True)
class Scope:
    """Which reports: windows that start in [start, end), of some merchants; None and empty mean all."""

    start: datetime | None = None
    end: datetime | None = None
    merchants: tuple[str, ...] = ()

    def condition(self) -> Column:
        """The scope as a condition on the lake, which skips the files that it leaves out."""
        found = F.lit(True)
        if self.start is not None:
            found = found & (F.col("window_start") >= F.lit(self.start))
        if self.end is not None:
            found = found & (F.col("window_start") < F.lit(self.end))
        return found & F.col("merchant_id").isin(*self.merchants) if self.merchants else found


@dataclass(frozen=True)
class Reprocessed:
    """What was computed, and from how many change events (0 from the lake). ``finished`` is false after a stop."""

    refreshed: Refreshed
    events: int = 0
    dead_letters: int = 0
    finished: bool = True


class Stopped(Exception):
    """Raised instead of beginning a batch once a stop was asked for."""


def from_lake(config: Config, lake: Lake, scope: Scope, mode: Mode) -> Reprocessed:
    """Compute the reports of a scope from the lake's newest facts."""
    # In this order: every change up to that instant is in the snapshot.
    through = ProgressTable(tables.connected(config), config.names.keyspace).through(PROGRESS_PAYMENTS)
    return Reprocessed(refresh.whole(config, lake, scope.condition(), through, mode))


def from_kafka(
    config: Config, lake: Lake, starting: dict[str, str], mode: Mode, stop: StopSignal, tell: Callable[[Reprocessed], None]
) -> Reprocessed:
    """Take the events of the payments topic, from a place up to its present end, through the lake once more.

    In batches, with a checkpoint of its own that is named by ``starting`` and removed at the end: after a kill the same call goes on.

    Raises:
        CommandError: there is no such topic, offset or instant.
        ProcessorsError: a batch failed.
    """
    topic = change_topic(config.names, PAYMENTS)
    partitions = sources.partitions(config.kafka, topic)
    low_water = ProgressTable(tables.connected(config), config.names.keyspace).load(PROGRESS_PAYMENTS, partitions)
    batch = PaymentsBatch(config, lake, None, low_water, mode)
    total = Reprocessed(Refreshed())
    checkpoint = _checkpoint(config, starting)

    def run(records: DataFrame, batch_id: int) -> None:
        nonlocal total
        if stop.is_set:
            raise Stopped
        query = records.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId") or checkpoint
        # Markers are the stream's business: without them what is complete stays as it was when this began.
        total = added(total, batch.run(records.where(decoding.is_change()), query, batch_id))
        tell(total)

    records = sources.stream(lake.session, config.kafka, topic, config.processors.max_events_per_batch, starting)
    writer = records.writeStream.option("checkpointLocation", checkpoint).trigger(availableNow=True).foreachBatch(run)
    query = writer.start()
    try:
        query.awaitTermination()
    except PySparkException as error:
        if stop.is_set:
            return Reprocessed(total.refreshed, total.events, total.dead_letters, finished=False)
        raise ProcessorsError(f"reading {topic} failed; the same command goes on from there: {_line(error)}") from error
    _remove(lake.session, checkpoint)
    return total


def preview_kafka(config: Config, session: SparkSession, starting: dict[str, str]) -> dict[str, int]:
    """What ``from_kafka`` would take in, in numbers; nothing is written."""
    topic = change_topic(config.names, PAYMENTS)
    sources.partitions(config.kafka, topic)
    events = decoding.decode(sources.read(session, config.kafka, topic, starting).where(decoding.is_change()))
    counts = events.agg(F.count("*").alias("events"), F.count("reason").alias("dead_letters")).first()
    made = facts.derive(events)
    reports = made.select(*facts.KEY).distinct().agg(F.count("*").alias("reports"), F.count_distinct("merchant_id").alias("merchants"))
    rest = reports.crossJoin(made.agg(F.count("*").alias("facts"))).first()
    assert counts is not None
    assert rest is not None
    return {**counts.asDict(), **rest.asDict()}


def starting_at(instant: datetime | None, offsets: str | None, topic: str) -> dict[str, str]:
    """Spark's options for where to begin: an instant of the records, offsets such as ``0:15,1:20``, or the beginning.

    Raises:
        CommandError: the offsets are not understood.
    """
    if offsets is not None:
        pairs = [pair.partition(":") for pair in offsets.split(",")]
        if not all(partition.isdigit() and offset.isdigit() for partition, _, offset in pairs):
            raise CommandError(f"--offsets {offsets!r} is not partition:offset, such as 0:1500,1:1320")
        return {"startingOffsets": json.dumps({topic: {partition: int(offset) for partition, _, offset in pairs}})}
    if instant is not None:
        return {"startingTimestamp": str(to_ms(instant)), "startingOffsetsByTimestampStrategy": "latest"}
    return {}


def added(total: Reprocessed, outcome: Outcome) -> Reprocessed:
    """The sum of what batches did; a report that two of them computed counts twice."""
    sums: dict[str, Any] = {
        each.name: getattr(total.refreshed, each.name) + getattr(outcome.refreshed, each.name) for each in fields(Refreshed)
    }
    sums["examples"] = sums["examples"][:EXAMPLES]
    return Reprocessed(Refreshed(**sums), total.events + outcome.events, total.dead_letters + outcome.dead_letters)


def _checkpoint(config: Config, starting: dict[str, str]) -> str:
    name = hashlib.sha256(json.dumps(starting, sort_keys=True).encode()).hexdigest()[:12]
    return f"{config.processors.checkpoints}/{config.names.lake_namespace}/reprocess-{name}"


def _remove(session: SparkSession, folder: str) -> None:
    jvm: Any = session._jvm
    path = jvm.org.apache.hadoop.fs.Path(folder)
    path.getFileSystem(session._jsc.hadoopConfiguration()).delete(path, True)


def _line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]


def timed() -> Callable[[], float]:
    """Seconds since the call."""
    began = time.monotonic()
    return lambda: round(time.monotonic() - began, 3)
