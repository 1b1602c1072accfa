"""Which part of the lake a set of keys can lie in, so that a read skips the other files (DataFrame -> a bounded answer)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from millrace_contracts.windows import WINDOW_MS

MOST_RANGES = 100
MOST_MERCHANTS = 200
FEW_KEYS = 2_000
"""Only so few keys are worth asking for their merchants by name."""
_HOUR = timedelta(hours=1)
_WINDOW = timedelta(milliseconds=WINDOW_MS)


@dataclass(frozen=True)
class Extent:
    """How many keys, the hours (or windows) that they lie in as [start, end) ranges, and their merchants where these are few."""

    keys: int
    ranges: tuple[tuple[datetime, datetime], ...]
    merchants: tuple[str, ...] | None = None


def extent(keys: DataFrame) -> Extent:
    """Ask for the extent of persisted keys; what comes to the driver is bounded by the lake's hours."""
    rows = keys.groupBy(F.date_trunc("hour", "window_start").alias("hour")).count().select(F.unix_millis("hour"), "count").collect()
    count = sum(row[1] for row in rows)
    merchants: tuple[str, ...] | None = None
    if 0 < count <= FEW_KEYS:
        found = keys.select("merchant_id").distinct().limit(MOST_MERCHANTS + 1).collect()
        merchants = tuple(sorted(row[0] for row in found)) if len(found) <= MOST_MERCHANTS else None
    hours = sorted(datetime.fromtimestamp(row[0] / 1000, UTC) for row in rows)
    return Extent(count, ranges(hours), merchants)


def extent_of(keys: pa.Table) -> Extent:
    """The extent of a few keys that are at hand: by windows, which skips more than hours do."""
    windows, merchants = sorted(set(keys["window_start"].to_pylist())), sorted(set(keys["merchant_id"].to_pylist()))
    starts = [start.replace(tzinfo=UTC) if start.tzinfo is None else start for start in windows]
    return Extent(keys.num_rows, ranges(starts, unit=_WINDOW), tuple(merchants) if len(merchants) <= MOST_MERCHANTS else None)


def ranges(hours: list[datetime], most: int = MOST_RANGES, unit: timedelta = _HOUR) -> tuple[tuple[datetime, datetime], ...]:
    """Sorted hours as at most ``most`` ranges, joined over the smallest gaps; a range may then hold hours that were not asked for.

    ``unit``: what each of them is long, if not an hour.
    """
    if not hours:
        return ()
    gaps = sorted(((after - before, index) for index, (before, after) in enumerate(itertools.pairwise(hours))), reverse=True)
    cuts = sorted(index for gap, index in gaps[: most - 1] if gap > unit)
    firsts, lasts = [0, *(cut + 1 for cut in cuts)], [*cuts, len(hours) - 1]
    return tuple((hours[first], hours[last] + unit) for first, last in zip(firsts, lasts, strict=True))


def condition(found: Extent) -> Column:
    """The condition on the facts table; Iceberg turns it into a choice of partitions and files."""
    if not found.ranges:
        return F.lit(False)
    start = F.col("window_start")
    inside = [(start >= F.lit(low)) & (start < F.lit(high)) for low, high in found.ranges]
    time = inside[0]
    for each in inside[1:]:
        time = time | each
    return time & F.col("merchant_id").isin(*found.merchants) if found.merchants is not None else time
