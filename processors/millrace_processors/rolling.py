"""The rollup job: hours and days as they close, and again as late facts touch them (I8); see contracts/reports.py.

They are computed from the lake's facts by the function that makes the reports (I6), so that their version is the one of the snapshot
that they come from (I7). A rollup that died half-way is done again by the next one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from cassandra.cluster import Session
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from millrace_contracts.reports import PROGRESS_PAYMENTS, REPORTS_TABLE
from millrace_contracts.settings import CassandraSettings
from millrace_contracts.windows import Grain, bucket, from_ms
from millrace_processors import pruning, report_store, reports, rollup_calendar, rollups
from millrace_processors.arrow_batches import whole_keys
from millrace_processors.lake import Lake, Snapshot
from millrace_processors.progress import ProgressTable
from millrace_processors.refresh import BROADCAST_KEYS, NEEDED, Sink, put, sink_of
from millrace_processors.rollup_state import RollupProgress, RollupState
from millrace_processors.settings import Config

WINDOW = "long_window"
"""The column that holds the start of the hour or day of a fact."""
ZONES_CHANGED = "rollup/zones"
"""Names the empty commit that gives days of a changed zone a newer version than their deletion."""
HOUR = timedelta(hours=1)
LONGEST = {Grain.HOUR: HOUR, Grain.DAY: timedelta(hours=50)}
"""A window that closes now began no longer ago than this; a day that clocks go back by a whole date has two."""
_WRITTEN = "reports bigint, unnoticed bigint"


@dataclass(frozen=True)
class Rolled:
    """What a rollup has done. ``through_ms`` None: nothing is complete yet, so nothing has closed."""

    through_ms: int | None = None
    everything: bool = False
    hours: int = 0
    days: int = 0
    rezoned: int = 0
    unnoticed: int = 0


@dataclass(frozen=True)
class _Run:
    """One rollup: windows that closed by ``through_ms``. ``since``: what the last one was made of, None to do everything."""

    config: Config
    lake: Lake
    newest: Snapshot
    through_ms: int
    since: RollupState | None
    zones: DataFrame
    rezoned: DataFrame | None


def run(config: Config, lake: Lake, session: Session, *, everything: bool = False) -> Rolled:
    """Bring hours and days up to the reports' completeThrough; a lake that was rebuilt is rolled up whole."""
    # In this order: every change up to the instant is in the snapshot, and no merchant's zone is older than it.
    keyspace = config.names.keyspace
    through, newest = ProgressTable(session, keyspace).through(PROGRESS_PAYMENTS), lake.current()
    if through is None or newest is None:
        return Rolled()
    progress = RollupProgress(session, keyspace)
    since = progress.load()
    if everything or (since is not None and not _kept(lake, since, newest)):
        since = None
    merchants = lake.newest_of(lake.merchants)
    rezoned = _rezoned(lake, since, merchants)
    if since is None or rezoned is not None:
        newest, merchants = _bumped(lake), lake.newest_of(lake.merchants)
        rezoned = _rezoned(lake, since, merchants)
    zones = zones_of(lake, merchants).persist()
    try:
        todo = _Run(config, lake, newest, through, since, zones, rezoned)
        forgotten = _forget(todo)
        hours, unnoticed = _roll(todo, Grain.HOUR)
        days, also_unnoticed = _roll(todo, Grain.DAY)
    finally:
        zones.unpersist()
    progress.save(RollupState(through, lake.epoch(), newest.id, merchants), newest.version)
    return Rolled(through, since is None, hours, days, forgotten if since else 0, unnoticed + also_unnoticed)


def zones_of(lake: Lake, snapshot: int | None) -> DataFrame:
    """merchant_id, zone of every merchant as of a snapshot of the dimension; zone is null where none is known."""
    reader = lake.session.read if snapshot is None else lake.session.read.option("versionAsOf", str(snapshot))
    newest = reader.table(lake.merchants).groupBy("merchant_id").agg(F.max_by(F.struct("deleted", "document"), "version").alias("m"))
    zone = F.when(~F.col("m.deleted"), F.get_json_object("m.document", "$.timeZone"))
    return newest.select("merchant_id", zone.alias("zone"))


def _kept(lake: Lake, since: RollupState, newest: Snapshot) -> bool:
    """Whether the lake still knows what has been added to it since."""
    dimension = since.merchants is None or lake.holds(lake.merchants, since.merchants)
    return since.lake == lake.epoch() and dimension and lake.between(since.facts, newest) is not None


def _rezoned(lake: Lake, since: RollupState | None, merchants: int | None) -> DataFrame | None:
    """The merchants whose zone has changed since; None where there is none."""
    if since is None or merchants is None or since.merchants == merchants:
        return None
    zones = zones_of(lake, merchants)
    if since.merchants is None:
        changed = zones.where("zone IS NOT NULL")
    else:
        before = zones_of(lake, since.merchants).withColumnRenamed("zone", "old")
        changed = zones.join(before, "merchant_id", "left").where(~F.col("zone").eqNullSafe(F.col("old")))
    return None if changed.isEmpty() else changed.select("merchant_id")


def _bumped(lake: Lake) -> Snapshot:
    """An empty commit, for its version: rows that are written with it outlive a deletion at the version before."""
    newest = lake.current()
    assert newest is not None
    lake.append(lake.read(newest).where("false"), ZONES_CHANGED, 0)
    bumped = lake.current()
    assert bumped is not None
    return bumped


def _forget(todo: _Run) -> int:
    """Delete the days of merchants whose zone has changed; how many merchants these are."""
    merchants = todo.rezoned
    if todo.since is None:
        merchants = todo.lake.read(todo.newest).select("merchant_id").distinct()
    if merchants is None:
        return 0
    config = todo.config
    delete = functools.partial(_delete_days, config.cassandra, config.names.keyspace, todo.newest.version - 1)
    row = merchants.select("merchant_id").mapInArrow(delete, "merchants bigint").agg(F.coalesce(F.sum("merchants"), F.lit(0))).first()
    assert row is not None
    return int(row[0])


def _delete_days(cassandra: CassandraSettings, keyspace: str, version: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    session = report_store.session(cassandra)
    table = f"{keyspace}.{REPORTS_TABLE}"
    delete = session.prepare(f"DELETE FROM {table} USING TIMESTAMP ? WHERE merchant_id = ? AND grain = ? AND bucket = ?")  # noqa: S608 - names of our own
    place = bucket(Grain.DAY, from_ms(0))
    for batch in batches:
        merchants = batch.column("merchant_id").to_pylist()
        report_store.execute_all(session, [(delete, (version, merchant, Grain.DAY.value, place)) for merchant in merchants])
        yield pa.RecordBatch.from_pylist([{"merchants": len(merchants)}])


def _roll(todo: _Run, grain: Grain) -> tuple[int, int]:
    """(reports, notices that were not taken) of one grain."""
    facts = todo.lake.read(todo.newest)
    if todo.since is None:
        return _write(todo, grain, _placed(todo, facts, grain))
    keys = _keys(todo, todo.since, grain).persist()
    try:
        days = [from_ms(row[0]) for row in keys.select(F.unix_millis(F.date_trunc("hour", WINDOW))).distinct().collect()]
        if not days:
            return 0, 0
        facts = facts.where(pruning.condition(pruning.Extent(len(days), _extent(days, grain))))
        few = keys.count() <= BROADCAST_KEYS
        wanted = F.broadcast(keys) if few else keys
        return _write(todo, grain, _placed(todo, facts, grain).join(wanted, ["merchant_id", WINDOW], "left_semi"))
    finally:
        keys.unpersist()


def _keys(todo: _Run, since: RollupState, grain: Grain) -> DataFrame:
    """(merchant, window) of what has closed and was touched since, of what has closed since, and of what stands in another zone since."""
    facts = todo.lake.read(todo.newest)
    appended = todo.lake.between(since.facts, todo.newest)
    assert appended is not None, "looked at before"
    touched = _placed(todo, appended, grain)
    horizon = from_ms(since.through_ms) - LONGEST[grain] - HOUR
    closing = _placed(todo, facts.where(F.col("window_start") >= F.lit(horizon)), grain, since.through_ms)
    found = touched.select("merchant_id", WINDOW).union(closing.select("merchant_id", WINDOW))
    if grain is Grain.DAY and todo.rezoned is not None:
        moved = _placed(todo, facts.join(todo.rezoned, "merchant_id", "left_semi"), grain)
        found = found.union(moved.select("merchant_id", WINDOW))
    return found.distinct()


def _placed(todo: _Run, facts: DataFrame, grain: Grain, after_ms: int = 0) -> DataFrame:
    """Facts with their hour or day, those only whose hour or day has closed, and not before ``after_ms``."""
    if grain is Grain.HOUR:
        start = F.date_trunc("hour", "window_start")
        end_ms = F.unix_millis(start) + int(HOUR.total_seconds() * 1000)
        return facts.withColumn(WINDOW, start).where((end_ms <= todo.through_ms) & (end_ms > after_ms))
    zoned = facts.join(todo.zones, "merchant_id", "left")
    start_ms = _day_column(after_ms, todo.through_ms)
    return zoned.withColumn(WINDOW, F.timestamp_millis(start_ms)).where(F.col(WINDOW).isNotNull()).drop("zone")


def _day_column(after_ms: int, through_ms: int) -> Column:
    """The start of each fact's day in ms; null where it has not closed by then."""

    def starts(zone: pa.Array, window_ms: pa.Array) -> pa.Array:
        found = rollup_calendar.closed_days(zone.to_pylist(), window_ms.to_numpy(zero_copy_only=False), after_ms, through_ms)
        values = pa.array(found)
        return pc.if_else(pc.equal(values, rollup_calendar.NONE), None, values)

    udf = arrow_udf(starts, "bigint")  # type: ignore[call-overload]
    column: Column = udf(F.col("zone"), F.unix_millis("window_start"))
    return column


def _extent(starts: list[datetime], grain: Grain) -> tuple[tuple[datetime, datetime], ...]:
    """The hours of windows that begin in these hours, as few ranges."""
    length = int(LONGEST[grain] / HOUR) if grain is Grain.DAY else 1
    hours = {start.astimezone(UTC) + HOUR * number for start in starts for number in range(length)}
    return pruning.ranges(sorted(hours))


def _write(todo: _Run, grain: Grain, facts: DataFrame) -> tuple[int, int]:
    sink = sink_of(todo.config, todo.newest, todo.through_ms, grain=grain)
    order = ("merchant_id", WINDOW, "currency", "window_start", "fact_id", F.col("version").desc(), F.col("version_order").desc())
    arranged = facts.select(*NEEDED, WINDOW).repartition("merchant_id", WINDOW).sortWithinPartitions(*order)
    sums = arranged.mapInArrow(functools.partial(_task, sink), _WRITTEN).agg(F.sum("reports"), F.sum("unnoticed")).first()
    assert sums is not None
    return int(sums[0] or 0), int(sums[1] or 0)


def _task(sink: Sink, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What a worker does with its share; a batch may cut an hour or day, never a 10-minute window."""
    for found in rollups.whole_windows(reports.compute(batch, WINDOW) for batch in whole_keys(batches)):
        yield pa.RecordBatch.from_pylist([{"reports": len(found), "unnoticed": put(sink, found)}])
