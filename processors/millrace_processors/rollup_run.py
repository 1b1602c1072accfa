"""What a job over closed hours and days begins with: what has closed or was touched since the last time, and in which days facts lie.

Shared by the rollup and the customers' job. A day is one of the merchant's calendar; where the zone or
its rules have changed, all its days are meant.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc
from cassandra.cluster import Session
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.pandas.functions import arrow_udf

from millrace_contracts.reports import PROGRESS_PAYMENTS
from millrace_contracts.values.zones import digest
from millrace_contracts.windows import WINDOW_MS, Grain, from_ms
from millrace_processors import dimensions, pruning, rollup_calendar
from millrace_processors.lake import Lake, Snapshot
from millrace_processors.parts import whose
from millrace_processors.progress import ProgressTable
from millrace_processors.rollup_state import RollupProgress, RollupState
from millrace_processors.settings import Config

WINDOW = "long_window"
"""The column that holds the start of the hour or day of a fact."""
ZONES_CHANGED = "rollup/zones"
"""Names the empty commit that gives days of a changed zone a newer version than their deletion."""
HOUR = timedelta(hours=1)
LONGEST = {Grain.HOUR: HOUR, Grain.DAY: timedelta(hours=50)}
"""A window that closes now began no longer ago than this; a day that clocks go back by a whole date has two."""


@dataclass(frozen=True)
class Run:
    """One run: windows that closed by ``through_ms``. ``since``: what the last one was made of, None to do everything."""

    config: Config
    lake: Lake
    newest: Snapshot
    through_ms: int
    since: RollupState | None
    zones: DataFrame
    rezoned: DataFrame | None
    state: RollupState
    """What to remember once it is done."""
    parted: frozenset[str] = frozenset()
    """The merchants whose reports have parts, and whose days hold what occurred in them."""
    unparted: frozenset[str] = frozenset()
    """Those of them whose reports may have none yet."""


@contextmanager
def prepared(config: Config, lake: Lake, session: Session, progress: RollupProgress, everything: bool) -> Iterator[Run | None]:
    """What is to be done; None while nothing is complete. A lake that was rebuilt is done whole."""
    # In this order: every change up to the instant is in the snapshot, and no merchant's zone is older than it.
    through, newest = ProgressTable(session, config.names.keyspace).through(PROGRESS_PAYMENTS), lake.current()
    if through is None or newest is None:
        yield None
        return
    since = progress.load()
    if everything or (since is not None and not _kept(lake, since, newest)):
        since = None
    merchants = lake.newest_of(lake.merchants)
    rezoned = _rezoned(lake, since, merchants)
    if since is None or rezoned is not None:
        newest, merchants = bumped(lake, ZONES_CHANGED), lake.newest_of(lake.merchants)
        rezoned = _rezoned(lake, since, merchants)
    zones, (parted, unparted) = zones_of(lake, merchants).persist(), _parted(lake, since, merchants)
    try:
        state = RollupState(through, lake.epoch(), newest.id, merchants, _rules(zones))
        yield Run(config, lake, newest, through, since, zones, rezoned, state, parted, unparted)
    finally:
        zones.unpersist()


def zones_of(lake: Lake, snapshot: int | None) -> DataFrame:
    """merchant_id, zone of every merchant as of a snapshot of the dimension; zone is null where none is known."""
    reader = lake.session.read if snapshot is None else lake.session.read.option("versionAsOf", str(snapshot))
    zone = F.when(~F.col("deleted"), F.get_json_object("document", "$.timeZone"))
    return dimensions.newest(reader.table(lake.merchants), "merchant_id").select("merchant_id", zone.alias("zone"))


def _rules(zones: DataFrame) -> dict[str, str]:
    """Zone -> digest of its rules, of all merchants' zones."""
    names = [row.zone for row in zones.where("zone IS NOT NULL").select("zone").distinct().collect()]
    return {name: digest(name) for name in sorted(names)}


def _kept(lake: Lake, since: RollupState, newest: Snapshot) -> bool:
    """Whether the lake still knows what has been added to it since."""
    dimension = since.merchants is None or lake.holds(lake.merchants, since.merchants)
    return since.lake == lake.epoch() and dimension and lake.between(since.facts, newest) is not None


def _parted(lake: Lake, since: RollupState | None, merchants: int | None) -> tuple[frozenset[str], frozenset[str]]:
    """The merchants with parts, and those among them that may have none yet: since the last run, or one of a version without parts."""
    found = whose.merchants(lake, merchants) if merchants is not None else frozenset()
    if not found or since is None or not since.parts or since.merchants is None:
        return found, found
    return found, found - whose.merchants(lake, since.merchants)


def _rezoned(lake: Lake, since: RollupState | None, merchants: int | None) -> DataFrame | None:
    """The merchants whose zone has changed since, or its rules, and those whose days an older version made; None where there is none."""
    if since is None or merchants is None:
        return None
    if not since.parts and (found := whose.merchants(lake, merchants)):
        made = lake.session.createDataFrame([(name,) for name in sorted(found)], "merchant_id string")
        moved = _moved(lake, since, merchants)
        return made if moved is None else made.union(moved).distinct()
    return _moved(lake, since, merchants)


def _moved(lake: Lake, since: RollupState, merchants: int) -> DataFrame | None:
    """The merchants whose zone has changed since, or whose zone's rules have; None where there is none."""
    moved = since.moved()
    if since.merchants == merchants and moved == []:
        return None
    zones = zones_of(lake, merchants)
    ruled = F.col("zone").isNotNull() if moved is None else F.col("zone").isin(moved)
    if since.merchants is None:
        changed = zones.where("zone IS NOT NULL")
    else:
        before = zones_of(lake, since.merchants).withColumnRenamed("zone", "old")
        changed = zones.join(before, "merchant_id", "left").where(~F.col("zone").eqNullSafe(F.col("old")) | ruled)
    return None if changed.isEmpty() else changed.select("merchant_id")


def bumped(lake: Lake, name: str) -> Snapshot:
    """An empty commit, for its version: rows that are written with it outlive a deletion at the version before, and equal versions."""
    newest = lake.current()
    assert newest is not None
    lake.append(lake.read(newest).where("false"), name, 0)
    made = lake.current()
    assert made is not None
    return made


def keys(todo: Run, since: RollupState, grain: Grain) -> DataFrame:
    """(merchant, window) of what has closed and was touched since, of what has closed since, and of what stands in another zone since."""
    facts = todo.lake.read(todo.newest)
    appended = todo.lake.between(since.facts, todo.newest)
    assert appended is not None, "looked at before"
    horizon = from_ms(since.through_ms) - LONGEST[grain] - HOUR
    wanted = [(appended, 0), (facts.where(F.col("window_start") >= F.lit(horizon)), since.through_ms)]
    if grain is Grain.DAY and todo.rezoned is not None:
        wanted.append((facts.join(todo.rezoned, "merchant_id", "left_semi"), 0))
    found = [
        placed(todo, some, grain, after_ms, at).select("merchant_id", WINDOW) for some, after_ms in wanted for at in _ends(todo, grain)
    ]
    return functools.reduce(DataFrame.union, found).distinct()


def _ends(todo: Run, grain: Grain) -> tuple[Column, ...]:
    """Instants of a fact's window in all days that it may touch: a change may have moved the fact from one to the other."""
    first = F.unix_millis("window_start")
    return (first, first + WINDOW_MS - 1) if todo.parted and grain is Grain.DAY else (first,)


def placed(todo: Run, facts: DataFrame, grain: Grain, after_ms: int = 0, at_ms: Column | None = None) -> DataFrame:
    """Facts with their hour or day, those only whose hour or day has closed, and not before ``after_ms``.

    A day holds the reports that start in it and, in a zone whose days begin inside a report, what occurred in it. ``at_ms``: the instant
    by which a day is found, if not that one.
    """
    if grain is Grain.HOUR:
        start = F.date_trunc("hour", "window_start")
        end_ms = F.unix_millis(start) + int(HOUR.total_seconds() * 1000)
        return facts.withColumn(WINDOW, start).where((end_ms <= todo.through_ms) & (end_ms > after_ms))
    zoned = facts.join(todo.zones, "merchant_id", "left")
    if at_ms is None:
        at_ms = F.unix_millis("window_start")
        if todo.parted:
            at_ms = F.when(whose.zone_has_parts(F.col("zone")), F.unix_millis("occurred_at")).otherwise(at_ms)
    start_ms = _day_column(at_ms, after_ms, todo.through_ms)
    return zoned.withColumn(WINDOW, F.timestamp_millis(start_ms)).where(F.col(WINDOW).isNotNull()).drop("zone")


def _day_column(at_ms: Column, after_ms: int, through_ms: int) -> Column:
    """The start of the day that holds each instant, in ms; null where it has not closed by then."""

    def starts(zone: pa.Array, instants: pa.Array) -> pa.Array:
        found = rollup_calendar.closed_days(zone.to_pylist(), instants.to_numpy(zero_copy_only=False), after_ms, through_ms)
        values = pa.array(found)
        return pc.if_else(pc.equal(values, rollup_calendar.NONE), None, values)

    udf = arrow_udf(starts, "bigint")  # type: ignore[call-overload]
    column: Column = udf(F.col("zone"), at_ms)
    return column


def extent(starts: list[datetime], grain: Grain) -> tuple[tuple[datetime, datetime], ...]:
    """The hours of windows that begin in these hours, as few ranges."""
    length = int(LONGEST[grain] / HOUR) if grain is Grain.DAY else 1
    hours = {start.astimezone(UTC) + HOUR * number for start in starts for number in range(length)}
    return pruning.ranges(sorted(hours))
