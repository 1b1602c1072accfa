"""New and returning customers by day."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphene
from orjson import Fragment

from millrace_contracts.metrics import CUSTOMER_METRICS, Metric
from millrace_graphql.http.execution import Column
from millrace_graphql.ranges import json_columns
from millrace_graphql.ranges.customer_days import CustomerDays as CustomerDaysData
from millrace_graphql.schema.freshness import Freshness
from millrace_graphql.schema.inputs import INCLUSIVE_DOC, WHOSE_DOC
from millrace_graphql.schema.metrics import SCALARS, description
from millrace_graphql.schema.scalars import DateTime


def _column(metric: Metric) -> Callable[[CustomerDaysData, Any], Column]:
    return lambda days, info: Column(days.column(metric))


def _instants(of: Callable[[CustomerDaysData], Any], doc: str) -> graphene.Field:
    return graphene.Field(
        graphene.NonNull(graphene.List(graphene.NonNull(DateTime))),
        description=doc,
        resolver=lambda days, info: Fragment(json_columns.instants(of(days))),
    )


CustomerDayColumns = type(
    "CustomerDayColumns",
    (graphene.ObjectType,),
    {
        "__doc__": "The days as columns of equal length; null of a day that is not counted yet.",
        "start": _instants(lambda days: days.asked.starts, "Starts of the days."),
        "end": _instants(lambda days: days.asked.ends, "Ends of the days, exclusive."),
        **{
            metric.name: graphene.Field(
                graphene.NonNull(graphene.List(SCALARS[metric.unit])),
                name=metric.name,
                description=description(metric),
                resolver=_column(metric),
            )
            for metric in CUSTOMER_METRICS
        },
    },
)
CustomerTotals = type(
    "CustomerTotals",
    (graphene.ObjectType,),
    {
        "__doc__": "The days that are counted as one, computed on the server; null where none is counted yet.",
        **{
            metric.name: graphene.Field(SCALARS[metric.unit], name=metric.name, description=description(metric))
            for metric in CUSTOMER_METRICS
        },
    },
)


class CustomerDays(graphene.ObjectType):  # type: ignore[misc]
    """New and returning customers by day of the merchant's own calendar, over all currencies."""

    merchant_id = graphene.ID(required=True, description=WHOSE_DOC)
    time_zone = graphene.String(
        required=True, description="The merchant's IANA zone, whose days are counted.", resolver=lambda days, info: days.asked.zone
    )
    start = graphene.Field(DateTime, required=True, description=INCLUSIVE_DOC, resolver=lambda days, info: days.asked.start_ms)
    end = graphene.Field(DateTime, required=True, description="Exclusive.", resolver=lambda days, info: days.asked.end_ms)
    points = graphene.Field(graphene.NonNull(CustomerDayColumns), description="Day by day.", resolver=lambda days, info: days)
    totals = graphene.Field(graphene.NonNull(CustomerTotals), description="The counted days as one.")
    freshness = graphene.Field(graphene.NonNull(Freshness), description="Of the counts; days are counted once they have ended.")

    @staticmethod
    async def resolve_totals(days: CustomerDaysData, info: Any) -> dict[str, int | None]:
        """The whole."""
        return await info.context.queries.customer_totals(days)  # type: ignore[no-any-return]
