"""Types of a report and of a series: column vectors, a capped object form, totals, freshness."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import graphene

from millrace_contracts.windows import Grain as StoredGrain
from millrace_graphql.errors import InvalidArgumentError
from millrace_graphql.http.execution import Column
from millrace_graphql.ranges.merge import Merge
from millrace_graphql.ranges.plan import iso
from millrace_graphql.ranges.query import Freshness as FreshnessData
from millrace_graphql.ranges.query import Series as SeriesData
from millrace_graphql.schema.metrics import breakdown_fields, column_fields, value_fields
from millrace_graphql.schema.scalars import DateTime

MAX_REPORTS = 500
_GRAIN_DOCS = {
    "TEN_MINUTES": "Windows of ten minutes, as reports are stored.",
    "HOUR": "Hours of UTC, merged from ten-minute reports.",
    "DAY": "Days of UTC, merged from ten-minute reports.",
}
Grain = graphene.Enum.from_enum(
    StoredGrain, name="Grain", description=lambda value: _GRAIN_DOCS[value.name] if value else "Length of a window."
)


@dataclass(frozen=True)
class Window:
    """One window of a series."""

    series: SeriesData
    index: int

    @property
    def start_ms(self) -> int:
        """Epoch ms."""
        return int(self.series.points.starts[self.index])


class Freshness(graphene.ObjectType):  # type: ignore[misc]
    """How fresh and complete an answer is."""

    as_of = graphene.Field(
        DateTime, required=True, description="When the store was asked how far the analysis is; the reports are not older."
    )
    complete_through = graphene.Field(DateTime, description="Every change committed up to here is in the answer; null before the first.")
    missing = graphene.List(
        graphene.NonNull(DateTime), required=True, description="Starts of the answer's windows that end after completeThrough."
    )

    @staticmethod
    def resolve_as_of(source: FreshnessData, info: Any) -> int:
        """Epoch ms."""
        return source.progress.as_of_ms

    @staticmethod
    def resolve_complete_through(source: FreshnessData, info: Any) -> int | None:
        """Epoch ms."""
        return source.progress.complete_through_ms

    @staticmethod
    def resolve_missing(source: FreshnessData, info: Any) -> Column:
        """Starts as texts."""
        return Column(iso(ms) for ms in source.missing())


def _starts(merge: Merge, info: Any) -> Column:
    return Column(merge.start_texts())


def _revisions(merge: Merge, info: Any) -> Column:
    return Column(merge.sums("revision").tolist())


def _of_window(source: Window) -> tuple[Merge, int]:
    return source.series.points, source.index


def _of_total(source: SeriesData) -> tuple[Merge, int]:
    return source.total, 0


def _list_of(item: Any, doc: str, resolver: Any) -> graphene.Field:
    return graphene.Field(graphene.NonNull(graphene.List(graphene.NonNull(item))), description=doc, resolver=resolver)


SeriesColumns = type(
    "SeriesColumns",
    (graphene.ObjectType,),
    {
        "__doc__": "The windows of a series as columns of equal length: the n-th value of each belongs to the n-th start.",
        "start": _list_of(DateTime, "Starts of the windows.", _starts),
        "revision": _list_of(graphene.Int, "Revisions of the windows; that of a longer window is the sum of its parts.", _revisions),
        **column_fields(),
    },
)

Report = type(
    "Report",
    (graphene.ObjectType,),
    {
        "__doc__": "The report of one merchant, window and currency.",
        "merchant_id": graphene.ID(required=True, resolver=lambda window, info: window.series.merchant_id),
        "currency": graphene.String(required=True, description="ISO 4217.", resolver=lambda window, info: window.series.currency),
        "grain": graphene.Field(Grain, required=True, resolver=lambda window, info: window.series.asked.grain),
        "start": graphene.Field(DateTime, required=True, resolver=lambda window, info: window.start_ms),
        "end": graphene.Field(
            DateTime, required=True, description="Exclusive.", resolver=lambda window, info: window.start_ms + window.series.asked.step
        ),
        "revision": graphene.Int(
            required=True,
            description="Grows with every change that touches the window.",
            resolver=lambda window, info: int(window.series.points.sums("revision")[window.index]),
        ),
        "freshness": graphene.Field(graphene.NonNull(Freshness), resolver=lambda window, info: window.series.freshness),
        **value_fields(_of_window),
        **breakdown_fields(_of_window),
    },
)

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

    merchant_id = graphene.ID(required=True, resolver=lambda series, info: series.merchant_id)
    currency = graphene.String(required=True, description="ISO 4217.", resolver=lambda series, info: series.currency)
    grain = graphene.Field(Grain, required=True, resolver=lambda series, info: series.asked.grain)
    start = graphene.Field(DateTime, required=True, resolver=lambda series, info: series.asked.start_ms)
    end = graphene.Field(DateTime, required=True, description="Exclusive.", resolver=lambda series, info: series.asked.end_ms)
    points = graphene.Field(
        graphene.NonNull(SeriesColumns), description="All windows as columns.", resolver=lambda series, info: series.points
    )
    reports = graphene.List(
        graphene.NonNull(Report),
        required=True,
        first=graphene.Int(description=f"How many, from the start; at most {MAX_REPORTS}.", default_value=100),
        description="The first windows as objects; for charts take `points`, which is a hundred times cheaper.",
    )
    totals = graphene.Field(graphene.NonNull(Totals), description="The whole range as one window.", resolver=lambda series, info: series)
    currencies = graphene.List(
        graphene.NonNull(graphene.String),
        required=True,
        description="Every currency with a payment, refund or failure in the range; sums never mix them.",
        resolver=lambda series, info: series.currencies,
    )
    freshness = graphene.Field(graphene.NonNull(Freshness), resolver=lambda series, info: series.freshness)

    @staticmethod
    def resolve_reports(series: SeriesData, info: Any, first: int) -> list[Window]:
        """The first windows."""
        if not 0 <= first <= MAX_REPORTS:
            raise InvalidArgumentError("first", first, "does not fit", f"give 0 to {MAX_REPORTS}, or take points")
        return [Window(series, index) for index in range(min(first, len(series.points.starts)))]
