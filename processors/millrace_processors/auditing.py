"""The audit job: MongoDB, Kafka, the lake and the reports beside one another, window by window, each with a certificate.

Kafka's events are decoded and derived again: each of their facts has to be in the lake, at its version and with its content. The lake's
facts are computed again: each of their reports has to be in the store, byte for byte (I6), and in its day's packed row where there is one.
The lake's newest facts have to be as many, and as much money, as MongoDB's payments had at that cluster time; and Kafka has to hold what
the relay counted as written. Only changes from before completeThrough count, and only differences that are still there when they are looked
at again: the stream may be at work meanwhile.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from datetime import datetime

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from millrace_contracts.changes import cluster_time
from millrace_contracts.documents import PAYMENTS
from millrace_contracts.reports import PROGRESS_PAYMENTS
from millrace_contracts.topics import change_topic
from millrace_contracts.windows import WINDOW, WINDOW_MS, Inner, from_ms
from millrace_processors import (
    arranging,
    audit_places,
    certificates,
    decoding,
    facts,
    mongo_facts,
    packed_diff,
    packing,
    refresh,
    report_diff,
    rollup_run,
    sources,
    tables,
)
from millrace_processors.arrow_batches import whole_reports
from millrace_processors.audit_places import Places
from millrace_processors.errors import CommandError
from millrace_processors.facts import COLUMNS, KEY
from millrace_processors.lake import Lake, Snapshot
from millrace_processors.parts import placing, whose
from millrace_processors.progress import ProgressTable
from millrace_processors.scope import Scope
from millrace_processors.settings import Config

SETTLE_SECONDS = 15.0
"""How long a difference has to last: longer than a batch's way from the lake to the reports."""
MOST_NAMED = 200
"""So many windows that differ are named, and mended in one go; the next audit goes on."""
MOST_UNSAID = 10_000
REPAIR = "audit/repair"
_IDENTITY = ("fact_id", *KEY, "version", "version_order")
"""What names one version of a fact."""
_VERDICTS = "window_ms bigint, reports bigint, differing bigint, example string"


@dataclass(frozen=True)
class Window:
    """A window that differs. ``kafka`` and ``lake``: facts and amounts that Kafka has, and how much of them the lake has.

    ``mongo`` and ``live``: the present facts by MongoDB and by the lake; ``relay`` and ``topic``: the events that the relay has counted,
    and those that the topic holds. None where that was not compared.
    """

    start: datetime
    kafka_facts: int
    lake_facts: int
    kafka_amount: int
    lake_amount: int
    reports: int
    differing_reports: int
    example: str | None
    mongo_facts: int | None = None
    mongo_amount: int | None = None
    live_facts: int | None = None
    live_amount: int | None = None
    relay_events: int | None = None
    topic_events: int | None = None
    of_mongo: bool = False
    """Whether MongoDB and the lake differ."""
    of_relay: bool = False
    """Whether the topic lacks what the relay has written; nothing but the source itself can mend that."""


@dataclass(frozen=True)
class Audited:
    """What was compared. ``certified``: windows that are closed and equal all the way; ``left_out``: places that were not looked at."""

    through_ms: int
    windows: int = 0
    certified: int = 0
    differing: list[Window] = field(default_factory=list)
    repaired_facts: int = 0
    repaired_reports: int = 0
    left_out: list[str] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    """MongoDB's payments that have no facts, by the field for which they are refused; of all windows."""


def run(config: Config, lake: Lake, scope: Scope, *, repair: bool = False, settle_seconds: float = SETTLE_SECONDS) -> Audited:
    """Compare the windows of a scope, write their certificates, and put right what differs where that is asked for.

    Raises:
        CommandError: nothing is complete yet, there is no topic, or MongoDB's user is refused.
        UnavailableError: MongoDB does not answer.
    """
    through = tables.asked(config, lambda store: ProgressTable(store, config.names.keyspace).through(PROGRESS_PAYMENTS))
    newest = lake.current()
    if through is None or newest is None:
        raise CommandError("nothing is complete yet, so there is nothing to audit; let `millrace process stream` write its first reports")
    beside = audit_places.look(config, lake.session, scope, through)
    known = _known(config, lake, scope, through).persist()
    try:
        found = _compared(config, lake, newest, known, scope, scope.times(), beside)
        differing = _differing(found)
        if differing:
            threading.Event().wait(settle_seconds)
            found, newest = _again(config, lake, scope, known, found, differing, beside), lake.current() or newest
            differing = _differing(found)
        certificates.write(lake, found, newest.version, through, _closed(through))
        sums = found.agg(F.count("*"), F.count_if(F.col("equal") & _closed(through))).first()
        assert sums is not None
        mended = _repair(config, lake, scope, known, differing, through) if repair and differing else (0, 0)
        refused = beside.mongo.refused if beside.mongo else {}
        return Audited(through, sums[0], sums[1], differing, *mended, beside.left_out, refused)
    finally:
        known.unpersist()


def _known(config: Config, lake: Lake, scope: Scope, through_ms: int) -> DataFrame:
    """The facts of the changes that Kafka holds, each version of them once, with a digest of all that they say."""
    topic = change_topic(config.names, PAYMENTS)
    sources.partitions(config.kafka, topic)
    events = decoding.decode(sources.read(lake.session, config.kafka, topic).where(decoding.is_change()))
    derived = facts.derive(events.where(F.col("version") < cluster_time(through_ms // 1000, 0)))
    return _digested(derived.where(scope.condition())).dropDuplicates(["digest"])


def _digested(found: DataFrame) -> DataFrame:
    return found.select(*COLUMNS, F.xxhash64(*COLUMNS).alias("digest"))


def _compared(config: Config, lake: Lake, newest: Snapshot, known: DataFrame, scope: Scope, within: Column, beside: Places) -> DataFrame:
    """One row a window: counts, sums and digests of Kafka's facts and of those that the lake has of them, and how its reports fare.

    Beside them what the other places say, and ``of_mongo``, ``of_relay``: whether they differ.
    """
    facts_of = lake.read(newest).where(scope.condition() & within)
    held = _digested(facts_of).select("digest").distinct().withColumn("held", F.lit(True))
    amount = F.coalesce("amount", F.lit(0).cast("bigint"))
    here = F.coalesce("held", F.lit(False))
    by_window = (
        known.where(within)
        .join(held, "digest", "left")
        .groupBy("window_start")
        .agg(
            F.count("*").alias("kafka_facts"),
            F.count_if(here).alias("lake_facts"),
            F.sum(amount).alias("kafka_amount"),
            F.coalesce(F.sum(F.when(here, amount)), F.lit(0)).alias("lake_amount"),
            F.bit_xor("digest").alias("kafka_digest"),
            F.coalesce(F.bit_xor(F.when(here, F.col("digest"))), F.lit(0)).alias("lake_digest"),
        )
    )
    of_reports = (
        _verdicts(config, lake, newest, facts_of)
        .groupBy("window_ms")
        .agg(F.sum("reports").alias("reports"), F.sum("differing").alias("differing_reports"), F.max("example").alias("example"))
    )
    named = of_reports.withColumn("window_start", F.timestamp_millis("window_ms")).drop("window_ms")
    joined = by_window.join(named, "window_start", "full")
    filled = joined.fillna(0, [name for name in joined.columns if name not in ("window_start", "example")])
    told = beside.join(filled, facts_of, within)
    same = (F.col("kafka_facts") == F.col("lake_facts")) & (F.col("kafka_digest") == F.col("lake_digest"))
    equal = same & (F.col("differing_reports") == 0) & ~F.col("of_mongo") & ~F.col("of_relay")
    return told.withColumn("equal", equal).localCheckpoint()


def _verdicts(config: Config, lake: Lake, newest: Snapshot, facts_of: DataFrame) -> DataFrame:
    """The verdicts on the reports of facts, and on the parts of them that there are."""
    task = functools.partial(_task, refresh.sink_of(config, newest, None, refresh.Mode.COMPARE))
    found = arranging.arranged(facts_of).mapInArrow(task, _VERDICTS)
    merchants = whose.merchants(lake)
    if not merchants:
        return found
    parts = arranging.in_windows(placing.in_parts(facts_of, merchants), placing.PART)
    task = functools.partial(_part_task, refresh.sink_of(config, newest, None, refresh.Mode.COMPARE, Inner.PART))
    return found.union(parts.mapInArrow(task, _VERDICTS))


def _part_task(sink: refresh.Sink, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same of parts, by the windows that they are parts of. One that is not there is none that differs: its report is read whole."""
    for found, _ in whole_reports(batches, placing.PART):
        wrong = [each for each in report_diff.verdicts(sink.target, found) if each.kind == "changed"]
        rows = [
            {"window_ms": each.window_ms // WINDOW_MS * WINDOW_MS, "reports": 0, "differing": 1, "example": f"{each.text}, in a part of it"}
            for each in wrong
        ]
        yield pa.RecordBatch.from_pylist(rows, _SCHEMA)


def _task(sink: refresh.Sink, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The verdicts on the reports of a worker's share, by window."""
    for found, _ in whole_reports(batches):
        rows: dict[int, dict[str, int | str | None]] = {}
        packed = packed_diff.differences(sink.target, found)
        keys = zip(found.merchants, found.window_ms.tolist(), found.currencies, strict=True)
        for key, each in zip(keys, report_diff.verdicts(sink.target, found), strict=True):
            row = rows.setdefault(each.window_ms, {"window_ms": each.window_ms, "reports": 0, "differing": 0, "example": None})
            row["reports"] = int(row["reports"] or 0) + 1
            if text := each.text or packed.get(key):
                row["differing"], row["example"] = int(row["differing"] or 0) + 1, text
        yield pa.RecordBatch.from_pylist(list(rows.values()), _SCHEMA)


_SCHEMA = pa.schema([("window_ms", pa.int64()), ("reports", pa.int64()), ("differing", pa.int64()), ("example", pa.string())])


def _differing(found: DataFrame) -> list[Window]:
    names = [each.name for each in fields(Window)][1:]
    # As a number: a relay's window at the end of the year 9999 is none in a local time east of UTC.
    start = F.unix_millis("window_start").alias("ms")
    rows = found.where("NOT equal").orderBy("window_start").limit(MOST_NAMED).select(start, *names).collect()
    return [Window(from_ms(row["ms"]), *(row[name] for name in names)) for row in rows]


def _again(
    config: Config, lake: Lake, scope: Scope, known: DataFrame, found: DataFrame, differing: list[Window], beside: Places
) -> DataFrame:
    """The comparison with the windows that differed looked at again."""
    newest = lake.current()
    assert newest is not None
    within = _in(differing)
    return found.where(~within).unionByName(_compared(config, lake, newest, known, scope, within, beside)).localCheckpoint()


def _in(windows: list[Window]) -> Column:
    return F.col("window_start").isin(*(each.start for each in windows))


def _closed(through_ms: int) -> Column:
    return F.col("window_start") <= F.lit(from_ms(through_ms) - WINDOW)


def _repair(config: Config, lake: Lake, scope: Scope, known: DataFrame, differing: list[Window], through_ms: int) -> tuple[int, int]:
    """(facts, reports) that were put right: what the lake lacks of Kafka, what MongoDB has otherwise, and these windows' reports."""
    condition = _in(differing)
    mended = _from_kafka(lake, known, differing)
    if of_mongo := [each for each in differing if each.of_mongo]:
        span = Scope(of_mongo[0].start, of_mongo[-1].start + WINDOW, scope.merchants)
        found = mongo_facts.lacking(config, lake, span, condition)
        try:
            found.append(config, lake)
            mended += found.corrected + found.retracted
        finally:
            found.close()
    if not mended:
        # Only the store is wrong, maybe at the version of the newest snapshot: what is written at the same one would not surely win.
        rollup_run.bumped(lake, REPAIR)
    done = refresh.whole(config, lake, condition, through_ms, refresh.Mode.COMPARE_AND_WRITE)
    packing.again(config, lake, condition, through_ms)
    return mended, done.changed + done.added


def _from_kafka(lake: Lake, known: DataFrame, differing: list[Window]) -> int:
    """Append what the lake lacks of Kafka's facts; how many these are."""
    condition = _in(differing)
    newest = lake.current()
    assert newest is not None
    held = _digested(lake.read(newest).where(condition)).persist()
    missing = known.where(condition).join(held.select("digest"), "digest", "left_anti").persist()
    try:
        lacking = missing.count()
        if lacking:
            _unsay(lake, missing, held, differing)
            lake.append(missing, REPAIR, time.time_ns() // 1000)
        return lacking
    finally:
        missing.unpersist()
        held.unpersist()


def _unsay(lake: Lake, missing: DataFrame, held: DataFrame, differing: list[Window]) -> None:
    """Delete what the lake says otherwise than Kafka of the same version of a fact: two contents of one version have no order.

    Only such rows: a fact that is merely missing leaves nothing to delete.
    """
    named = F.xxhash64(*_IDENTITY).alias("identity")
    wrong = held.select(named).join(missing.select(named), "identity", "left_semi").distinct().limit(MOST_UNSAID).collect()
    if wrong:
        windows = ", ".join(f"TIMESTAMP '{each.start:%Y-%m-%d %H:%M:%S}'" for each in differing)
        identities = ", ".join(f"{row[0]}L" for row in wrong)
        lake.session.sql(
            f"DELETE FROM {lake.facts} WHERE window_start IN ({windows}) AND xxhash64({', '.join(_IDENTITY)}) IN ({identities})"  # noqa: S608
        )
