"""Which merchants have parts: those that stand in a zone whose hours begin inside a 10-minute window, or once stood in one.

Whoever once had them keeps them. So a merchant whose zone changes back needs nothing made, and no report depends on when a change came.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from millrace_processors import rollup_calendar
from millrace_processors.lake import Lake

FEW = 1_000
"""Up to so many merchants are named in a condition, which skips files; more are joined."""
_known: dict[str, tuple[int, frozenset[str]]] = {}
"""By table of merchants: a snapshot and who had parts by then."""


def zone_has_parts(zone: Column) -> Column:
    """Whether hours of a zone begin inside a window; false where none is known."""
    return F.coalesce(zone.isin(*rollup_calendar.cuts()), F.lit(False))


def merchants(lake: Lake, snapshot: int | None = None) -> frozenset[str]:
    """The merchants that have parts, as of the newest snapshot of the dimension, or of an older one.

    What was found last is remembered with its snapshot, so that only merchants that came since are looked at.
    """
    newest = snapshot if snapshot is not None else lake.newest_of(lake.merchants)
    if newest is None:
        return frozenset()
    before = _known.get(lake.merchants)
    if before is not None and before[0] == newest:
        return before[1]
    added = lake.added(lake.merchants, before[0], newest) if before is not None else None
    onwards = before is None or added is not None
    if before is None or added is None:
        before, added = (newest, frozenset()), lake.session.read.option("versionAsOf", str(newest)).table(lake.merchants)
    ours = added.where(zone_has_parts(F.get_json_object("document", "$.timeZone"))).select("merchant_id").distinct().collect()
    found = before[1].union(row[0] for row in ours)
    if onwards or snapshot is None:
        _known[lake.merchants] = newest, found
    return found


def only(facts: DataFrame, names: Iterable[str]) -> DataFrame:
    """The facts of some merchants."""
    some = sorted(names)
    if len(some) <= FEW:
        return facts.where(F.col("merchant_id").isin(*some))
    rows = facts.sparkSession.createDataFrame([(name,) for name in some], "merchant_id string")
    return facts.join(F.broadcast(rows), "merchant_id", "left_semi")


def without(facts: DataFrame, names: Iterable[str]) -> DataFrame:
    """The facts of all other merchants."""
    some = sorted(names)
    if len(some) <= FEW:
        return facts.where(~F.col("merchant_id").isin(*some))
    rows = facts.sparkSession.createDataFrame([(name,) for name in some], "merchant_id string")
    return facts.join(F.broadcast(rows), "merchant_id", "left_anti")
