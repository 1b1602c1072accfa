"""Facts in the parts of their windows, and days by when a fact occurred (DataFrame -> DataFrame, pure).

A change may move a fact within its window from one part, or day, to another. Every version stays where it occurred, and only the newest
one counts: of such windows the older versions are passed on as retracted, which counts them in the revision and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from millrace_contracts.windows import WINDOW_MS
from millrace_processors import rollup_calendar
from millrace_processors.facts import KEY
from millrace_processors.parts import whose

PART = "part_start"
"""The column that holds the start of a fact's part."""
_HOUR_MS = 3_600_000


@lru_cache(maxsize=1)
def _cuts() -> tuple[int, ...]:
    """Ms after the hour of UTC at which hours of some zone begin inside a window, ascending."""
    return tuple(sorted(frozenset().union(*rollup_calendar.cuts().values())))


def _windows() -> tuple[int, ...]:
    """The starts of the windows that hold a cut, in ms after the hour."""
    return tuple(sorted({cut - cut % WINDOW_MS for cut in _cuts()}))


def _hour() -> Column:
    return F.pmod(F.unix_millis("window_start"), F.lit(_HOUR_MS))


def cut() -> Column:
    """Whether a fact's window is one that has parts."""
    return _hour().isin(*_windows())


def touched(keys: pa.Table, names: frozenset[str]) -> frozenset[str]:
    """Those of the named merchants that have a window with parts among some keys."""
    starts = np.asarray(keys.column("window_start").cast(pa.int64())) // 1000 % _HOUR_MS
    places = np.flatnonzero(np.isin(starts, _windows()))
    return names.intersection(keys.column("merchant_id").take(pa.array(places)).to_pylist()) if len(places) else frozenset()


def has_cut(keys: pa.Table) -> bool:
    """Whether a window with parts is among some keys, whosesoever it is."""
    starts = np.asarray(keys.column("window_start").cast(pa.int64())) // 1000 % _HOUR_MS
    return bool(np.isin(starts, _windows()).any())


def in_parts(facts: DataFrame, names: Iterable[str]) -> DataFrame:
    """The named merchants' facts of windows with parts, each with the start of its part; whole windows are given."""
    start = at = F.unix_millis("window_start")
    for place in _cuts():
        begins = at + place % WINDOW_MS
        inside = (_hour() == place - place % WINDOW_MS) & (F.unix_millis("occurred_at") >= begins)
        start = F.when(inside, begins).otherwise(start)
    return _settled(whose.only(facts, names).where(cut())).withColumn(PART, F.timestamp_millis(start))


def for_days(facts: DataFrame, names: frozenset[str]) -> DataFrame:
    """The same facts, of which those of the named merchants may be placed by when they occurred."""
    if not names:
        return facts
    mine = _settled(whose.only(facts, names).where(cut()))
    return facts.where(~cut()).unionByName(whose.without(facts, names).where(cut())).unionByName(mine)


def _settled(facts: DataFrame) -> DataFrame:
    """Every version of a fact but the newest as retracted."""
    newest = F.rank().over(Window.partitionBy(*KEY, "fact_id").orderBy(F.col("version").desc(), F.col("version_order").desc()))
    return facts.withColumn("retracted", F.col("retracted") | (newest > 1))
