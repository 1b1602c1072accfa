"""Types of a report and of a series: column vectors, a capped object form, a connection, totals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import graphene
import numpy as np
from orjson import Fragment

from millrace_graphql.errors import InvalidArgumentError
from millrace_graphql.http.execution import Column
from millrace_graphql.ranges import json_columns
from millrace_graphql.ranges.answers import Series as SeriesData
from millrace_graphql.ranges.breakdown import Breakdown as BreakdownData
from millrace_graphql.ranges.breakdown import Dimension as DimensionData
from millrace_graphql.ranges.breakdown import Order as OrderData
from millrace_graphql.ranges.compare import Comparison as ComparisonData
from millrace_graphql.ranges.merge import Merge
from millrace_graphql.ranges.shifts import Basis as BasisData
from millrace_graphql.schema.breakdown import MAX_SLICES, Breakdown
from millrace_graphql.schema.comparison import Comparison
from millrace_graphql.schema.connection import Edge, Page, connection, from_cursor, page_of, to_cursor
from millrace_graphql.schema.freshness import Freshness
from millrace_graphql.schema.inputs import FRESHNESS_DOC, GRAIN_DOC, INCLUSIVE_DOC, WHOSE_DOC, Basis, Dimension, Grain, Order
from millrace_graphql.schema.metrics import breakdown_fields, column_fields, value_fields
from millrace_graphql.schema.scalars import DateTime
from millrace_graphql.schema.selection import groups_of, limited

MAX_REPORTS = 500
PARTIAL_DOC = "Whether the range holds only a part of this hour, day, week or month."
SPLIT_DOC = "Whether it begins or ends inside a stored report, which counts where it starts; so in zones with an offset as of +05:45."


@dataclass(frozen=True)
class Window:
    """One window of a series."""

    series: SeriesData
    index: int

    @property
    def start_ms(self) -> int:
        """Epoch ms."""
        return int(self.series.points.starts[self.index])

    @property
    def end_ms(self) -> int:
        """Epoch ms, exclusive."""
        return int(self.series.points.ends[self.index])

    @property
    def place(self) -> int:
        """Its place among all windows of the range."""
        return self.series.places[self.index]

    @property
    def min_customers(self) -> int:
        """Customers that stand behind a demographic cell that is shown."""
        return self.series.min_customers


def _of_window(source: Window) -> tuple[Merge, int]:
    return source.series.points, source.index


def _of_total(source: SeriesData) -> tuple[Merge, int]:
    return source.total, 0


def _list_of(item: Any, doc: str, resolver: Any) -> graphene.Field:
    return graphene.Field(graphene.NonNull(graphene.List(graphene.NonNull(item))), description=doc, resolver=resolver)


def _flags(series: SeriesData, flags: list[bool]) -> Column:
    return Column(flags[place] for place in series.places)


SeriesColumns = type(
    "SeriesColumns",
    (graphene.ObjectType,),
    {
        "__doc__": "The windows of a series as columns of equal length: the n-th value of each belongs to the n-th start.",
        "start": _list_of(DateTime, "Starts of the windows.", lambda series, info: Fragment(json_columns.instants(series.points.starts))),
        "end": _list_of(
            DateTime, "Ends of the windows, exclusive.", lambda series, info: Fragment(json_columns.instants(series.points.ends))
        ),
        "partial": _list_of(graphene.Boolean, PARTIAL_DOC, lambda series, info: _flags(series, series.asked.partial)),
        "split": _list_of(graphene.Boolean, SPLIT_DOC, lambda series, info: _flags(series, series.split)),
        "revision": _list_of(
            graphene.Int,
            "Revisions of the windows; that of a longer window is the sum of its parts.",
            lambda series, info: Fragment(json_columns.integers(series.points.sums("revision"))),
        ),
        **column_fields(lambda series: series.points),
    },
)

Report = type(
    "Report",
    (graphene.ObjectType,),
    {
        "__doc__": "The report of one merchant, window and currency.",
        "merchant_id": graphene.ID(required=True, description=WHOSE_DOC, resolver=lambda window, info: window.series.merchant_id),
        "currency": graphene.String(required=True, description="ISO 4217.", resolver=lambda window, info: window.series.currency),
        "grain": graphene.Field(Grain, required=True, description=GRAIN_DOC, resolver=lambda window, info: window.series.asked.grain),
        "start": graphene.Field(DateTime, required=True, description=INCLUSIVE_DOC, resolver=lambda window, info: window.start_ms),
        "end": graphene.Field(DateTime, required=True, description="Exclusive.", resolver=lambda window, info: window.end_ms),
        "partial": graphene.Boolean(
            required=True, description=PARTIAL_DOC, resolver=lambda window, info: window.series.asked.partial[window.place]
        ),
        "split": graphene.Boolean(required=True, description=SPLIT_DOC, resolver=lambda window, info: window.series.split[window.place]),
        "revision": graphene.Int(
            required=True,
            description="Grows with every change that touches the window.",
            resolver=lambda window, info: int(window.series.points.sums("revision")[window.index]),
        ),
        "freshness": graphene.Field(
            graphene.NonNull(Freshness), description=FRESHNESS_DOC, resolver=lambda window, info: window.series.freshness
        ),
        **value_fields(_of_window),
        **breakdown_fields(_of_window),
    },
)
ReportConnection = connection(Report, "Report", counted=True)

Totals = type(
    "Totals",
    (graphene.ObjectType,),
    {
        "__doc__": "The whole range as one window, computed on the server: customers by union, quantiles from merged histograms.",
        **value_fields(_of_total),
        **breakdown_fields(_of_total),
    },
)


class Series(graphene.ObjectType):  # type: ignore[misc]
    """The windows of [start, end) for one merchant and currency."""

    merchant_id = graphene.ID(required=True, description=WHOSE_DOC, resolver=lambda series, info: series.merchant_id)
    currency = graphene.String(required=True, description="ISO 4217.", resolver=lambda series, info: series.currency)
    grain = graphene.Field(Grain, required=True, description=GRAIN_DOC, resolver=lambda series, info: series.asked.grain)
    time_zone = graphene.String(required=True, description="IANA name of the zone whose calendar the windows follow.")
    start = graphene.Field(DateTime, required=True, description=INCLUSIVE_DOC, resolver=lambda series, info: series.asked.start_ms)
    end = graphene.Field(DateTime, required=True, description="Exclusive.", resolver=lambda series, info: series.asked.end_ms)
    points = graphene.Field(graphene.NonNull(SeriesColumns), description="All windows as columns.", resolver=lambda series, info: series)
    reports = graphene.List(
        graphene.NonNull(Report),
        required=True,
        first=graphene.Int(description=f"How many, from the start; at most {MAX_REPORTS}.", default_value=100),
        description="The first windows as objects; for charts take `points`, which is a hundred times cheaper.",
    )
    report_connection = graphene.Field(
        graphene.NonNull(ReportConnection),
        first=graphene.Int(description=f"How many from the start, or after a cursor; at most {MAX_REPORTS}."),
        after=graphene.String(description="Only windows after this cursor."),
        last=graphene.Int(description=f"How many from the end, or before a cursor; at most {MAX_REPORTS}."),
        before=graphene.String(description="Only windows before this cursor."),
        description="The windows as objects, page by page.",
    )
    totals = graphene.Field(graphene.NonNull(Totals), description="The whole range as one window.", resolver=lambda series, info: series)
    breakdown = graphene.Field(
        graphene.NonNull(Breakdown),
        by=Dimension(required=True, description="What payments are broken down by."),
        first=graphene.Int(default_value=5, required=True, description=f"How many values; at most {MAX_SLICES}."),
        order=Order(default_value=OrderData.GROSS, required=True, description="Which values come first."),
        description="The largest values of a breakdown of the whole range, and the rest as one.",
    )
    comparison = graphene.Field(
        graphene.NonNull(Comparison),
        basis=Basis(default_value=BasisData.PREVIOUS_PERIOD, required=True, description="Which earlier period."),
        description="The range beside an earlier period. One that is still running is compared as far as the analysis has come.",
    )
    currencies = graphene.List(
        graphene.NonNull(graphene.String),
        required=True,
        description="Every currency with a payment, refund or failure in the range; sums never mix them.",
        resolver=lambda series, info: series.currencies,
    )
    freshness = graphene.Field(graphene.NonNull(Freshness), description=FRESHNESS_DOC, resolver=lambda series, info: series.freshness)

    @staticmethod
    async def resolve_time_zone(series: SeriesData, info: Any) -> str:
        """The zone."""
        return await info.context.queries.zone_in(series)  # type: ignore[no-any-return]

    @staticmethod
    def resolve_reports(series: SeriesData, info: Any, first: int) -> list[Window]:
        """The first windows."""
        limited("first", first, MAX_REPORTS, ", or take points")
        return [Window(series, index) for index in range(min(first, len(series.points.starts)))]

    @staticmethod
    def resolve_report_connection(
        series: SeriesData,
        info: Any,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
    ) -> Page[Window]:
        """One page."""
        if first is None and last is None:
            first = 100
        for name, value in (("first", first), ("last", last)):
            if value is not None:
                limited(name, value, MAX_REPORTS)
        count = len(series.points.starts)
        bounds = (_place(series, "after", after, "right") if after else 0, _place(series, "before", before, "left") if before else count)
        low, high = page_of(first, last, *bounds)
        starts = series.points.starts[low:high].tolist()
        edges = [Edge(to_cursor(str(start)), Window(series, low + index)) for index, start in enumerate(starts)]
        return Page(edges, high < count, low > 0, count)

    @staticmethod
    def resolve_breakdown(series: SeriesData, info: Any, by: Any, first: int, order: Any) -> BreakdownData:
        """The first values."""
        return BreakdownData(series, DimensionData(by), limited("first", first, MAX_SLICES), OrderData(order))

    @staticmethod
    async def resolve_comparison(series: SeriesData, info: Any, basis: Any) -> ComparisonData:
        """The comparison."""
        return await info.context.queries.comparison(series, BasisData(basis), groups_of(info))  # type: ignore[no-any-return]


def _place(series: SeriesData, name: str, cursor: str, side: Any) -> int:
    key = from_cursor(name, cursor)
    if not key.isascii() or not key.isdigit() or len(key) > 15:
        raise InvalidArgumentError(name, cursor, "is not a cursor of this list", "take one from pageInfo or an edge")
    return int(np.searchsorted(series.points.starts, int(key), side=side))
