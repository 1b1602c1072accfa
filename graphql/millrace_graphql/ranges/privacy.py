"""Demographics only where enough customers stand behind them. Pure.

A report holds payments and gross by value, and the distinct customers of the window, but not the customers by value. So a cell's
customers are bounded from below: of the window's C customers at most as many as there are payments outside the cell are not in it.
The best bound of any part of the window holds for the whole: of its days or hours, and of itself.

A cell with fewer than ``least`` customers is withheld. As the totals are known, what is withheld could be had by subtraction:
so as many cells are as have at least ``least`` customers behind them together, which is two or more, and else all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from millrace_contracts import sketches
from millrace_graphql.ranges.merge import Merge, Slice

DEMOGRAPHICS = frozenset({"by_gender", "by_age_band", "by_country"})
"""Breakdowns that tell of people."""
_MARGIN = 4
"""Standard errors that are taken off an estimated number of customers."""


@dataclass(frozen=True)
class Part:
    """A part of a window: its customers, and its payments by value."""

    customers: int
    payments: Mapping[str, int]

    def least_in(self, values: Iterable[str]) -> int:
        """A number of customers that stand behind these values at least."""
        inside = sum(self.payments.get(value, 0) for value in values)
        known = self.customers
        if known > 1 << sketches.THETA_LG_K:
            known = int(known * (1 - _MARGIN * sketches.THETA_STANDARD_ERROR))
        # A cell has no more customers than payments, also where the two were read a moment apart.
        return min(inside, max(0, known - (sum(self.payments.values()) - inside)))


def withheld(slices: Sequence[Slice], parts: Sequence[Part], least: int) -> frozenset[str]:
    """The values of a breakdown that are not to be shown; ``parts`` are the window and parts of it."""

    def behind(values: Iterable[str]) -> int:
        chosen = list(values)
        return max((part.least_in(chosen) for part in parts), default=0)

    customers = {value: behind([value]) for value, _, _ in slices}
    hidden = [value for value in customers if customers[value] < least]
    shown = sorted((value for value in customers if customers[value] >= least), key=lambda value: (customers[value], value))
    while hidden and shown and behind(hidden) < least:
        hidden.append(shown.pop(0))
    return frozenset(hidden)


def shown_slices(merge: Merge, index: int, column: str, least: int) -> tuple[list[Slice], bool]:
    """(the slices of one window that may be shown, whether others are withheld)."""
    slices = merge.breakdowns(column)[index]
    if column not in DEMOGRAPHICS or not slices:
        return slices, False
    hidden = withheld(slices, _parts(merge, index, column), least)
    return [part for part in slices if part[0] not in hidden], bool(hidden)


def _parts(merge: Merge, index: int, column: str) -> list[Part]:
    """The window and parts of it."""
    spans = merge.customer_parts(index)
    bounds = np.array(list(spans), np.int64)
    payments = merge.at(bounds[:, 0], bounds[:, 1]).breakdowns(column)
    pairs = zip(spans.values(), payments, strict=True)
    return [Part(customers, {value: n for value, n, _ in slices}) for customers, slices in pairs]
