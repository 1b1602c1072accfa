"""What an answer is made of: the windows of a range, their total, and how fresh they are. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

import numpy as np

from millrace_contracts.windows import WINDOW_MS
from millrace_graphql.ranges.calendar import Grain, Preset
from millrace_graphql.ranges.columns import Group, Ints, Rows
from millrace_graphql.ranges.directory import Progress
from millrace_graphql.ranges.merge import Merge
from millrace_graphql.ranges.plan import Range, closed_at


@dataclass(slots=True, unsafe_hash=True)
class Asked:
    """A range as a caller asks for it: ``start`` and ``end``, or a ``preset``. ``zone`` is the merchant's where it is left out."""

    start: datetime | None = None
    end: datetime | None = None
    preset: Preset | None = None
    grain: Grain = Grain.TEN_MINUTES
    zone: str | None = None
    currency: str | None = None
    sparse: bool = False


@dataclass(slots=True)
class Freshness:
    """How fresh and complete an answer is (I13)."""

    progress: Progress
    asked: Range | None = None
    rolled_up: bool = False
    """Whether stored hours and days stand in the answer, so that it is no more complete than they are."""
    counted: Callable[[], int] | None = None
    """Counts the revision; asked only where an answer shows it."""

    @property
    def revision(self) -> int | None:
        """How many fact versions stand behind the answer; it grows with every change that touches it."""
        return self.counted() if self.counted is not None else None

    @property
    def complete_through_ms(self) -> int | None:
        """Every change committed up to here is in the answer; None before the first."""
        reports, rollups = self.progress.complete_through_ms, self.progress.rollups_through_ms
        return min(reports, rollups) if self.rolled_up and reports is not None and rollups is not None else reports

    def missing(self) -> list[int]:
        """Starts of the range's windows that changes may still reach because the analysis has not read past their end."""
        if self.asked is None:
            return []
        through = self.complete_through_ms
        if through is None:
            starts: list[int] = self.asked.starts.tolist()
            return starts
        late: list[int] = self.asked.starts[int(np.searchsorted(closed_at(self.asked.ends), through, side="right")) :].tolist()
        return late


@dataclass(eq=False)
class Series:
    """The windows of a range for one merchant and currency."""

    merchant_id: str
    currency: str
    asked: Range
    sparse: bool
    rows: Rows
    read: Freshness
    min_customers: int = 10
    """A demographic cell with fewer customers is withheld."""
    question: Asked = field(default_factory=Asked)
    torn: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """Starts of the 10-minute reports that lie across an edge and have no parts: each counts where it starts."""

    @cached_property
    def points(self) -> Merge:
        """The range window by window."""
        return Merge.of(self.rows, self.asked, self.currency, sparse=self.sparse)

    @cached_property
    def total(self) -> Merge:
        """The whole range as one window."""
        return self.points.total(self.asked)

    @property  # kept, it would close a cycle, and what was read would lie about until the garbage collector comes by
    def freshness(self) -> Freshness:
        """How fresh and complete the answer is (I13)."""
        return Freshness(self.read.progress, self.asked, self.read.rolled_up, lambda: int(self.total.sums("revision")[0]))

    @cached_property
    def split(self) -> list[bool]:
        """For each window of the range whether it begins or ends inside a report that has no parts."""
        edges = self.asked.edges
        cut = np.isin(windows := edges - edges % WINDOW_MS, self.torn) & (windows != edges)
        flags: list[bool] = (cut[:-1] | cut[1:]).tolist()
        return flags

    @cached_property
    def places(self) -> list[int]:
        """For each point its place among all windows of the range."""
        found: list[int] = np.searchsorted(self.asked.starts, self.points.starts).tolist()
        return found

    @cached_property
    def currencies(self) -> list[str]:
        """Every currency with a fact in the range."""
        counters = self.rows[Group.COUNTERS].between(self.asked.start_ms, self.asked.end_ms)
        happened = (counters.values["payments"] | counters.values["refunds"] | counters.values["failed"]) != 0
        return [str(name) for name in np.unique(counters.currencies[happened])]
