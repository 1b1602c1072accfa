"""The largest values of a breakdown, and the rest as one. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from millrace_contracts.facts import DIMENSIONS
from millrace_graphql.ranges.answers import Series
from millrace_graphql.ranges.merge import Slice
from millrace_graphql.ranges.privacy import DEMOGRAPHICS, shown_slices

Dimension = StrEnum("Dimension", {name.upper(): name for name in DIMENSIONS})  # type: ignore[misc]


class Order(StrEnum):
    """Which values come first."""

    GROSS = "GROSS"
    PAYMENTS = "PAYMENTS"


@dataclass(frozen=True)
class Share:
    """A value of a breakdown and its part of the whole range; ``share`` of gross or of payments is None of nothing."""

    breakdown: Breakdown
    value: str | None
    payments: int
    gross: int

    @property
    def share_of_payments(self) -> float | None:
        """Its part of all payments."""
        whole = int(self.breakdown.series.total.sums("payments")[0])
        return self.payments / whole if whole else None

    @property
    def share_of_gross(self) -> float | None:
        """Its part of the gross of all payments."""
        whole = int(self.breakdown.series.total.sums("gross")[0])
        return self.gross / whole if whole else None

    def by_window(self) -> list[Slice] | None:
        """The value in each window of the series; None of demographics, whose windows are too small, and of the rest."""
        column = self.breakdown.column
        if column in DEMOGRAPHICS or self.value is None:
            return None
        windows = self.breakdown.series.points.breakdowns(column)
        return [next((part for part in window if part[0] == self.value), (self.value, 0, 0)) for window in windows]


@dataclass(frozen=True)
class Breakdown:
    """The first values of a breakdown of a range."""

    series: Series
    by: Dimension
    first: int
    order: Order

    @property
    def column(self) -> str:
        """The report column."""
        return f"by_{self.by.value}"

    @cached_property
    def _shown(self) -> tuple[list[Slice], bool]:
        slices, withheld = shown_slices(self.series.total, 0, self.column, self.series.min_customers)
        size = 2 if self.order is Order.GROSS else 1
        return sorted(slices, key=lambda part: (-int(part[size]), part[0])), withheld

    @property
    def withheld(self) -> bool:
        """Whether values are left out because too few customers stand behind them."""
        return self._shown[1]

    @property
    def slices(self) -> list[Share]:
        """The first values."""
        return [Share(self, *part) for part in self._shown[0][: self.first]]

    @property
    def other(self) -> Share | None:
        """The shown values after the first ones as one; None where there are none."""
        rest = self._shown[0][self.first :]
        return Share(self, None, sum(n for _, n, _ in rest), sum(gross for _, _, gross in rest)) if rest else None
