"""Merging reports into longer windows: sums, extremes, maps and sketches. Pure.

Only what is additive is added: distinct customers come from the union of their sketches and quantiles from merged histograms.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from datasketches import compact_theta_sketch, theta_union

from millrace_contracts import sketches
from millrace_contracts.metrics import Kind, Metric, Unit
from millrace_graphql.ranges.columns import Group, Ints, Rows, Table
from millrace_graphql.ranges.plan import Range

QUANTILES = {"medianAmount": 0.5, "p95Amount": 0.95}
Slice = tuple[str, int, int]
"""A value of a breakdown with its payments and gross."""
Value = int | float | str | None


class Merge:
    """The reports of one merchant and currency, merged into ``starts``, the ascending window starts that the answer holds.

    Every method gives one value a window, in the order of ``starts``.
    """

    def __init__(self, rows: Rows, starts: Ints, step: int) -> None:
        self._rows = rows
        self._step = step
        self.starts = starts
        self._metrics: dict[str, list[Value]] = {}
        self._slices: dict[str, list[list[Slice]]] = {}

    @classmethod
    def of(cls, rows: Rows, asked: Range, currency: str, *, sparse: bool) -> Merge:
        """The windows of a range: all of them, or with ``sparse`` those in which something happened."""
        chosen = {group: data.between(asked.start_ms, asked.end_ms).of(currency) for group, data in rows.items()}
        if not sparse:
            return cls(chosen, np.arange(asked.start_ms, asked.end_ms, asked.step, dtype=np.int64), asked.step)
        counters = chosen[Group.COUNTERS]
        # A report of zeros is what retracting a window's last fact leaves; nothing happened there.
        happened = (counters.values["payments"] | counters.values["refunds"] | counters.values["failed"]) != 0
        touched = counters.starts[happened]
        return cls(chosen, np.unique(touched - touched % asked.step), asked.step)

    def total(self, asked: Range) -> Merge:
        """The whole range as one window."""
        return Merge(self._rows, np.array([asked.start_ms], dtype=np.int64), asked.end_ms - asked.start_ms)

    def _places(self, data: Table) -> tuple[Ints, Ints]:
        """(the rows that fall into a window, the window each falls into)."""
        if not len(self.starts):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        places = np.searchsorted(self.starts, data.starts, side="right") - 1
        kept = np.flatnonzero((places >= 0) & (data.starts < self.starts[places] + self._step))
        return kept, places[kept]

    @cached_property
    def _counter_places(self) -> tuple[Ints, Ints]:
        return self._places(self._rows[Group.COUNTERS])

    def sums(self, column: str) -> Ints:
        """Sum of a counter."""
        kept, places = self._counter_places
        result = np.zeros(len(self.starts), np.int64)
        np.add.at(result, places, self._rows[Group.COUNTERS].values[column][kept])
        return result

    def extremes(self, column: str, *, largest: bool) -> list[int | None]:
        """Smallest or largest payment; windows without a payment hold 0 in the store, which is no amount, and give None."""
        kept, places = self._counter_places
        values = self._rows[Group.COUNTERS].values
        paid = values["payments"][kept] > 0
        bounds = np.iinfo(np.int64)
        result = np.full(len(self.starts), bounds.min if largest else bounds.max, np.int64)
        (np.maximum if largest else np.minimum).at(result, places[paid], values[column][kept][paid])
        return [value if count else None for value, count in zip(result.tolist(), self.sums("payments").tolist(), strict=True)]

    def customers(self) -> list[int]:
        """Distinct customers, by union of the theta sketches."""
        return [_distinct(blobs) for blobs in self._blobs(Group.CUSTOMERS, "customers")]

    def quantiles(self, q: float) -> list[float | None]:
        """A quantile of the payment amounts, from the merged histograms."""
        return [sketches.quantile(histogram, q) for histogram in self._histograms]

    @cached_property
    def _histograms(self) -> list[bytes]:
        return [blobs[0] if len(blobs) == 1 else sketches.merge(blobs) for blobs in self._blobs(Group.AMOUNTS, "amounts")]

    def _blobs(self, group: Group, column: str) -> list[list[bytes]]:
        data = self._rows[group]
        result: list[list[bytes]] = [[] for _ in range(len(self.starts))]
        kept, places = self._places(data)
        for row, place in zip(kept.tolist(), places.tolist(), strict=True):
            if data.values[column][row]:
                result[place].append(data.values[column][row])
        return result

    def breakdowns(self, column: str) -> list[list[Slice]]:
        """A breakdown map: (value, payments, gross), most gross first, then by value."""
        if column not in self._slices:
            self._slices[column] = self._merge_slices(column)
        return self._slices[column]

    def _merge_slices(self, column: str) -> list[list[Slice]]:
        data = self._rows[Group.BREAKDOWNS]
        sums: list[dict[str, list[int]]] = [{} for _ in range(len(self.starts))]
        kept, places = self._places(data)
        for row, place in zip(kept.tolist(), places.tolist(), strict=True):
            for value, (payments, gross) in data.values[column][row].items():
                slot = sums[place].setdefault(value, [0, 0])
                slot[0] += payments
                slot[1] += gross
        return [
            sorted(((value, n, gross) for value, (n, gross) in window.items() if n), key=lambda part: (-part[2], part[0]))
            for window in sums
        ]

    def start_texts(self) -> list[str]:
        """The window starts in RFC 3339."""
        texts: list[str] = np.char.add(np.datetime_as_string(self.starts.astype("datetime64[ms]"), unit="s"), "Z").tolist()
        return texts

    def metric(self, metric: Metric) -> list[Value]:
        """A metric's values as an answer shows them: money and points as strings of an integer, counts as int, fractions as float (I10)."""
        if metric.name not in self._metrics:
            self._metrics[metric.name] = self._shown(metric)
        return self._metrics[metric.name]

    def _shown(self, metric: Metric) -> list[Value]:
        values = self._numbers(metric)
        if metric.unit in (Unit.MONEY, Unit.POINTS):
            return list(map(str, values)) if metric.kind is Kind.SUM else [None if value is None else str(value) for value in values]
        return list(values)

    def _numbers(self, metric: Metric) -> Sequence[int | float | None]:
        first, *others = metric.columns
        if metric.kind is Kind.SUM:
            result = self.sums(first)
            for column in others:
                result = result - self.sums(column)
            numbers: list[int] = result.tolist()
            return numbers
        if metric.kind is Kind.RATIO:
            pairs = zip(self.sums(first).tolist(), self.sums(others[0]).tolist(), strict=True)
            divide = _rounded if metric.unit is Unit.MONEY else _fraction
            return [divide(above, below) if below else None for above, below in pairs]
        if metric.kind is Kind.QUANTILE:
            return [None if value is None else round(value) for value in self.quantiles(QUANTILES[metric.name])]
        if metric.kind is Kind.UNIQUE:
            return self.customers()
        return self.extremes(first, largest=metric.kind is Kind.MAX)


def _distinct(blobs: list[bytes]) -> int:
    if len(blobs) == 1:
        return round(float(compact_theta_sketch.deserialize(blobs[0]).get_estimate()))
    union = theta_union(sketches.THETA_LG_K)
    for blob in blobs:
        union.update(compact_theta_sketch.deserialize(blob))
    return round(float(union.get_result().get_estimate()))


def _rounded(above: int, below: int) -> int:
    """Quotient to the nearest integer, halves up."""
    return (2 * above + below) // (2 * below)


def _fraction(above: int, below: int) -> float:
    return above / below
