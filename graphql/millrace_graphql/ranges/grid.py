"""Hour of day by day of week: every report of a range merged into one of 168 cells of the wall clock. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from millrace_graphql.ranges.answers import Series
from millrace_graphql.ranges.columns import Ints
from millrace_graphql.ranges.merge import Merge, regrouped
from millrace_graphql.ranges.zones import DAY_MS, Offsets, offsets

CELLS = 7 * 24
HOUR_MS = 3_600_000


@dataclass(frozen=True)
class Grid:
    """The 168 cells, Monday 0 o'clock first. ``series`` has windows of one hour of its zone."""

    series: Series

    @cached_property
    def _offsets(self) -> Offsets:
        asked = self.series.asked
        return offsets(asked.zone, asked.start_ms - DAY_MS, asked.end_ms)

    def _cells(self, instants: Ints) -> Ints:
        local = self._offsets.local(instants)
        # 1970-01-01 was a Thursday.
        result: Ints = (local // DAY_MS + 3) % 7 * 24 + local % DAY_MS // HOUR_MS
        return result

    @cached_property
    def cells(self) -> Merge:
        """The metrics of each cell: all its hours as one window."""
        asked, series = self.series.asked, self.series
        rows = {group: data.between(asked.start_ms, asked.end_ms).of(series.currency) for group, data in series.rows.items()}
        numbers = np.arange(CELLS + 1, dtype=np.int64)
        keyed = regrouped(rows, {group: self._cells(data.starts) for group, data in rows.items()})
        return Merge(keyed, numbers[:-1], numbers[1:])

    @cached_property
    def occurrences(self) -> list[int]:
        """How many hours of the range lie in each cell."""
        counts: list[int] = np.bincount(self._cells(self.series.asked.starts), minlength=CELLS).tolist()
        return counts

    @property
    def split(self) -> bool:
        """Whether 10-minute reports without parts lie across the hours of the zone; each counts where it starts."""
        return any(self.series.split)
