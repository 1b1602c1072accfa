"""The largest values of a breakdown."""

from __future__ import annotations

from typing import Any

import graphene

from millrace_graphql.http.execution import Column
from millrace_graphql.schema.inputs import Dimension, Order
from millrace_graphql.schema.scalars import BigInt

MAX_SLICES = 100


class ShareColumns(graphene.ObjectType):  # type: ignore[misc]
    """One value of a breakdown in each window of the series, in the order of `points.start`."""

    payments = graphene.List(graphene.NonNull(graphene.Int), required=True, description="Succeeded payments.")
    gross = graphene.List(graphene.NonNull(BigInt), required=True, description="Sum of their amounts, in minor units.")

    @staticmethod
    def resolve_payments(windows: list[tuple[str, int, int]], info: Any) -> Column:
        """Counts."""
        return Column(n for _, n, _ in windows)

    @staticmethod
    def resolve_gross(windows: list[tuple[str, int, int]], info: Any) -> Column:
        """Digits (I10)."""
        return Column(str(gross) for _, _, gross in windows)


class BreakdownShare(graphene.ObjectType):  # type: ignore[misc]
    """A value of a breakdown and its part of the range; those without the value stand under `unknown`."""

    value = graphene.String(description="The value, such as `card` or `25-34`; null for the rest as one.")
    payments = graphene.Int(required=True, description="Succeeded payments.")
    gross = graphene.Field(BigInt, required=True, description="Sum of their amounts, in minor units.")
    share_of_payments = graphene.Float(description="Its part of all payments of the range, 0 to 1; null without a payment.")
    share_of_gross = graphene.Float(description="Its part of the gross of the range, 0 to 1; null without gross.")
    points = graphene.Field(
        ShareColumns,
        description="The value window by window; null for the rest and for demographics, which single windows do not show.",
        resolver=lambda share, info: share.by_window(),
    )


class Breakdown(graphene.ObjectType):  # type: ignore[misc]
    """The largest values of a breakdown of a range."""

    by = graphene.Field(Dimension, required=True, description="What payments are broken down by.")
    order = graphene.Field(Order, required=True, description="Which values come first.")
    slices = graphene.List(graphene.NonNull(BreakdownShare), required=True, description="The first values.")
    other = graphene.Field(BreakdownShare, description="The values after the first as one; null where there are none.")
    withheld = graphene.Boolean(
        required=True,
        description="Whether values are left out because too few customers stand behind them; they are neither in slices nor in other.",
    )
