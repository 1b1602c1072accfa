"""Steps 4 to 7: from touched keys, or a whole range, to reports in the store. Streaming and reprocessing share this path (I6)."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame, Row
from pyspark.sql import functions as F

from millrace_contracts.settings import RedisSettings
from millrace_contracts.windows import Grain, Inner
from millrace_processors import notices, packed_store, pruning, report_diff, report_store, reports, skew
from millrace_processors.arranging import arranged, in_windows
from millrace_processors.arrow_batches import whole_reports
from millrace_processors.facts import KEY
from millrace_processors.lake import Lake, Snapshot
from millrace_processors.parts import placing, whose
from millrace_processors.settings import Config
from millrace_processors.steps import Steps

_COUNTS = ("reports", "facts", "payments", "gross", "refunds", "refunded_amount", "unnoticed", "equal", "changed", "added", "newer")
_AUDIT = ", ".join(f"{name} bigint" for name in _COUNTS) + ", examples array<string>"
_ROW = pa.schema([*((name, pa.int64()) for name in _COUNTS), ("examples", pa.list_(pa.string()))])
_OF_PARTS = ("unnoticed", "equal", "changed", "newer")
"""What parts add to the counts of the reports that they are parts of."""
_BOTH = pa.schema([*_ROW, *skew.SCHEMA])
FEW_FACTS, FEW_TASKS = 10_000, 2
"""A batch that has appended so few facts is a live one: its keys pass through the driver, and so many tasks compute its reports."""
BROADCAST_KEYS = 500_000
"""Up to so many touched keys are sent to every task instead of shuffling the facts to them."""


class Mode(Enum):
    """What becomes of computed reports."""

    WRITE = "write"
    COMPARE = "compare"
    COMPARE_AND_WRITE = "both"


@dataclass(frozen=True)
class Refreshed:
    """What one refresh has computed and, unless it only compared, written. ``unnoticed``: notices that Redis did not take.

    ``equal``, ``changed``, ``added``, ``newer``, ``examples``: beside what the store held before, where that was compared (report_diff).
    """

    reports: int = 0
    facts: int = 0
    payments: int = 0
    gross: int = 0
    refunds: int = 0
    refunded_amount: int = 0
    unnoticed: int = 0
    equal: int = 0
    changed: int = 0
    added: int = 0
    newer: int = 0
    examples: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Sink:
    """Where a task's reports go; travels to the workers."""

    target: report_store.Target
    redis: RedisSettings
    redis_prefix: str
    mode: Mode = Mode.WRITE


def touched(
    config: Config,
    lake: Lake,
    appended: Sequence[Snapshot],
    complete_through_ms: int | None,
    mode: Mode = Mode.WRITE,
    steps: Steps | None = None,
) -> Refreshed:
    """Refresh the keys that snapshots have touched, from the newest snapshot's facts (which include theirs)."""
    steps = steps or Steps()
    newest = lake.current()
    assert newest is not None, "a snapshot was appended"
    keys = functools.reduce(DataFrame.unionByName, [lake.appended(each).select(*KEY) for each in appended])
    if sum(each.added if each.added is not None else FEW_FACTS + 1 for each in appended) <= FEW_FACTS:
        with steps("extent"):
            few = keys.toArrow().group_by(list(KEY)).aggregate([])
            facts = lake.read(newest).where(pruning.condition(pruning.extent_of(few)))
            # After the append: a merchant whose zone is not known here yet finds these facts in the lake when it comes.
            parted = placing.touched(few, whose.merchants(lake)) if placing.has_cut(few) else frozenset()
        with steps("reports"):
            here = of_keys(facts, lake.session.createDataFrame(few), few.num_rows)
            return write(config, here, newest, complete_through_ms, mode, FEW_TASKS, parted=parted)
    keys = keys.groupBy(*KEY).agg(F.count("*").alias("facts")).persist()
    try:
        with steps("extent"):
            extent = pruning.extent(keys)
            hot = skew.hot_merchants(keys, config.spark.shuffle_partitions)
        with steps("reports"):
            facts = lake.read(newest).where(pruning.condition(extent))
            return write(config, of_keys(facts, keys, extent.keys), newest, complete_through_ms, mode, hot=hot)
    finally:
        keys.unpersist()


def of_keys(facts: DataFrame, keys: DataFrame, count: int) -> DataFrame:
    """The facts of so many keys, found by one number for each key.

    Another key with the same number (of 2^64) would be computed too, whole, and come to what it is already.
    """
    wanted = keys.select(F.xxhash64(*KEY).alias("wanted"))
    return facts.join(F.broadcast(wanted) if count <= BROADCAST_KEYS else wanted, F.xxhash64(*KEY) == F.col("wanted"), "left_semi")


def whole(config: Config, lake: Lake, condition: Column, complete_through_ms: int | None, mode: Mode = Mode.WRITE) -> Refreshed:
    """Refresh every key of a range; the condition may speak of the key's columns only. What Redis did not take makes a new epoch.

    An empty lake has nothing to refresh.
    """
    newest = lake.current()
    if newest is None:
        return Refreshed()
    facts = lake.read(newest).where(condition)
    hot: skew.Hot = {}
    if (tasks := config.spark.shuffle_partitions) >= skew.LEAST_TASKS:
        hot = skew.hot_merchants(facts.select("merchant_id", "window_start", F.lit(1).alias("facts")), tasks)
    done = write(config, facts, newest, complete_through_ms, mode, hot=hot)
    if done.unnoticed:
        notices.tell_of_loss(config.redis, config.names.redis_prefix, newest.version)
    return done


def write(
    config: Config,
    facts: DataFrame,
    snapshot: Snapshot,
    complete_through_ms: int | None,
    mode: Mode = Mode.WRITE,
    tasks: int | None = None,
    hot: skew.Hot | None = None,
    parted: frozenset[str] | None = None,
) -> Refreshed:
    """Compute the reports of whole keys and write them, or compare them with the store, or both; in so many ``tasks``.

    Those of ``hot`` merchants are computed in pieces, by many tasks, and merged in a second step. The merchants ``parted`` have parts
    (None: look who has), which are there before the reports that they belong to.
    """
    if parted is None:
        parted = whose.merchants(Lake(facts.sparkSession, config.lake, config.names.lake_namespace))
    parts = write_parts(config, facts, parted, snapshot, complete_through_ms, mode, tasks) if parted else Refreshed()
    sink = sink_of(config, snapshot, complete_through_ms, mode)
    # One row a task comes to the driver: an aggregation by the engine would cost a small batch more than its reports do.
    if hot:
        made = arranged(facts, tasks, hot).mapInArrow(functools.partial(_divided, sink, hot), f"{_AUDIT}, {skew.PIECES}")
        pieces = made.repartition(*skew.PIECE[:3]).sortWithinPartitions(*skew.PIECE[:3])
        rows = pieces.mapInArrow(functools.partial(_merged, sink), _AUDIT).collect()
    else:
        rows = arranged(facts, tasks).mapInArrow(functools.partial(_task, sink), _AUDIT).collect()
    done = _summed(rows)
    sums: dict[str, int] = {name: getattr(done, name) + getattr(parts, name) for name in _OF_PARTS}
    return replace(done, **sums, examples=[*done.examples, *parts.examples][: report_diff.EXAMPLES])


def write_parts(
    config: Config,
    facts: DataFrame,
    merchants: frozenset[str],
    snapshot: Snapshot,
    complete_through_ms: int | None,
    mode: Mode = Mode.WRITE,
    tasks: int | None = None,
) -> Refreshed:
    """The same for the parts of some merchants' windows. One that is not in the store yet is no difference: its report is read whole."""
    sink = sink_of(config, snapshot, complete_through_ms, mode, Inner.PART)
    placed = in_windows(placing.in_parts(facts, merchants), placing.PART, tasks)
    done = _summed(placed.mapInArrow(functools.partial(_task, sink, window=placing.PART), _AUDIT).collect())
    return replace(done, examples=[text for text in done.examples if report_diff.ABSENT not in text])


def _summed(rows: list[Row]) -> Refreshed:
    """The sums of what tasks did, a row each."""
    examples = [text for row in rows for text in row["examples"]][: report_diff.EXAMPLES]
    return Refreshed(**{name: sum(row[name] for row in rows) for name in _COUNTS}, examples=examples)


def sink_of(
    config: Config,
    snapshot: Snapshot,
    complete_through_ms: int | None,
    mode: Mode = Mode.WRITE,
    grain: Grain | Inner = Grain.TEN_MINUTES,
) -> Sink:
    """Where reports of a snapshot go."""
    processors = config.processors
    target = report_store.Target(
        cassandra=config.cassandra,
        keyspace=config.names.keyspace,
        inflight=processors.cassandra_inflight,
        patience_seconds=processors.cassandra_patience_seconds,
        version=snapshot.version,
        complete_through_ms=complete_through_ms,
        grain=grain,
    )
    return Sink(target, config.redis, config.names.redis_prefix, mode)


def _task(sink: Sink, batches: Iterator[pa.RecordBatch], window: str = "window_start") -> Iterator[pa.RecordBatch]:
    """What a worker does with its share; runs in Spark's Python worker. One row of sums comes back."""
    done = _Done(sink)
    for found, facts in whole_reports(batches, window):
        done.take(found, facts)
    yield from done.rows(_ROW)


def _divided(sink: Sink, hot: skew.Hot, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same where some merchants' facts are in many tasks: their pieces come back beside the sums of what is whole."""
    done = _Done(sink)
    for found, facts in whole_reports(batches):
        here, pieces = skew.divided(found, hot)
        done.take(here, facts)
        if pieces:
            yield pa.RecordBatch.from_pylist([dict(zip(skew.PIECE, row, strict=True)) for row in pieces], _BOTH)
    yield from done.rows(_BOTH)


def _merged(sink: Sink, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The second step: pieces into whole reports; rows of sums pass through."""
    done, sums = _Done(sink), list[pa.RecordBatch]()

    def pieces() -> Iterator[pa.RecordBatch]:
        for batch in batches:
            is_piece = batch.column("piece").is_valid()
            sums.append(batch.filter(pc.invert(is_piece)).select(_ROW.names))
            yield batch.filter(is_piece)

    for found in skew.merged(pieces()):
        done.take(found, 0)
    yield from sums
    yield from done.rows(_ROW)


class _Done:
    """What a task has written or compared."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self._total, self._examples = sink, Counter[str](), list[str]()

    def take(self, found: reports.Reports, facts: int) -> None:
        """Write reports, or compare them, and count them."""
        sink, total = self._sink, self._total
        before = report_diff.Differences() if sink.mode is Mode.WRITE or not len(found) else report_diff.compare(sink.target, found)
        unnoticed = 0 if sink.mode is Mode.COMPARE or not len(found) else put(sink, found)
        total.update({name: int(found.counters[name].sum()) for name in ("payments", "gross", "refunds", "refunded_amount")})
        total.update(reports=len(found), facts=facts, unnoticed=unnoticed)
        total.update({name: getattr(before, name) for name in ("equal", "changed", "added", "newer")})
        self._examples += before.examples

    def rows(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """One row of sums, if anything was done."""
        if self._total:
            counts = {name: self._total[name] for name in _COUNTS}
            yield pa.RecordBatch.from_pylist([{**counts, "examples": self._examples[: report_diff.EXAMPLES]}], schema)


def put(sink: Sink, found: reports.Reports) -> int:
    """Write reports and tell of them; how many notices Redis did not take."""
    target = sink.target
    if target.grain is Grain.TEN_MINUTES:
        packed_store.shadow(target, found)  # first: no reader may see an older copy beside these (I7)
    report_store.write(target, found)
    told = list(notices.of_reports(found, target.grain, target.version, target.complete_through_ms))
    return 0 if notices.publish(sink.redis, sink.redis_prefix, told) else len(told)
