"""GraphQL fields made from the metric definitions: one definition, one field in each type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphene
from orjson import Fragment

from millrace_contracts.metrics import METRICS, Kind, Metric, Unit
from millrace_graphql.ranges.merge import Merge
from millrace_graphql.ranges.privacy import DEMOGRAPHICS, shown_slices
from millrace_graphql.ranges.query import BREAKDOWN_FIELDS
from millrace_graphql.schema.scalars import BigInt

SCALARS = {Unit.COUNT: graphene.Int, Unit.MONEY: BigInt, Unit.POINTS: BigInt, Unit.FRACTION: graphene.Float}
HINTS = {
    Kind.SUM: "May be added up.",
    Kind.UNIQUE: "Never add it up: take the total of the range.",
    Kind.RATIO: "Never average it: take the total of the range.",
    Kind.QUANTILE: "Never average it: take the total of the range.",
    Kind.MIN: "The minimum of windows is the minimum of the range.",
    Kind.MAX: "The maximum of windows is the maximum of the range.",
}


def may_be_null(metric: Metric) -> bool:
    """Whether a window without facts has no value rather than 0."""
    return metric.kind not in (Kind.SUM, Kind.UNIQUE)


def description(metric: Metric) -> str:
    """A metric's documentation: meaning, unit and how it combines."""
    unit = "Minor units of the currency. " if metric.unit is Unit.MONEY else ""
    return f"{metric.doc} {unit}{metric.kind.value}: {HINTS[metric.kind]}"


def column_fields(points: Callable[[Any], Merge]) -> dict[str, graphene.Field]:
    """A list field for each metric; ``points`` finds the windows in the source."""

    def resolver(metric: Metric) -> Callable[[Any, Any], Fragment]:
        return lambda source, info: Fragment(points(source).column(metric))

    fields = {}
    for metric in METRICS:
        item = SCALARS[metric.unit]
        of = graphene.List(item if may_be_null(metric) else graphene.NonNull(item))
        fields[metric.name] = graphene.Field(
            graphene.NonNull(of), name=metric.name, description=description(metric), resolver=resolver(metric)
        )
    return fields


def value_fields(window: Callable[[Any], tuple[Merge, int]]) -> dict[str, graphene.Field]:
    """A field for each metric of one window; ``window`` finds it (merge, index) in the source."""

    def resolver(metric: Metric) -> Callable[[Any, Any], Any]:
        def resolve(source: Any, info: Any) -> Any:
            merge, index = window(source)
            return merge.metric(metric)[index]

        return resolve

    return {
        metric.name: graphene.Field(
            SCALARS[metric.unit],
            required=not may_be_null(metric),
            name=metric.name,
            description=description(metric),
            resolver=resolver(metric),
        )
        for metric in METRICS
    }


class BreakdownSlice(graphene.ObjectType):  # type: ignore[misc]
    """The payments of one value of a breakdown; payers or payments without the value stand under `unknown`."""

    value = graphene.String(required=True, description="The value, such as `card` or `25-34`.")
    payments = graphene.Int(required=True, description="Succeeded payments.")
    gross = graphene.Field(BigInt, required=True, description="Sum of their amounts, in minor units.")


def breakdown_fields(window: Callable[[Any], tuple[Merge, int]]) -> dict[str, graphene.Field]:
    """A field for each breakdown of one window, and which of them are not whole; the source has ``min_customers``."""

    def resolver(column: str) -> Callable[[Any, Any], list[BreakdownSlice]]:
        def resolve(source: Any, info: Any) -> list[BreakdownSlice]:
            slices, _ = shown_slices(*window(source), column, source.min_customers)
            return [BreakdownSlice(value=value, payments=n, gross=gross) for value, n, gross in slices]

        return resolve

    def withheld(source: Any, info: Any) -> list[str]:
        return [name for name, column in BREAKDOWN_FIELDS.items() if shown_slices(*window(source), column, source.min_customers)[1]]

    of = graphene.NonNull(graphene.List(graphene.NonNull(BreakdownSlice)))
    names = graphene.NonNull(graphene.List(graphene.NonNull(graphene.String)))
    return {
        **{
            name: graphene.Field(of, name=name, description=_slices_doc(column), resolver=resolver(column))
            for name, column in BREAKDOWN_FIELDS.items()
        },
        "withheld": graphene.Field(
            names, description="The breakdowns of which values are left out: too few customers stand behind them.", resolver=withheld
        ),
    }


def _slices_doc(column: str) -> str:
    demographic = " Only values with enough customers behind them." if column in DEMOGRAPHICS else ""
    return f"Payments by {column[3:].replace('_', ' ')}, most gross first.{demographic}"
