"""A range by hour of day and day of week."""

from __future__ import annotations

import graphene

from millrace_graphql.http.execution import Column
from millrace_graphql.ranges.grid import CELLS
from millrace_graphql.schema.freshness import Freshness
from millrace_graphql.schema.inputs import FRESHNESS_DOC, INCLUSIVE_DOC, WHOSE_DOC
from millrace_graphql.schema.metrics import column_fields
from millrace_graphql.schema.scalars import DateTime

GridColumns = type(
    "GridColumns",
    (graphene.ObjectType,),
    {
        "__doc__": "The 168 cells as columns: Monday 0 o'clock, Monday 1 o'clock, and so on. Each merges all its hours of the range.",
        "weekday": graphene.Field(
            graphene.NonNull(graphene.List(graphene.NonNull(graphene.Int))),
            description="1 (Monday) to 7 (Sunday).",
            resolver=lambda grid, info: Column(cell // 24 + 1 for cell in range(CELLS)),
        ),
        "hour": graphene.Field(
            graphene.NonNull(graphene.List(graphene.NonNull(graphene.Int))),
            description="0 to 23 on the wall clock.",
            resolver=lambda grid, info: Column(cell % 24 for cell in range(CELLS)),
        ),
        "occurrences": graphene.Field(
            graphene.NonNull(graphene.List(graphene.NonNull(graphene.Int))),
            description="How many hours of the range lie in the cell: divide sums by it to compare cells.",
            resolver=lambda grid, info: Column(grid.occurrences),
        ),
        **column_fields(lambda grid: grid.cells),
    },
)


class Grid(graphene.ObjectType):  # type: ignore[misc]
    """A range by hour of day and day of week, on the wall clock of a zone."""

    merchant_id = graphene.ID(required=True, description=WHOSE_DOC, resolver=lambda grid, info: grid.series.merchant_id)
    currency = graphene.String(required=True, description="ISO 4217.", resolver=lambda grid, info: grid.series.currency)
    time_zone = graphene.String(required=True, description="IANA name.", resolver=lambda grid, info: grid.series.asked.zone)
    start = graphene.Field(DateTime, required=True, description=INCLUSIVE_DOC, resolver=lambda grid, info: grid.series.asked.start_ms)
    end = graphene.Field(DateTime, required=True, description="Exclusive.", resolver=lambda grid, info: grid.series.asked.end_ms)
    split = graphene.Boolean(
        required=True, description="Whether stored reports lie across the hours of the zone; each counts where it starts."
    )
    cells = graphene.Field(graphene.NonNull(GridColumns), description="The cells.", resolver=lambda grid, info: grid)
    freshness = graphene.Field(graphene.NonNull(Freshness), description=FRESHNESS_DOC, resolver=lambda grid, info: grid.series.freshness)
