"""A merchant with so many facts that its task would be the last one by far: they are spread by fact, and the pieces merged (I6).

All versions of a fact go the same way, so that each piece has the newest of its own; a report is the merge of what disjoint facts give.
Only where a merchant's day is more than a task's fair share: everybody else's reports are computed and written in one go.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator, Mapping

import pyarrow as pa
from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from millrace_processors import rollups
from millrace_processors.reports import Reports
from millrace_processors.rollups import Piece

Hot = Mapping[str, int]
"""Merchants whose facts are spread, and over how many parts."""
LEAST_FACTS = 10_000
"""Of a merchant's day; what is less is not worth a second step."""
PARTS = 8
"""For each task that a merchant's day would keep busy: parts fall to tasks by chance, and of more they all get about as many."""
LEAST_TASKS = 8
"""Facts that are not counted anyway are counted for this where there are so many tasks; see docs/decisions/0017."""
PIECE = ("merchant_id", "window_ms", "currency", "piece")
PIECES = "merchant_id string, window_ms bigint, currency string, piece binary"
SCHEMA = pa.schema(list(zip(PIECE, (pa.string(), pa.int64(), pa.string(), pa.binary()), strict=True)))


def hot_merchants(counted: DataFrame, tasks: int) -> Hot:
    """Merchants of whom one day is more than a task's share: alone it would keep its task busy for longer than all need.

    ``counted``: merchant_id, window_start and ``facts``, how many facts there are of it.
    """
    seen, day = Observation(), F.to_date("window_start").alias("day")
    days = counted.observe(seen, F.sum("facts").alias("facts")).groupBy("merchant_id", day).agg(F.sum("facts").alias("facts"))
    rows = days.where(F.col("facts") >= LEAST_FACTS).orderBy(F.col("facts").desc()).limit(tasks).collect()
    if not rows:
        return {}
    total, hot = seen.get["facts"], dict[str, int]()
    for merchant, _, facts in rows:
        if tasks * facts > total:
            hot.setdefault(merchant, math.ceil(PARTS * tasks * facts / total))
    return hot


def part(hot: Hot) -> Column:
    """Which part of its merchant a fact is in; 0 for all facts of the others."""
    found = F.lit(0)
    for merchant, parts in hot.items():
        found = F.when(F.col("merchant_id") == merchant, F.pmod(F.hash("fact_id"), F.lit(parts))).otherwise(found)
    return found


def divided(found: Reports, hot: Hot) -> tuple[Reports, list[tuple[str, int, str, bytes]]]:
    """What is whole, and the pieces that have to be merged, a row each."""
    if not any(merchant in hot for merchant in found.merchants):
        return found, []
    whole = [at for at, merchant in enumerate(found.merchants) if merchant not in hot]
    pieces = [
        (found.merchants[at], int(found.window_ms[at]), found.currencies[at], pickle.dumps(rollups.part(found, at, at + 1)))
        for at in range(len(found))
        if found.merchants[at] in hot
    ]
    return rollups.chosen(found, whole), pieces


def merged(batches: Iterator[pa.RecordBatch]) -> Iterator[Reports]:
    """Whole reports of pieces that are sorted by key."""

    def pieces() -> Iterator[Piece]:
        for batch in batches:
            # Written by ``divided`` in a worker of this very job.
            parts = [pickle.loads(each) for each in batch.column("piece").to_pylist()]  # noqa: S301
            if parts:
                found = rollups.merged_runs(parts)
                first, last = ((found.merchants[at], int(found.window_ms[at]), found.currencies[at]) for at in (0, -1))
                yield Piece(found, first, 1, last, 1)

    return rollups.whole_windows(pieces())
