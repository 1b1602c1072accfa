"""The rollup job: hours, days and packed days as they close, and again as late facts touch them (I8); see contracts/reports.py.

They are computed from the lake's facts by the function that makes the reports (I6), so that their version is the one of the snapshot
that they come from (I7). A rollup that died half-way is done again by the next one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from cassandra.cluster import Session
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from millrace_contracts.reports import REPORTS_TABLE
from millrace_contracts.settings import CassandraSettings
from millrace_contracts.windows import Grain, bucket, from_ms
from millrace_processors import packed_store, packing, pruning, refresh, report_store, rollup_run
from millrace_processors.arranging import in_windows
from millrace_processors.arrow_batches import whole_reports
from millrace_processors.lake import Lake
from millrace_processors.parts import placing, whose
from millrace_processors.refresh import BROADCAST_KEYS, Sink, put, sink_of
from millrace_processors.rollup_run import WINDOW, Run, extent, placed
from millrace_processors.rollup_state import RollupProgress
from millrace_processors.settings import Config

_WRITTEN = "reports bigint, unnoticed bigint"


@dataclass(frozen=True)
class Rolled:
    """What a rollup has done. ``through_ms`` None: nothing is complete yet, so nothing has closed."""

    through_ms: int | None = None
    everything: bool = False
    hours: int = 0
    days: int = 0
    packed: int = 0
    rezoned: int = 0
    unnoticed: int = 0


def run(config: Config, lake: Lake, session: Session, *, everything: bool = False) -> Rolled:
    """Bring hours and days up to the reports' completeThrough; a lake that was rebuilt is rolled up whole."""
    progress = RollupProgress(session, config.names.keyspace)
    with rollup_run.prepared(config, lake, session, progress, everything) as todo:
        if todo is None:
            return Rolled()
        forgotten = _forget(todo)
        parts = _make_parts(todo)
        hours, unnoticed = _roll(todo, Grain.HOUR)
        days, also_unnoticed = _roll(todo, Grain.DAY)
        if todo.since is None:
            packed_store.forget(session, config.names.keyspace, todo.newest.version - 1)
        packed = packing.run(todo)
    progress.save(todo.state, todo.newest.version)
    rezoned = forgotten if todo.since else 0
    return Rolled(todo.through_ms, todo.since is None, hours, days, packed, rezoned, unnoticed + also_unnoticed + parts.unnoticed)


def _make_parts(todo: Run) -> refresh.Refreshed:
    """The parts of the reports of merchants that had none until now (contracts/reports.py); behind this the stream writes them."""
    if not todo.unparted:
        return refresh.Refreshed()
    facts = whose.only(todo.lake.read(todo.newest), todo.unparted)
    return refresh.write_parts(todo.config, facts, todo.unparted, todo.newest, todo.through_ms)


def _forget(todo: Run) -> int:
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


def _roll(todo: Run, grain: Grain) -> tuple[int, int]:
    """(reports, notices that were not taken) of one grain."""
    facts = todo.lake.read(todo.newest)
    if todo.since is None:
        return _write(todo, grain, placed(todo, _settled(todo, facts, grain), grain))
    keys = rollup_run.keys(todo, todo.since, grain).persist()
    try:
        days = [from_ms(row[0]) for row in keys.select(F.unix_millis(F.date_trunc("hour", WINDOW))).distinct().collect()]
        if not days:
            return 0, 0
        facts = facts.where(pruning.condition(pruning.Extent(len(days), extent(days, grain))))
        few = keys.count() <= BROADCAST_KEYS
        wanted = F.broadcast(keys) if few else keys
        return _write(todo, grain, placed(todo, _settled(todo, facts, grain), grain).join(wanted, ["merchant_id", WINDOW], "left_semi"))
    finally:
        keys.unpersist()


def _settled(todo: Run, facts: DataFrame, grain: Grain) -> DataFrame:
    return placing.for_days(facts, todo.parted) if grain is Grain.DAY else facts


def _write(todo: Run, grain: Grain, facts: DataFrame) -> tuple[int, int]:
    sink = sink_of(todo.config, todo.newest, todo.through_ms, grain=grain)
    arranged = in_windows(facts, WINDOW)
    sums = arranged.mapInArrow(functools.partial(_task, sink), _WRITTEN).agg(F.sum("reports"), F.sum("unnoticed")).first()
    assert sums is not None
    return int(sums[0] or 0), int(sums[1] or 0)


def _task(sink: Sink, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What a worker does with its share."""
    for found, _ in whole_reports(batches, WINDOW):
        yield pa.RecordBatch.from_pylist([{"reports": len(found), "unnoticed": put(sink, found)}])
