"""Facts brought together by key and by fact: the engine sorts them by one number, and a worker puts the few that share one right.

A sort by a single number is done digit by digit, one by seven columns compares texts, which is a fifth of what a report costs. The
number is made of hashes, so that different facts, and even different keys, may have the same one. Facts with one number always come
together, and ``settled`` sorts those exactly. What merchant, currency and time give of it is a run: one key, in nearly all cases.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from millrace_contracts.windows import WINDOW_MS
from millrace_processors import skew, traits
from millrace_processors.facts import KEY

ORDER = "arrangement"
NEEDED = (
    *KEY, "fact_id", "amount", "points_used", "points_earned", "customer_key", "version", "version_order",
)  # fmt: skip
"""What a report is made of, beside the traits."""
WINDOW_BITS, FACT_BITS = 15, 25
"""Of the 64: windows of 227 days, then a hash of the fact; the other 24 in front are a hash of merchant and currency."""
Ints = NDArray[np.int64]
_EXACT = (*((name, "ascending") for name in ("run", *KEY, "fact_id")), *((name, "descending") for name in ("version", "version_order")))


def number() -> Column:
    """The number of a fact: merchant and currency, then time, then the fact."""
    window = F.pmod((F.unix_millis("window_start") / WINDOW_MS).cast("bigint"), F.lit(1 << WINDOW_BITS))
    whose = F.shiftleft(F.xxhash64("merchant_id", "currency"), WINDOW_BITS + FACT_BITS)
    which = F.xxhash64("fact_id").bitwiseAND(F.lit((1 << FACT_BITS) - 1))
    return whose.bitwiseOR(F.shiftleft(window, FACT_BITS)).bitwiseOR(which).alias(ORDER)


def arranged(facts: DataFrame, tasks: int | None = None, hot: skew.Hot | None = None) -> DataFrame:
    """Facts as ``arrow_batches.whole_reports`` takes them: the keys of one merchant and day in one task, sorted by the number.

    Those of ``hot`` merchants are in several tasks, each of which has a part of the facts with all their versions.

    However many facts a merchant has, its task sorts them on disk if need be, and takes them a batch at a time.
    """
    by: list[Column | str] = ["merchant_id", F.to_date("window_start"), *([skew.part(hot)] if hot else [])]
    needed = facts.select(*NEEDED, traits.column(), number())
    spread = needed.repartition(tasks, *by) if tasks else needed.repartition(*by)
    return spread.sortWithinPartitions(ORDER)


def in_windows(facts: DataFrame, window: str, tasks: int | None = None) -> DataFrame:
    """Facts of other windows than those of 10 minutes, whose start is in a column: those of one in one task, sorted exactly."""
    needed = facts.select(*NEEDED, traits.column(), window)
    spread = needed.repartition(tasks, "merchant_id", window) if tasks else needed.repartition("merchant_id", window)
    order = ("merchant_id", window, "currency", "window_start", "fact_id", F.col("version").desc(), F.col("version_order").desc())
    return spread.sortWithinPartitions(*order)


def numbers(batch: pa.RecordBatch) -> Ints | None:
    """The numbers of a batch that is sorted by them, or None of one that is sorted exactly."""
    return np.asarray(batch.column(ORDER)) if ORDER in batch.schema.names else None


def settled(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch in the exact order that ``reports.compute`` wants, whose facts with one number are all in it."""
    order = numbers(batch)
    if order is None or not len(order):
        return batch
    run = order >> FACT_BITS
    same_run = run[1:] == run[:-1]
    mixed = run[1:][same_run & _differ(batch, KEY)]
    # Of a run with several keys all facts are put in order, elsewhere those that share a number.
    among = np.isin(run, mixed) if len(mixed) else np.zeros(len(run), dtype=np.bool_)
    unsure, shared = among.copy(), order[1:] == order[:-1]
    unsure[1:] |= shared
    unsure[:-1] |= shared
    places = np.flatnonzero(unsure)
    if not len(places):
        return batch
    columns = {name: batch.column(name).take(pa.array(places)) for name, _ in _EXACT[1:]}
    table = pa.table({"run": np.where(among, run << FACT_BITS, order)[places], **columns})
    exact = places[np.asarray(pc.sort_indices(table, sort_keys=list(_EXACT)))]
    if np.array_equal(exact, places):
        return batch
    rows = np.arange(len(run))
    rows[places] = exact
    return batch.take(pa.array(rows))


def _differ(batch: pa.RecordBatch, columns: tuple[str, ...]) -> NDArray[np.bool_]:
    """Which rows but the first differ from the one before in any of the columns."""
    found = np.zeros(batch.num_rows - 1, dtype=np.bool_)
    for name in columns:
        column = batch.column(name)
        found |= np.asarray(pc.not_equal(column.slice(1), column.slice(0, len(column) - 1)))
    return found
