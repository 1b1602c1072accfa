"""Packing: the 10-minute reports of closed UTC days once more, as one row a merchant and day (contracts/reports.py, PACKED_TABLE).

A part of the rollup: days are packed as they close, and again as late facts touch them, from the lake's facts by the function that makes
the reports (I6). ``again`` is for those who write reports without adding facts, and have thereby shadowed days that no rollup would touch.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import timedelta

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from millrace_contracts.packed import DAY_MS
from millrace_contracts.windows import from_ms
from millrace_processors import packed_store, pruning, traits
from millrace_processors.arranging import NEEDED
from millrace_processors.arrow_batches import whole_reports
from millrace_processors.lake import Lake, Snapshot
from millrace_processors.refresh import BROADCAST_KEYS, sink_of
from millrace_processors.report_store import Target
from millrace_processors.rollup_run import Run
from millrace_processors.settings import Config

DAY = "utc_day"
"""The column that holds the first instant of a fact's UTC day."""


def run(todo: Run) -> int:
    """Pack what has closed or was touched since the last rollup; how many days."""
    facts = todo.lake.read(todo.newest)
    if todo.since is None:
        return _write(todo.config, todo.newest, todo.through_ms, _closed(facts, todo.through_ms))
    appended = todo.lake.between(todo.since.facts, todo.newest)
    assert appended is not None, "looked at before"
    horizon = from_ms(todo.since.through_ms - DAY_MS)
    closing = _closed(facts.where(F.col("window_start") >= F.lit(horizon)), todo.through_ms, todo.since.through_ms)
    keys = _keys(_closed(appended, todo.through_ms)).union(_keys(closing)).distinct()
    return _of(todo.config, todo.newest, todo.through_ms, facts, keys)


def again(config: Config, lake: Lake, condition: Column, through_ms: int | None) -> int:
    """Pack the closed days that a range touches; how many. The condition may speak of the key's columns only."""
    newest = lake.current()
    if newest is None or through_ms is None:
        return 0
    facts = lake.read(newest)
    return _of(config, newest, through_ms, facts, _keys(_closed(facts.where(condition), through_ms)).distinct())


def _closed(facts: DataFrame, through_ms: int, after_ms: int = 0) -> DataFrame:
    """Facts with their UTC day, those only whose day has closed, and not before ``after_ms``."""
    start = F.date_trunc("day", "window_start")
    end_ms = F.unix_millis(start) + DAY_MS
    return facts.withColumn(DAY, start).where((end_ms <= through_ms) & (end_ms > after_ms))


def _keys(facts: DataFrame) -> DataFrame:
    return facts.select("merchant_id", DAY)


def _of(config: Config, newest: Snapshot, through_ms: int, facts: DataFrame, keys: DataFrame) -> int:
    """Pack these (merchant, day) of facts."""
    keys = keys.persist()
    try:
        days = [from_ms(row[0]) for row in keys.select(F.unix_millis(DAY)).distinct().collect()]
        if not days:
            return 0
        extent = pruning.Extent(len(days), pruning.ranges(sorted(days), unit=timedelta(days=1)))
        facts = _closed(facts.where(pruning.condition(extent)), through_ms)
        wanted = F.broadcast(keys) if keys.count() <= BROADCAST_KEYS else keys
        return _write(config, newest, through_ms, facts.join(wanted, ["merchant_id", DAY], "left_semi"))
    finally:
        keys.unpersist()


def _write(config: Config, newest: Snapshot, through_ms: int, facts: DataFrame) -> int:
    target = sink_of(config, newest, through_ms).target
    order = ("merchant_id", "window_start", "currency", "fact_id", F.col("version").desc(), F.col("version_order").desc())
    arranged = facts.select(*NEEDED, traits.column(), DAY).repartition("merchant_id", DAY).sortWithinPartitions(*order)
    sums = arranged.mapInArrow(functools.partial(_task, target), "days bigint").agg(F.sum("days")).first()
    assert sums is not None
    return int(sums[0] or 0)


def _task(target: Target, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What a worker does with its share."""
    for days in packed_store.whole_days(found for found, _ in whole_reports(batches)):
        yield pa.RecordBatch.from_pylist([{"days": packed_store.write(target, days)}])
