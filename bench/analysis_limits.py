"""Limit B of bench/analysis.py: what DuckDB needs over the lake's files, for the light aggregate and for everything that a report holds.

The whole one computes, of the newest version of each fact: counts, sums, extremes and distinct customers, the revision, the six breakdowns
(count and sum each) and the amounts' histogram, by merchant, window and currency. What it lacks is a sketch that merges: its distinct
customers are exact and can not be added up. Its results stay in its own tables; ours are bytes that Cassandra takes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator

import duckdb
import pyarrow as pa

from millrace_contracts import sketches
from millrace_contracts.facts import DIMENSIONS
from millrace_processors import rollups
from millrace_processors.arrow_batches import whole_reports

KEY = "merchant_id, window_start, currency"
_NEWEST = f"""
(SELECT * FROM read_parquet($files) QUALIFY row_number() OVER
 (PARTITION BY fact_id, {KEY} ORDER BY version DESC, version_order DESC) = 1)
"""
LIGHT = f"""
CREATE OR REPLACE TEMP TABLE light AS
SELECT {KEY}, count(*), sum(amount), min(amount), max(amount), count(DISTINCT customer_key), sum(points_earned)
FROM {_NEWEST} WHERE NOT retracted GROUP BY ALL
"""
_PAID = "kind = 'payment' AND NOT retracted"
WHOLE = (
    f"CREATE OR REPLACE TEMP TABLE newest AS SELECT {KEY}, kind, amount, points_used, points_earned, customer_key, "
    f"{', '.join(DIMENSIONS)}, retracted FROM {_NEWEST}",
    f"""
    CREATE OR REPLACE TEMP TABLE counters AS
    SELECT {KEY}, count(*) FILTER ({_PAID}) AS payments, sum(amount) FILTER ({_PAID}) AS gross,
           count(*) FILTER (kind = 'refund' AND NOT retracted) AS refunds,
           sum(amount) FILTER (kind = 'refund' AND NOT retracted) AS refunded_amount,
           count(*) FILTER (kind = 'failure' AND NOT retracted) AS failed,
           min(amount) FILTER ({_PAID}) AS smallest, max(amount) FILTER ({_PAID}) AS largest,
           sum(points_used) FILTER ({_PAID}) AS points_used, sum(points_earned) FILTER ({_PAID}) AS points_earned,
           count(DISTINCT customer_key) FILTER ({_PAID}) AS customers
    FROM newest GROUP BY ALL
    """,
    f"""
    CREATE OR REPLACE TEMP TABLE revisions AS
    SELECT {KEY}, count(*) AS revision FROM (SELECT DISTINCT {KEY}, fact_id, version, version_order FROM read_parquet($files)) GROUP BY ALL
    """,
    *(
        f"CREATE OR REPLACE TEMP TABLE by_{name} AS "
        f"SELECT {KEY}, {name} AS value, count(*) AS n, sum(amount) AS total FROM newest WHERE {_PAID} GROUP BY ALL"
        for name in DIMENSIONS
    ),
    f"""
    CREATE OR REPLACE TEMP TABLE histogram AS
    SELECT {KEY}, CASE WHEN amount = 0 THEN {sketches.ZERO} ELSE ceil(ln(amount) / ln(101 / 99)) END::INT AS bucket, count(*) AS n
    FROM newest WHERE {_PAID} GROUP BY ALL
    """,
)


class Duck:
    """One database in memory, with as many threads as Spark has."""

    def __init__(self, files: list[str], threads: int = 2) -> None:
        self._connection = duckdb.connect(config={"threads": threads})
        self._files = files

    def seconds(self, *queries: str) -> float:
        """How long they take, one after another."""
        began = time.monotonic()
        for query in queries:
            self._connection.execute(query, {"files": self._files} if "$files" in query else {})
        return time.monotonic() - began

    def sums(self) -> dict[str, int]:
        """The totals of everything that WHOLE has computed."""
        names = ("payments", "gross", "refunds", "refunded_amount", "failed", "points_used", "points_earned")
        row = self._connection.execute(
            f"SELECT count(*), {', '.join(f'coalesce(sum({name}), 0)' for name in names)} FROM counters"
        ).fetchone()
        assert row is not None
        found = Counter(dict(zip(("reports", *names), map(int, row), strict=True)))
        found["revision"] = self._total("SELECT sum(revision) FROM revisions")
        for name in DIMENSIONS:
            for value, n, total in self._connection.execute(f"SELECT value, sum(n), sum(total) FROM by_{name} GROUP BY ALL").fetchall():
                found[f"{name} {value} payments"], found[f"{name} {value} gross"] = int(n), int(total)
        for bucket, n in self._connection.execute("SELECT bucket, sum(n) FROM histogram GROUP BY ALL").fetchall():
            found[f"bucket {bucket}"] = int(n)
        return dict(found)

    def _total(self, query: str) -> int:
        row = self._connection.execute(query).fetchone()
        assert row is not None
        return int(row[0])


def our_sums(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same totals of our reports, taken from their bytes; runs in Spark's Python workers. Rows of (name, value)."""
    total = Counter[str]()
    for found, _ in whole_reports(iter(batches)):
        total["reports"] += len(found)
        total["revision"] += int(found.revision.sum())
        for name in ("payments", "gross", "refunds", "refunded_amount", "failed", "points_used", "points_earned"):
            total[name] += int(found.counters[name].sum())
        for name in DIMENSIONS:
            for value, (n, gross) in rollups.entries(rollups.merged_maps(found.breakdowns[f"by_{name}"])).items():
                total[f"{name} {value.decode()} payments"] += n
                total[f"{name} {value.decode()} gross"] += gross
        for bucket, n in sketches.decode(sketches.merge(found.amounts)).items():
            total[f"bucket {bucket}"] += n
    yield pa.RecordBatch.from_pylist([{"name": name, "value": value} for name, value in total.items()], _SUMS)


_SUMS = pa.schema([("name", pa.string()), ("value", pa.int64())])


def differences(ours: dict[str, int], theirs: dict[str, int]) -> list[str]:
    """Totals that are not equal; empty if both have computed the same."""
    names = sorted({name for name, value in {**ours, **theirs}.items() if value})
    return [f"{name}: {ours.get(name, 0)} and {theirs.get(name, 0)}" for name in names if ours.get(name, 0) != theirs.get(name, 0)]
