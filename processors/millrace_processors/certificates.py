"""The lake's table of certificates: one row a window and audit, with what every place said of it."""

from __future__ import annotations

import time

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from millrace_contracts.windows import from_ms
from millrace_processors.lake import Lake

LATER = dict.fromkeys(("mongo_facts", "mongo_amount", "live_facts", "live_amount", "relay_events", "topic_events"), "bigint")
"""Columns that tables of an earlier version lack; null where a place was not looked at."""


def write(lake: Lake, found: DataFrame, version: int, through_ms: int, closed: Column) -> None:
    """Write one certificate a window; ``complete`` says that it is closed and equal all the way."""
    names = lake.declare_certificates()
    missing = [name for name in LATER if name not in lake.session.table(lake.certificates).columns]
    if missing:
        columns = ", ".join(f"{name} {LATER[name]}" for name in missing)
        lake.session.sql(f"ALTER TABLE {lake.certificates} ADD COLUMNS ({columns})")
    rows = found.withColumns(
        {
            "audited_at": F.timestamp_millis(F.lit(time.time_ns() // 1_000_000)),
            "complete_through": F.lit(from_ms(through_ms)),
            "version": F.lit(version),
            "complete": F.col("equal") & closed,
        }
    )
    rows.select(*names, *LATER).writeTo(lake.certificates).append()
