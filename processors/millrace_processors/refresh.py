"""Steps 4 to 7: from touched keys, or a whole range, to reports in the store. Streaming and reprocessing share this path (I6)."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from millrace_contracts.facts import DIMENSIONS
from millrace_contracts.settings import RedisSettings
from millrace_contracts.windows import WINDOW_MS, Grain
from millrace_processors import notices, pruning, report_diff, report_store, reports
from millrace_processors.arrow_batches import whole_keys
from millrace_processors.facts import KEY
from millrace_processors.lake import Lake, Snapshot
from millrace_processors.settings import Config
from millrace_processors.steps import Steps

NEEDED = (
    *KEY, "fact_id", "kind", "amount", "points_used", "points_earned", "customer_key", *DIMENSIONS, "version", "version_order", "retracted",
)  # fmt: skip
_COUNTS = ("reports", "facts", "payments", "gross", "refunds", "refunded_amount", "unnoticed", "equal", "changed", "added", "newer")
_AUDIT = ", ".join(f"{name} bigint" for name in _COUNTS) + ", examples array<string>"
_ROW = pa.schema([*((name, pa.int64()) for name in _COUNTS), ("examples", pa.list_(pa.string()))])
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
    parts = [lake.appended(each).select(*KEY) for each in appended]
    keys = functools.reduce(DataFrame.unionByName, parts).distinct().persist()
    try:
        with steps("extent"):
            extent = pruning.extent(keys)
        with steps("reports"):
            facts = lake.read(newest).where(pruning.condition(extent))
            small = F.broadcast(keys) if extent.keys <= BROADCAST_KEYS else keys
            return write(config, facts.join(small, list(KEY), "left_semi"), newest, complete_through_ms, mode)
    finally:
        keys.unpersist()


def whole(config: Config, lake: Lake, condition: Column, complete_through_ms: int | None, mode: Mode = Mode.WRITE) -> Refreshed:
    """Refresh every key of a range; the condition may speak of the key's columns only.

    An empty lake has nothing to refresh.
    """
    newest = lake.current()
    if newest is None:
        return Refreshed()
    return write(config, lake.read(newest).where(condition), newest, complete_through_ms, mode)


def write(config: Config, facts: DataFrame, snapshot: Snapshot, complete_through_ms: int | None, mode: Mode = Mode.WRITE) -> Refreshed:
    """Compute the reports of whole keys and write them, or compare them with the store, or both."""
    sink = sink_of(config, snapshot, complete_through_ms, mode)
    written = arranged(facts).mapInArrow(functools.partial(_task, sink), _AUDIT)
    examples = F.slice(F.flatten(F.collect_list("examples")), 1, report_diff.EXAMPLES).alias("examples")
    sums = written.agg(*(F.coalesce(F.sum(name), F.lit(0)).alias(name) for name in _COUNTS), examples).first()
    assert sums is not None
    return Refreshed(**sums.asDict())


def sink_of(
    config: Config, snapshot: Snapshot, complete_through_ms: int | None, mode: Mode = Mode.WRITE, grain: Grain = Grain.TEN_MINUTES
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


def arranged(facts: DataFrame) -> DataFrame:
    """Facts as ``reports.compute`` wants them: the keys of one merchant and day in one task, sorted."""
    window = (F.unix_millis("window_start") / WINDOW_MS).cast("bigint")
    # One number that sorts by merchant, then by time: most comparisons of the sort end there. 2^21 windows are 39 years.
    order = F.shiftleft(F.xxhash64("merchant_id"), 21).bitwiseOR(F.pmod(window, F.lit(1 << 21)))
    spread = facts.select(*NEEDED).repartition("merchant_id", F.to_date("window_start"))
    by = (order, *KEY, "fact_id", F.col("version").desc(), F.col("version_order").desc())
    return spread.sortWithinPartitions(*by)


def _task(sink: Sink, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What a worker does with its share; runs in Spark's Python worker."""
    for batch in whole_keys(batches):
        found = reports.compute(batch)
        before = report_diff.Differences() if sink.mode is Mode.WRITE else report_diff.compare(sink.target, found)
        unnoticed = 0 if sink.mode is Mode.COMPARE else put(sink, found)
        sums = {name: int(found.counters[name].sum()) for name in ("payments", "gross", "refunds", "refunded_amount")}
        row = {"reports": len(found), "facts": batch.num_rows, **sums, "unnoticed": unnoticed, **asdict(before)}
        yield pa.RecordBatch.from_pylist([row], _ROW)


def put(sink: Sink, found: reports.Reports) -> int:
    """Write reports and tell of them; how many notices Redis did not take."""
    target = sink.target
    report_store.write(target, found)
    told = list(notices.of_reports(found, target.grain, target.version, target.complete_through_ms))
    return 0 if notices.publish(sink.redis, sink.redis_prefix, told) else len(told)
