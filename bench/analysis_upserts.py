"""How many reports a second Cassandra takes from Spark, beside what the driver can do at all; a part of bench/analysis.py.

The reports are computed before and lie in memory, so that only the writing is timed. The driver's own best is one plain Python process
that executes bound statements of the same rows by the driver's ``execute_concurrent``, at the best of several concurrencies.
"""

from __future__ import annotations

import functools
import pickle
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import pyarrow as pa
from cassandra.concurrent import execute_concurrent
from pyspark import StorageLevel
from pyspark.sql import DataFrame

from millrace_processors import report_store
from millrace_processors.arrow_batches import whole_reports
from millrace_processors.report_store import Target
from millrace_processors.reports import Reports

LEAST = 40_000
YEAR_MS = 365 * 86_400_000
CONCURRENCIES = (32, 100, 300)


def computed(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Reports as pickled pieces; runs in Spark's Python workers."""
    for found, _ in whole_reports(iter(batches)):
        yield pa.RecordBatch.from_pylist([{"piece": pickle.dumps(found), "reports": len(found)}])


def _copies(piece: bytes, copies: int) -> Iterator[Reports]:
    """The same reports in as many other years."""
    found: Reports = pickle.loads(piece)
    for number in range(copies):
        yield replace(found, window_ms=found.window_ms + number * YEAR_MS)


def _written(target: Target, copies: int, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        count = 0
        for piece in batch.column("piece").to_pylist():
            for found in _copies(piece, copies):
                report_store.write(target, found)
                count += len(found)
        yield pa.RecordBatch.from_pylist([{"written": count}])


def _connected(target: Target, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Let a worker connect before the clock starts; nothing is written."""
    report_store.session(target.cassandra)
    for _ in batches:
        yield pa.RecordBatch.from_pylist([{"written": 0}])


def measure(arranged: DataFrame, target: Target) -> dict[str, Any]:
    """Reports a second from Spark and from the driver alone. ``target``: its version is one that nothing has been written with."""
    made = arranged.mapInArrow(computed, "piece binary, reports bigint").persist(StorageLevel.MEMORY_AND_DISK)
    pieces = made.collect()
    reports = sum(row["reports"] for row in pieces)
    copies = -(-LEAST // reports)
    write = functools.partial(_written, target, copies)
    made.mapInArrow(functools.partial(_connected, target), "written bigint").collect()
    began = time.monotonic()
    written = sum(row["written"] for row in made.mapInArrow(write, "written bigint").collect())
    spark = written / (time.monotonic() - began)
    made.unpersist()
    session = report_store.session(target.cassandra)
    target = replace(target, version=target.version + 1)
    prepared = report_store.prepared(session, report_store.insertion(target.keyspace))
    cells = [row for piece in pieces for found in _copies(piece["piece"], copies) for row in report_store.rows(target, found)]
    size = sum(len(cell) for row in cells for cell in row if isinstance(cell, bytes)) / len(cells)
    driver = {}
    for concurrency in CONCURRENCIES:
        bound = [(report_store.bound(prepared, row), None) for row in cells]
        began = time.monotonic()
        execute_concurrent(session, bound, concurrency=concurrency)
        driver[str(concurrency)] = round(len(bound) / (time.monotonic() - began))
    return {
        "reports": written,
        "bytesPerReport": round(size),
        "reportsPerSecond": round(spark),
        "driverPerSecond": driver,
        "shareOfDriversBest": round(spark / max(driver.values()), 2),
    }
