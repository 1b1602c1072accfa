"""New and returning customers by day of the merchant's calendar: which days are counted, and what adds up over them. Pure.

A day is counted once the customers' job has read past its end. Before that it has no values and stands among the missing days (I13): a
zero would say that nobody came. A counted day without a row is one on which nobody paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from millrace_contracts.metrics import CUSTOMER_METRICS, Metric
from millrace_graphql.ranges.answers import Freshness
from millrace_graphql.ranges.columns import Ints
from millrace_graphql.ranges.directory import Progress
from millrace_graphql.ranges.plan import Range, closed_at

COLUMNS = tuple(column for metric in CUSTOMER_METRICS for column in metric.columns)
READ = (*COLUMNS, "revision")


class Counts(Protocol):
    """Where the counts are read from."""

    async def customer_days(self, merchant_id: str, start_ms: int, end_ms: int) -> tuple[Ints, Mapping[str, Ints]]:
        """Starts of the days in [start, end) that have a row, ascending, and their ``READ``."""


@dataclass(frozen=True)
class CustomerDays:
    """The days of a range. ``values`` has a number a counted day, and the days that are counted come first."""

    merchant_id: str
    asked: Range
    values: Mapping[str, Ints]
    freshness: Freshness

    @classmethod
    def of(cls, merchant_id: str, asked: Range, rows: tuple[Ints, Mapping[str, Ints]], progress: Progress) -> CustomerDays:
        """The days of a range from the rows of some of them; ``progress`` is that of the counts, read before the rows."""
        starts, columns = rows
        if progress.days_of(asked.zone) is None or not np.isin(starts, asked.starts).all():
            # Days of another calendar: the merchant's zone, or its rules, have changed, and the job has not counted by the new ones yet.
            progress = replace(progress, complete_through_ms=None)
        through = progress.complete_through_ms
        counted = 0 if through is None else int(np.searchsorted(closed_at(asked.ends), through, side="right"))
        places = np.searchsorted(asked.starts, starts)
        kept = places < counted
        values = {name: np.zeros(counted, np.int64) for name in COLUMNS}
        for name, column in values.items():
            column[places[kept]] = columns[name][kept]
        revision = int(columns["revision"][kept].sum())
        return cls(merchant_id, asked, values, Freshness(progress, asked, counted=lambda: revision))

    @property
    def counted(self) -> Ints:
        """The edges of the days that are counted: one more than there are; none where none is."""
        days = len(self.values[COLUMNS[0]])
        return self.asked.edges[: days + 1] if days else self.asked.edges[:0]

    def column(self, metric: Metric) -> list[int | None]:
        """A metric's value a day; None of a day that is not counted yet."""
        known: list[int] = self.values[metric.columns[0]].tolist()
        return [*known, *[None] * (self.asked.windows - len(known))]

    def totals(self, distinct: int) -> dict[str, int | None]:
        """Of the counted days as one, by metric; ``distinct`` customers have paid on them. Every value is None where none is counted.

        New customers add up, since each is new once. Returning ones do not: who comes on two days is one customer, and who is new on
        one day of the range and back on another is a new one of the range.
        """
        if not len(self.counted):
            return dict.fromkeys((metric.name for metric in CUSTOMER_METRICS), None)
        new = int(self.values["new_customers"].sum())
        customers = max(distinct, new)  # the one is an estimate above 4,096, the other exact
        return {"customers": customers, "newCustomers": new, "returningCustomers": customers - new}
