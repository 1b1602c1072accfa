"""The customers' job: new and returning customers of each closed day of a merchant's calendar, exact, by the day that first saw them.

The lake's table ``first_seen`` holds the first day of each (merchant, customer). What the days that were touched since the last run say
moves it: to an earlier day where a late payment came, and to the next later one, of all facts, where the first payment is gone (I8).
The counts are written before the table: a run that dies between the two finds the same to do again, and one that dies later nothing (I5).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
from cassandra.cluster import Session
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from millrace_contracts.facts import PAYMENT
from millrace_contracts.reports import CUSTOMERS_TABLE, PROGRESS_CUSTOMERS
from millrace_contracts.settings import CassandraSettings
from millrace_contracts.windows import Grain, from_ms
from millrace_processors import first_seen, pruning, report_store, rollup_run
from millrace_processors.first_seen import CUSTOMER
from millrace_processors.lake import Lake
from millrace_processors.reconciling import newest
from millrace_processors.rollup_run import WINDOW, Run
from millrace_processors.rollup_state import RollupProgress
from millrace_processors.settings import Config

DAY = ("merchant_id", WINDOW)


@dataclass(frozen=True)
class Counted:
    """What a run has done: days that were counted, customers whose first day is another one or none. None: nothing is complete yet."""

    through_ms: int | None = None
    everything: bool = False
    days: int = 0
    moved: int = 0


def run(config: Config, lake: Lake, session: Session, *, everything: bool = False) -> Counted:
    """Bring the counts up to the reports' completeThrough; a lake that was rebuilt is counted whole."""
    table = first_seen.declare(lake)
    progress = RollupProgress(session, config.names.keyspace, PROGRESS_CUSTOMERS)
    with rollup_run.prepared(config, lake, session, progress, everything) as todo:
        if todo is None:
            return Counted()
        known = lake.session.table(table)
        known = known.where("false") if todo.since is None else known
        touched = None if todo.since is None else rollup_run.keys(todo, todo.since, Grain.DAY).select(*DAY).persist()
        moved = _moved(todo, known, touched).persist()
        try:
            _forget(todo)
            days = _count(todo, known, touched, moved)
            count = moved.count()
            if todo.since is None:
                first_seen.replace(lake, moved)
            elif count:
                first_seen.merge(lake, moved)
        finally:
            moved.unpersist()
            if touched is not None:
                touched.unpersist()
    progress.save(todo.state, todo.newest.version)
    return Counted(todo.through_ms, todo.since is None, days, count)


def _facts(todo: Run, days: DataFrame | None) -> DataFrame:
    """The facts of these days (None: of any), and of some others."""
    facts = todo.lake.read(todo.newest)
    if days is None:
        return facts
    hours = days.select(F.unix_millis(F.date_trunc("hour", WINDOW))).distinct().collect()
    ranges = rollup_run.extent([from_ms(row[0]) for row in hours], Grain.DAY)
    return facts.where(pruning.condition(pruning.Extent(len(hours), ranges)))


def _revisions(todo: Run, days: DataFrame | None) -> DataFrame:
    """merchant_id, day, revision: how many versions of facts these days hold (None: any closed day), as the reports count them."""
    counted = ("window_start", "currency", "fact_id", "version")
    placed = rollup_run.placed(todo, _facts(todo, days).select("merchant_id", "occurred_at", *counted), Grain.DAY)
    found = placed if days is None else placed.join(days, list(DAY), "left_semi")
    return found.groupBy(*DAY).agg(F.count_distinct(*counted).alias("revision"))


def _present(todo: Run, days: DataFrame | None, merchants: DataFrame | None = None) -> DataFrame:
    """merchant_id, day, customer_key of the customers who paid on these days (None: on any), once each."""
    facts = _facts(todo, days)
    if merchants is not None:
        facts = facts.join(merchants, "merchant_id", "left_semi")
    live = newest(facts).where((F.col("state.kind") == PAYMENT) & ~F.col("state.retracted") & F.col("state.customer_key").isNotNull())
    placed = rollup_run.placed(todo, live.select("merchant_id", "window_start", "state.occurred_at", "state.customer_key"), Grain.DAY)
    found = placed.select(*DAY, "customer_key")
    return (found if days is None else found.join(days, list(DAY), "left_semi")).distinct()


def _moved(todo: Run, known: DataFrame, touched: DataFrame | None) -> DataFrame:
    """merchant_id, customer_key, first_day of the customers whose first day is another one than is known; null where they have none now."""
    if touched is None:
        return _first(_present(todo, None))
    seen = _present(todo, touched).persist()
    on_touched = known.join(touched.withColumnRenamed(WINDOW, "first_day"), ["merchant_id", "first_day"], "left_semi")
    lost = on_touched.join(seen.withColumnRenamed(WINDOW, "first_day"), [*CUSTOMER, "first_day"], "left_anti")
    if todo.rezoned is not None:
        lost = lost.unionByName(known.join(todo.rezoned, "merchant_id", "left_semi"))
    lost = lost.select(*CUSTOMER).distinct().localCheckpoint()
    earlier = _first(seen).join(lost, list(CUSTOMER), "left_anti")
    if not lost.isEmpty():
        again = _first(_present(todo, None, lost.select("merchant_id").distinct()))
        earlier = earlier.unionByName(lost.join(again, list(CUSTOMER), "left"))
    were = known.withColumnRenamed("first_day", "was").join(lost.withColumn("lost", F.lit(True)), list(CUSTOMER), "left")
    both = earlier.join(were, list(CUSTOMER), "left")
    another = F.col("was").isNull() | F.col("lost") | (F.col("first_day") < F.col("was"))
    found = both.where(F.coalesce(another, F.lit(False)) & ~F.col("first_day").eqNullSafe(F.col("was")))
    made = found.select(*CUSTOMER, "first_day", "was").localCheckpoint()
    seen.unpersist()
    return made


def _first(present: DataFrame) -> DataFrame:
    return present.groupBy(*CUSTOMER).agg(F.min(WINDOW).alias("first_day"))


def _count(todo: Run, known: DataFrame, touched: DataFrame | None, moved: DataFrame) -> int:
    """Write the counts of the days that were touched, and of those on which somebody is new, or is new no more."""
    days = touched
    if touched is not None:
        firsts = [moved.select("merchant_id", F.col(name).alias(WINDOW)) for name in ("first_day", "was")]
        days = functools.reduce(DataFrame.unionByName, firsts, touched).where(F.col(WINDOW).isNotNull()).distinct().persist()
    present = _present(todo, days)
    after = known.join(moved, list(CUSTOMER), "left_anti").unionByName(moved.select(*CUSTOMER, "first_day"))
    new = after.select(*CUSTOMER, F.col("first_day").alias(WINDOW), F.lit(1).alias("new"))
    counts = (
        present.join(new, [*DAY, "customer_key"], "left").groupBy(*DAY).agg(F.count("*").alias("customers"), F.count("new").alias("new"))
    )
    rows = _revisions(todo, days).join(counts, list(DAY), "left").fillna(0)
    sink = functools.partial(_write, todo.config.cassandra, todo.config.names.keyspace, todo.newest.version, todo.through_ms)
    sums = rows.withColumn("day_ms", F.unix_millis(WINDOW)).drop(WINDOW).mapInArrow(sink, "days bigint").agg(F.sum("days")).first()
    if days is not None:
        days.unpersist()
    assert sums is not None
    return int(sums[0] or 0)


def _write(
    cassandra: CassandraSettings, keyspace: str, version: int, through_ms: int, batches: Iterator[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Upsert with the version as the write timestamp (I7)."""
    session = report_store.session(cassandra)
    columns = "merchant_id, window_start, customers, new_customers, returning_customers, revision, version, complete_through"
    insert = session.prepare(f"INSERT INTO {keyspace}.{CUSTOMERS_TABLE} ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?")  # noqa: S608
    through = from_ms(through_ms)
    for batch in batches:
        rows = batch.to_pylist()
        values = [
            (
                row["merchant_id"], from_ms(row["day_ms"]), row["customers"], row["new"], row["customers"] - row["new"],
                row["revision"], version, through, version,
            )
            for row in rows
        ]  # fmt: skip
        report_store.execute_all(session, [(insert, each) for each in values])
        yield pa.RecordBatch.from_pylist([{"days": len(rows)}])


def _forget(todo: Run) -> None:
    """Delete the days of merchants whose zone has changed, or of all: those that are made now outlive it by their version."""
    merchants = todo.rezoned if todo.since is not None else todo.lake.read(todo.newest).select("merchant_id").distinct()
    if merchants is not None:
        delete = functools.partial(_delete, todo.config.cassandra, todo.config.names.keyspace, todo.newest.version - 1)
        merchants.select("merchant_id").mapInArrow(delete, "merchants bigint").agg(F.sum("merchants")).collect()


def _delete(cassandra: CassandraSettings, keyspace: str, version: int, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    session = report_store.session(cassandra)
    delete = session.prepare(f"DELETE FROM {keyspace}.{CUSTOMERS_TABLE} USING TIMESTAMP ? WHERE merchant_id = ?")  # noqa: S608 - names of our own
    for batch in batches:
        merchants = batch.column("merchant_id").to_pylist()
        report_store.execute_all(session, [(delete, (version, merchant)) for merchant in merchants])
        yield pa.RecordBatch.from_pylist([{"merchants": len(merchants)}])
