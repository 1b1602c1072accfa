"""Fair comparison: which earlier windows stand against those of a range, and how a value changed. Pure.

Earlier days are days of the calendar of the same zone, so that a 23-hour day stands against a whole day and 9 o'clock against
9 o'clock. A period that is still running is compared as far as the analysis is complete, and its counterpart no further.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from millrace_contracts.metrics import Metric
from millrace_contracts.windows import WINDOW_MS
from millrace_graphql.ranges.answers import Series
from millrace_graphql.ranges.calendar import Preset
from millrace_graphql.ranges.columns import Ints, Rows
from millrace_graphql.ranges.merge import Merge, Number
from millrace_graphql.ranges.shifts import Basis, shift_for, shifted


class ChangeKind(StrEnum):
    """How a value changed."""

    UP = "UP"
    DOWN = "DOWN"
    FLAT = "FLAT"
    NEW = "NEW"
    GONE = "GONE"


@dataclass(frozen=True)
class Windows:
    """The windows of a comparison: the n-th earlier one stands against the n-th current one."""

    now_starts: Ints
    now_ends: Ints
    then_starts: Ints
    then_ends: Ints

    def edges(self) -> Ints:
        """Every instant that bounds an earlier window."""
        return np.unique(np.concatenate((self.then_starts, self.then_ends)))


@dataclass(frozen=True)
class Plan:
    """What is read for a comparison. ``through_ms`` is how far into the period both sides go; None while nothing is complete."""

    basis: Basis
    points: Windows
    total: Windows
    through_ms: int | None

    @property
    def start_ms(self) -> int:
        """Start of the earlier period."""
        return int(self.total.then_starts[0])

    @property
    def end_ms(self) -> int:
        """End of the earlier period, as far as it is compared."""
        return int(self.total.then_ends[0])

    def edges(self) -> Ints:
        """Bounds of every earlier window."""
        return np.unique(np.concatenate((self.points.edges(), self.total.edges())))


def plan(series: Series, zone: str, basis: Basis, preset: Preset | None) -> Plan:
    """The windows that stand against those of a series."""
    asked, back = series.asked, shift_for(series.asked, zone, basis, preset)
    through = series.freshness.complete_through_ms
    cut = min(asked.end_ms, through - through % WINDOW_MS) if through is not None else asked.start_ms
    cut = max(cut, asked.start_ms)
    starts, ends = series.points.starts, series.points.ends
    bounds = np.concatenate((starts, ends, np.array([asked.start_ms, asked.end_ms, cut], np.int64)))
    earlier = shifted(bounds, zone, back)
    then_starts, then_ends, (start, _, then_cut) = earlier[: len(starts)], earlier[len(starts) : -3], earlier[-3:].tolist()
    running = (starts < cut) & (ends > cut)
    points = Windows(starts, np.minimum(ends, np.maximum(cut, starts)), then_starts, np.where(running, then_cut, then_ends))
    total = Windows(*(np.array([ms], np.int64) for ms in (asked.start_ms, cut, start, then_cut)))
    return Plan(basis, points, total, cut if cut > asked.start_ms else None)


@dataclass(frozen=True)
class Compared:
    """Values beside earlier values, window by window."""

    now: Merge
    then: Merge
    windows: Windows

    def values(self, metric: Metric) -> list[Number]:
        """The current values; None where the analysis has not come to the window."""
        return _where(self.now.numbers(metric), self.windows.now_ends > self.windows.now_starts)

    def previous(self, metric: Metric) -> list[Number]:
        """The earlier values; None where there was no such window."""
        return _where(self.then.numbers(metric), self.windows.then_ends > self.windows.then_starts)

    @cached_property
    def paired(self) -> NDArray[np.bool_]:
        """Where both sides have a window."""
        both: NDArray[np.bool_] = (self.windows.now_ends > self.windows.now_starts) & (self.windows.then_ends > self.windows.then_starts)
        return both

    def changes(self, metric: Metric) -> list[tuple[float | None, ChangeKind | None]]:
        """(relative change, kind) of each window; (None, None) where a side has no window."""
        rows = zip(self.now.numbers(metric), self.then.numbers(metric), self.paired.tolist(), strict=True)
        return [change(value, previous) if paired else (None, None) for value, previous, paired in rows]


@dataclass(frozen=True)
class Comparison:
    """A series beside an earlier period."""

    series: Series
    plan: Plan
    points: Compared
    total: Compared

    @classmethod
    def of(cls, series: Series, plan: Plan, earlier: Rows) -> Comparison:
        """The comparison with the reports of the earlier period."""
        rows = {group: data.of(series.currency) for group, data in earlier.items()}

        def compared(windows: Windows) -> Compared:
            now = series.points.at(windows.now_starts, windows.now_ends)
            return Compared(now, Merge(rows, windows.then_starts, windows.then_ends), windows)

        return cls(series, plan, compared(plan.points), compared(plan.total))


def _where(values: list[Number], there: NDArray[np.bool_]) -> list[Number]:
    return [value if exists else None for value, exists in zip(values, there.tolist(), strict=True)]


def change(value: Number, previous: Number) -> tuple[float | None, ChangeKind | None]:
    """(change as a fraction of the earlier value, its kind). From nothing it is NEW and has no fraction, to nothing it is GONE."""
    if value is None and previous is None:
        return None, None
    if not previous:
        return None, ChangeKind.NEW if value and value > 0 else ChangeKind.DOWN if value else ChangeKind.FLAT
    if not value:
        return -1.0 if previous > 0 else 1.0, ChangeKind.GONE
    kind = ChangeKind.UP if value > previous else ChangeKind.DOWN if value < previous else ChangeKind.FLAT
    return (value - previous) / abs(previous), kind
