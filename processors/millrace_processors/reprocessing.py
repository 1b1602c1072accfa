"""The reprocess job: reports computed again, from the lake, from Kafka or from MongoDB, beside what they were before (I6).

All go the way that the stream goes (decoding, facts, refresh), so that they may run beside it (I7), be killed and repeated.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, Observation, SparkSession
from pyspark.sql import functions as F

from millrace_contracts.documents import PAYMENTS
from millrace_contracts.reports import PROGRESS_PAYMENTS
from millrace_contracts.topics import change_topic
from millrace_processors import decoding, facts, lookups, mongo_facts, packing, pruning, refresh, sources, tables
from millrace_processors.errors import ProcessorsError
from millrace_processors.facts import COLUMNS, KEY
from millrace_processors.kafka_part import Part
from millrace_processors.lake import Lake, Snapshot
from millrace_processors.payments import Outcome, PaymentsBatch
from millrace_processors.progress import ProgressTable
from millrace_processors.refresh import Mode, Refreshed
from millrace_processors.report_diff import EXAMPLES
from millrace_processors.scope import Scope
from millrace_processors.settings import Config
from millrace_runtime.stopping import StopSignal


@dataclass(frozen=True)
class Reprocessed:
    """What was computed, and from how many change events or documents (0 from the lake).

    ``corrected``: facts that the lake had otherwise or not at all, ``retracted``: facts that it had and MongoDB has not.
    ``finished`` is false after a stop.
    """

    refreshed: Refreshed
    events: int = 0
    dead_letters: int = 0
    corrected: int = 0
    retracted: int = 0
    finished: bool = True


class Stopped(Exception):
    """Raised instead of beginning a batch once a stop was asked for."""


def through_of(config: Config) -> int | None:
    """Up to when every change is in the reports. Asked for before the lake is: every change up to then is in its newest snapshot."""
    return tables.asked(config, lambda store: ProgressTable(store, config.names.keyspace).through(PROGRESS_PAYMENTS))


def from_lake(config: Config, lake: Lake, scope: Scope, mode: Mode) -> Reprocessed:
    """Compute the reports of a scope from the lake's newest facts."""
    through = through_of(config)
    done = Reprocessed(refresh.whole(config, lake, scope.condition(), through, mode))
    if mode is not Mode.COMPARE:
        packing.again(config, lake, scope.condition(), through)
    return done


def from_mongo(config: Config, lake: Lake, scope: Scope, mode: Mode) -> Reprocessed:
    """Bring the lake's facts of a scope to what MongoDB says now, and compute the scope's reports.

    Raises:
        CommandError: MongoDB's user is not named or refused.
        UnavailableError: MongoDB does not answer.
    """
    through = through_of(config)
    found = mongo_facts.lacking(config, lake, scope)
    try:
        if mode is Mode.COMPARE:
            compared = _with(config, lake, found.changes, scope.condition(), through)
        else:
            found.append(config, lake)
            compared = refresh.whole(config, lake, scope.condition(), through, mode)
            packing.again(config, lake, scope.condition(), through)
        return Reprocessed(compared, found.documents, found.undecodable, found.corrected, found.retracted)
    finally:
        found.close()


def _with(config: Config, lake: Lake, more: DataFrame, condition: Column, through_ms: int | None) -> Refreshed:
    """What the reports of a range would be with more facts in the lake, beside the store's; nothing is written."""
    newest = lake.current()
    held = more if newest is None else lake.read(newest).where(condition).select(*COLUMNS).unionByName(more)
    snapshot = newest or Snapshot(0, None, lake.epoch(), None)
    return refresh.write(config, held, snapshot, through_ms, Mode.COMPARE)


def from_kafka(config: Config, lake: Lake, part: Part, mode: Mode, stop: StopSignal, tell: Callable[[Reprocessed], None]) -> Reprocessed:
    """Take the events of a part of the payments topic, up to its present end, through the lake once more.

    In batches, with a checkpoint of its own that is named by the part and removed at the end: after a kill the same call goes on.

    Raises:
        CommandError: there is no such topic, offset or instant.
        ProcessorsError: a batch failed.
    """
    topic = change_topic(config.names, PAYMENTS)
    partitions = sources.partitions(config.kafka, topic, config.runtime.away_seconds)
    low_water = tables.asked(config, lambda store: ProgressTable(store, config.names.keyspace).load(PROGRESS_PAYMENTS, partitions))
    batch = PaymentsBatch(config, lake, None, low_water, mode)
    total = Reprocessed(Refreshed())
    checkpoint = f"{config.processors.checkpoints}/{config.names.lake_namespace}/reprocess-{part.name}"

    def run(records: DataFrame, batch_id: int) -> None:
        nonlocal total
        if stop.is_set:
            raise Stopped
        query = records.sparkSession.sparkContext.getLocalProperty("sql.streaming.queryId") or checkpoint
        # Markers are the stream's business: without them what is complete stays as it was when this began.
        total = added(total, batch.run(records.where(part.condition()), query, batch_id))
        tell(total)

    records = sources.stream(lake.session, config.kafka, topic, config.processors.max_events_per_batch, part.options)
    writer = records.writeStream.option("checkpointLocation", checkpoint).trigger(availableNow=True).foreachBatch(run)
    query = writer.start()
    try:
        query.awaitTermination()
    except PySparkException as error:
        if stop.is_set:
            return replace(total, finished=False)
        raise ProcessorsError(f"reading {topic} failed; the same command goes on from there: {_line(error)}") from error
    _remove(lake.session, checkpoint)
    return total


def preview_kafka(config: Config, lake: Lake, part: Part) -> Reprocessed:
    """What ``from_kafka`` would make of the stored reports; nothing is written."""
    through, topic = through_of(config), change_topic(config.names, PAYMENTS)
    sources.partitions(config.kafka, topic)
    seen = Observation()
    counts = F.count("*").alias("events"), F.count("reason").alias("dead"), F.count_if(lookups.needed()).alias("lookups")
    events = decoding.decode(sources.read(lake.session, config.kafka, topic, part.options).where(part.condition()))
    made = facts.derive(events.observe(seen, *counts)).persist()
    try:
        made.count()
        more = made
        if seen.get["lookups"]:
            newest = lake.current()
            known = made if newest is None else lake.read(newest).select(*COLUMNS).unionByName(made)
            more = made.unionByName(lookups.retractions(events.where(lookups.needed()), known))
        refreshed = _touched_by(config, lake, more, through)
        return Reprocessed(refreshed, seen.get["events"], seen.get["dead"])
    finally:
        made.unpersist()


def _touched_by(config: Config, lake: Lake, more: DataFrame, through_ms: int | None) -> Refreshed:
    keys = more.select(*KEY).distinct().persist()
    try:
        extent = pruning.extent(keys)
        newest = lake.current()
        snapshot = newest or Snapshot(0, None, lake.epoch(), None)
        if newest is not None:
            held = lake.read(newest).where(pruning.condition(extent)).select(*COLUMNS)
            more = refresh.of_keys(held, keys, extent.keys).unionByName(more)
        return refresh.write(config, more, snapshot, through_ms, Mode.COMPARE)
    finally:
        keys.unpersist()


def added(total: Reprocessed, outcome: Outcome) -> Reprocessed:
    """The sum of what batches did; a report that two of them computed counts twice."""
    sums: dict[str, Any] = {
        each.name: getattr(total.refreshed, each.name) + getattr(outcome.refreshed, each.name) for each in fields(Refreshed)
    }
    sums["examples"] = sums["examples"][:EXAMPLES]
    return replace(
        total,
        refreshed=Refreshed(**sums),
        events=total.events + outcome.events,
        dead_letters=total.dead_letters + outcome.dead_letters,
    )


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
