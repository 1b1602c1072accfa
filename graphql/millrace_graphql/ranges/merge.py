"""Merging reports into longer windows: sums, extremes, maps and sketches. Pure.

Only what is additive is added: distinct customers come from the union of their sketches and quantiles from merged histograms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import orjson
from datasketches import compact_theta_sketch, theta_union
from numpy.typing import NDArray

from millrace_contracts import sketches
from millrace_contracts.metrics import Kind, Metric, Unit
from millrace_graphql.ranges import json_columns
from millrace_graphql.ranges.calendar import HOUR_MS
from millrace_graphql.ranges.columns import Group, Ints, Rows, Table
from millrace_graphql.ranges.histograms import Histograms
from millrace_graphql.ranges.plan import DAY_MS, Range

QUANTILES = {"medianAmount": 0.5, "p95Amount": 0.95}
Slice = tuple[str, int, int]
"""A value of a breakdown with its payments and gross."""
Number = int | float | None
Value = int | float | str | None


class Merge:
    """The reports of one merchant and currency, in time order, merged into the windows [starts[i], ends[i]).

    A report belongs to every window that its start falls in; windows may overlap. Every method gives one value a window.
    """

    def __init__(self, rows: Rows, starts: Ints, ends: Ints, *, apart: bool = False) -> None:
        """``apart``: it is known that each window has a length and none overlaps another."""
        self._rows = rows
        self._apart = apart
        self.starts = starts
        self.ends = ends
        self._bounds: dict[Group, tuple[Ints, Ints]] = {}
        self._numbers: dict[str, list[Number]] = {}
        self._slices: dict[str, list[list[Slice]]] = {}
        self._customer_parts: dict[int, Mapping[tuple[int, int], int]] = {}

    @classmethod
    def of(cls, rows: Rows, asked: Range, currency: str, *, sparse: bool) -> Merge:
        """The windows of a range: all of them, or with ``sparse`` those in which something happened."""
        chosen = {group: data.between(asked.start_ms, asked.end_ms).of(currency) for group, data in rows.items()}
        if not sparse:
            return cls(chosen, asked.starts, asked.ends, apart=True)
        counters = chosen[Group.COUNTERS]
        # A report of zeros is what retracting a window's last fact leaves; nothing happened there.
        happened = (counters.values["payments"] | counters.values["refunds"] | counters.values["failed"]) != 0
        places = np.unique(np.searchsorted(asked.edges, counters.starts[happened], side="right") - 1)
        return cls(chosen, asked.starts[places], asked.ends[places])

    def total(self, asked: Range) -> Merge:
        """The whole range as one window."""
        return self.within(asked.start_ms, asked.end_ms)

    def within(self, start_ms: int, end_ms: int) -> Merge:
        """Any part of the range as one window."""
        return Merge(self._rows, np.array([start_ms], np.int64), np.array([end_ms], np.int64))

    def at(self, starts: Ints, ends: Ints) -> Merge:
        """Other windows over the same reports."""
        return Merge(self._rows, starts, ends)

    def _places(self, group: Group) -> tuple[Ints, Ints]:
        """Of each window (the first of its rows, the row after its last)."""
        if group not in self._bounds:
            data = self._rows[group]
            self._bounds[group] = np.searchsorted(data.starts, self.starts), np.searchsorted(data.starts, self.ends)
        return self._bounds[group]

    @cached_property
    def _one_each(self) -> bool:
        """Whether the n-th report is the only one of the n-th window, as in a full day of one currency."""
        starts = self._rows[Group.COUNTERS].starts
        if len(starts) != len(self.starts) or starts.tobytes() != self.starts.tobytes():
            return False
        return self._apart or bool((self.ends > self.starts).all() and (self.ends[:-1] <= self.starts[1:]).all())

    def sums(self, column: str) -> Ints:
        """Sum of a counter."""
        if self._one_each:
            whole: Ints = self._rows[Group.COUNTERS].values[column]
            return whole
        low, high = self._places(Group.COUNTERS)
        running = np.append(0, np.cumsum(self._rows[Group.COUNTERS].values[column], dtype=np.int64))
        result: Ints = running[high] - running[low]
        return result

    def extremes(self, column: str, *, largest: bool) -> list[int | None]:
        """Smallest or largest payment; windows without a payment hold 0 in the store, which is no amount, and give None."""
        values, paid = self._extremes(column, largest=largest)
        return [value if known else None for value, known in zip(values.tolist(), paid.tolist(), strict=True)]

    def _extremes(self, column: str, *, largest: bool) -> tuple[Ints, NDArray[np.bool_]]:
        """(amounts, whether each window has a payment)."""
        data = self._rows[Group.COUNTERS]
        paid = data.values["payments"] > 0
        if self._one_each:
            return data.values[column], paid
        starts = data.starts[paid]
        low, high = np.searchsorted(starts, self.starts), np.searchsorted(starts, self.ends)
        pairs = np.column_stack((low, high)).ravel()
        # One value more, so that a window may begin after the last row; an empty window's value is not taken.
        values = np.append(data.values[column][paid], 0)
        result = (np.maximum if largest else np.minimum).reduceat(values, pairs)[::2] if len(pairs) else values[:0]
        return result, high > low

    def customers(self) -> list[int]:
        """Distinct customers, by union of the theta sketches."""
        return [distinct(blobs) for blobs in self.blobs(Group.CUSTOMERS, "customers")]

    def quantiles(self, q: float) -> list[float | None]:
        """A quantile of the payment amounts, from the merged histograms."""
        return self._histograms.quantiles(q)

    @cached_property
    def _histograms(self) -> Histograms:
        return Histograms.of(self.blobs(Group.AMOUNTS, "amounts"))

    def customer_parts(self, index: int) -> Mapping[tuple[int, int], int]:
        """Distinct customers by [start, end): of one window, of its days of UTC, and of the hours of a window of a day at most."""
        if index not in self._customer_parts:
            span = int(self.starts[index]), int(self.ends[index])
            step = DAY_MS if span[1] - span[0] > DAY_MS else HOUR_MS
            bounds = np.unique(np.clip(np.arange(span[0] - span[0] % step, span[1] + step, step, dtype=np.int64), *span))
            parts = self.at(np.append(bounds[:-1], span[0]), np.append(bounds[1:], span[1]))
            spans = zip(parts.starts.tolist(), parts.ends.tolist(), strict=True)
            self._customer_parts[index] = dict(zip(spans, parts.customers(), strict=True))
        return self._customer_parts[index]

    def blobs(self, group: Group, column: str) -> list[list[bytes]]:
        """The sketches of each window's reports."""
        low, high = self._places(group)
        values = self._rows[group].values[column]
        return [[blob for blob in values[first:after] if blob] for first, after in zip(low.tolist(), high.tolist(), strict=True)]

    def breakdowns(self, column: str) -> list[list[Slice]]:
        """A breakdown map: (value, payments, gross), most gross first, then by value."""
        if column not in self._slices:
            low, high = self._places(Group.BREAKDOWNS)
            values = self._rows[Group.BREAKDOWNS].values[column]
            self._slices[column] = [_slices(values[first:after]) for first, after in zip(low.tolist(), high.tolist(), strict=True)]
        return self._slices[column]

    def start_texts(self) -> list[str]:
        """The window starts in RFC 3339."""
        return instant_texts(self.starts)

    def metric(self, metric: Metric) -> list[Value]:
        """A metric's values as an answer shows them: money and points as strings of an integer, counts as int, fractions as float (I10)."""
        return [shown(metric, value) for value in self.numbers(metric)]

    def column(self, metric: Metric) -> bytes:
        """``metric`` as JSON; a sum is written without a Python object for each value."""
        if metric.kind in (Kind.MIN, Kind.MAX):
            return json_columns.digits(*self._extremes(metric.columns[0], largest=metric.kind is Kind.MAX))
        if metric.kind is not Kind.SUM:
            return orjson.dumps(self.metric(metric))
        write = json_columns.digits if metric.unit in (Unit.MONEY, Unit.POINTS) else json_columns.integers
        return write(self._sum(metric))

    def numbers(self, metric: Metric) -> list[Number]:
        """A metric's values as numbers; money and points are integers."""
        if metric.name not in self._numbers:
            self._numbers[metric.name] = list(self._computed(metric))
        return self._numbers[metric.name]

    def _sum(self, metric: Metric) -> Ints:
        first, *others = metric.columns
        result = self.sums(first)
        for column in others:
            result = result - self.sums(column)
        return result

    def _computed(self, metric: Metric) -> Sequence[Number]:
        first, *others = metric.columns
        if metric.kind is Kind.SUM:
            numbers: list[int] = self._sum(metric).tolist()
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


def shown(metric: Metric, value: Number) -> Value:
    """A number as an answer shows it: money and points as digits in a string (I10)."""
    return str(value) if value is not None and metric.unit in (Unit.MONEY, Unit.POINTS) else value


def instant_texts(instants: Ints) -> list[str]:
    """Instants in RFC 3339, in UTC, to the second."""
    texts: list[str] = np.char.add(np.datetime_as_string(instants.astype("datetime64[ms]"), unit="s"), "Z").tolist()
    return texts


def distinct(blobs: list[bytes]) -> int:
    """How many customers stand behind several sketches."""
    if not blobs:
        return 0
    if len(blobs) == 1:
        return round(float(compact_theta_sketch.deserialize(blobs[0]).get_estimate()))
    union = theta_union(sketches.THETA_LG_K)
    for blob in blobs:
        union.update(compact_theta_sketch.deserialize(blob))
    return round(float(union.get_result().get_estimate()))


def _slices(maps: Sequence[dict[str, list[int]]]) -> list[Slice]:
    sums: dict[str, list[int]] = {}
    for counts in maps:
        for value, (payments, gross) in counts.items():
            slot = sums.setdefault(value, [0, 0])
            slot[0] += payments
            slot[1] += gross
    return sorted(((value, n, gross) for value, (n, gross) in sums.items() if n), key=lambda part: (-part[2], part[0]))


def _rounded(above: int, below: int) -> int:
    """Quotient to the nearest integer, halves up."""
    return (2 * above + below) // (2 * below)


def _fraction(above: int, below: int) -> float:
    return above / below


def regrouped(rows: Rows, keys: dict[Group, Ints]) -> Rows:
    """The reports under other keys than their starts, in the order of these keys."""
    result: dict[Group, Table] = {}
    for group, data in rows.items():
        order = np.argsort(keys[group], kind="stable")
        result[group] = Table(keys[group][order], data.currencies[order], {name: _picked(data.values[name], order) for name in data.values})
    return result


def _picked(column: Sequence[object], order: Ints) -> object:
    return column[order] if isinstance(column, np.ndarray) else [column[row] for row in order.tolist()]
