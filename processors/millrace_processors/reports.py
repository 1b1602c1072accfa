"""Step 5: reports out of facts, for one Arrow batch of sorted facts; pure, the only place where a report is computed (I6).

Input: facts sorted so that those of one (merchant, window, currency) stand together, within them those of one fact id, the newest
version first. Output: one report for each key, as columns. All arithmetic is on int64, so that equal facts give equal bytes on every
machine; contracts/reports.py says what each column holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasketches import theta_union, update_theta_sketch
from numpy.typing import NDArray

from millrace_contracts import sketches
from millrace_contracts.facts import DIMENSIONS, FAILURE, PAYMENT, REFUND
from millrace_processors.breakdowns import breakdown
from millrace_processors.traits import NAME, RETRACTED, Flags, Ints, Traits

_BOUNDS = np.array(sketches.UPPER_BOUNDS, dtype=np.int64)
_BUCKET = np.dtype([("index", ">i2"), ("count", ">u4")])
EMPTY_HISTOGRAM = sketches.encode({})


@dataclass(frozen=True)
class Reports:
    """n reports: keys, counters (int64), breakdowns (encoded Cassandra maps), sketches (bytes)."""

    merchants: list[str]
    window_ms: Ints
    currencies: list[str]
    counters: dict[str, Ints]
    breakdowns: dict[str, list[bytes]]
    customers: list[bytes]
    amounts: list[bytes]
    revision: Ints

    def __len__(self) -> int:
        return len(self.window_ms)


def starts_of(batch: pa.RecordBatch, columns: tuple[str, ...]) -> Flags:
    """Which rows differ from the row before in any of the columns; the first row does."""
    starts = np.zeros(batch.num_rows, dtype=np.bool_)
    starts[:1] = True
    for name in columns:
        column = batch.column(name)
        starts[1:] |= np.asarray(pc.not_equal(column.slice(1), column.slice(0, len(column) - 1)))
    return starts


def compute(batch: pa.RecordBatch, window: str = "window_start") -> Reports:
    """The reports of a batch that holds each of its facts with all versions; of a key that goes on in the next batch, a part.

    ``window`` names the column of the windows' starts: one of longer windows gives the merges of their 10-minute reports (facts sorted
    by merchant, longer window, currency, 10-minute window, and on as above).
    """
    key_starts = starts_of(batch, ("merchant_id", window, "currency"))
    fact_starts = key_starts | starts_of(batch, ("window_start", "fact_id"))
    versions = fact_starts | starts_of(batch, ("version", "version_order"))
    first = np.flatnonzero(key_starts)
    group = np.cumsum(key_starts) - 1
    traits = Traits.of(batch.column(NAME))
    live = fact_starts & ~traits.has("retracted", RETRACTED)
    paid, refunded, failed = (live & traits.has("kind", kind.encode()) for kind in (PAYMENT, REFUND, FAILURE))
    n, amount = len(first), _ints(batch, "amount")
    counters = {
        "payments": _sum(paid, group, n),
        "gross": _sum(np.where(paid, amount, 0), group, n),
        "refunds": _sum(refunded, group, n),
        "refunded_amount": _sum(np.where(refunded, amount, 0), group, n),
        "failed": _sum(failed, group, n),
        **_extremes(amount, paid, first),
        "points_used": _sum(np.where(paid, _ints(batch, "points_used"), 0), group, n),
        "points_earned": _sum(np.where(paid, _ints(batch, "points_earned"), 0), group, n),
    }
    payers, amounts = group[paid], amount[paid]
    keys = batch.take(pa.array(first))
    return Reports(
        merchants=keys.column("merchant_id").to_pylist(),
        window_ms=_ints(keys, window) // 1000,
        currencies=keys.column("currency").to_pylist(),
        counters=counters,
        breakdowns={f"by_{name}": breakdown(*traits.ranks(name, paid), payers, amounts, n) for name in DIMENSIONS},
        customers=_customer_sketches(batch.column("customer_key").filter(pa.array(paid)), payers, n),
        amounts=_histograms(payers, amounts, n),
        revision=_sum(versions, group, n),
    )


def _ints(batch: pa.RecordBatch, name: str) -> Ints:
    column = batch.column(name)
    return np.asarray(column.cast(pa.int64()) if column.type != pa.int64() else column).astype(np.int64, copy=False)


def _sum(values: NDArray[Any], group: Ints, n: int) -> Ints:
    """Sums by group; the groups are contiguous and none is empty."""
    starts = np.searchsorted(group, np.arange(n))
    return np.add.reduceat(values.astype(np.int64), starts) if n else np.zeros(0, np.int64)


def _extremes(amount: Ints, paid: Flags, first: Ints) -> dict[str, Ints]:
    """Smallest and largest payment by group; 0 without one."""
    if not len(first):
        return {"smallest": np.zeros(0, np.int64), "largest": np.zeros(0, np.int64)}
    none = np.iinfo(np.int64).max
    smallest = np.minimum.reduceat(np.where(paid, amount, none), first)
    largest = np.maximum.reduceat(np.where(paid, amount, 0), first)
    return {"smallest": np.where(smallest == none, 0, smallest), "largest": largest}


def _customer_sketches(keys: pa.Array, group: Ints, n: int) -> list[bytes]:
    """Theta sketches of the customer keys by group; payers who are not known are in none."""
    known = np.asarray(pc.is_valid(keys))
    names, group = keys.filter(pa.array(known)).to_pylist(), group[known]
    bounds = np.searchsorted(group, np.arange(n + 1)).tolist()
    return [_theta(names[bounds[row] : bounds[row + 1]]) for row in range(n)]


def _theta(names: list[str]) -> bytes:
    sketch = update_theta_sketch(sketches.THETA_LG_K)
    for name in names:
        sketch.update(name)
    if sketch.num_retained <= 1 << sketches.THETA_LG_K and not sketch.is_estimation_mode():
        return bytes(sketch.compact(True).serialize())
    # Beyond k values the bytes depend on the order of the updates, and a union keeps fewer than a sketch does, until they went through one.
    union = theta_union(sketches.THETA_LG_K)
    union.update(sketch)
    return bytes(union.get_result(True).serialize())


def _histograms(group: Ints, amounts: Ints, n: int) -> list[bytes]:
    """Amount histograms by group, in the bytes of contracts/sketches.py."""
    index = np.where(amounts == 0, sketches.ZERO, np.searchsorted(_BOUNDS, amounts))
    pairs, counts = np.unique((group << 17) + (index - sketches.ZERO), return_counts=True)
    cells = np.empty(len(pairs), dtype=_BUCKET)
    cells["index"], cells["count"] = (pairs & 0x1FFFF) + sketches.ZERO, counts
    data, width = cells.tobytes(), _BUCKET.itemsize
    bounds = (np.searchsorted(pairs >> 17, np.arange(n + 1)) * width).tolist()
    return [EMPTY_HISTOGRAM + data[bounds[row] : bounds[row + 1]] for row in range(n)]
