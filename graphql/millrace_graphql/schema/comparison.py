"""Types of a comparison: each metric with its earlier value and its change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import graphene

from millrace_contracts.metrics import METRICS, Metric
from millrace_graphql.http.execution import Column
from millrace_graphql.ranges.compare import Compared
from millrace_graphql.ranges.compare import Comparison as ComparisonData
from millrace_graphql.ranges.merge import instant_texts, shown
from millrace_graphql.schema.inputs import Basis, ChangeKind
from millrace_graphql.schema.metrics import SCALARS, description
from millrace_graphql.schema.scalars import BigInt, DateTime

_VALUE = "The value of the period, as far as it is compared; null where the analysis has not come to it, or there is none."
_PREVIOUS = "The earlier value; null where there was no such time, or there is none."
_CHANGE = "The change as a fraction of the earlier value; null where that is nothing."
_KIND = "How it changed; null where there is nothing to compare."


def _one(name: str, scalar: Any) -> Any:
    fields = {
        "value": graphene.Field(scalar, description=_VALUE),
        "previous": graphene.Field(scalar, description=_PREVIOUS),
        "change": graphene.Float(description=_CHANGE),
        "change_kind": graphene.Field(ChangeKind, description=_KIND),
    }
    return type(f"{name}Change", (graphene.ObjectType,), {"__doc__": "A value beside an earlier one.", **fields})


def _many(name: str, scalar: Any) -> Any:
    def column(item: Any, doc: str) -> graphene.Field:
        return graphene.Field(graphene.NonNull(graphene.List(item)), description=doc)

    fields = {
        "value": column(scalar, _VALUE),
        "previous": column(scalar, _PREVIOUS),
        "change": column(graphene.Float, _CHANGE),
        "change_kind": column(ChangeKind, _KIND),
    }
    return type(f"{name}ChangeColumn", (graphene.ObjectType,), {"__doc__": "Values beside earlier ones, window by window.", **fields})


_SCALARS = {scalar: str(scalar.__name__) for scalar in (graphene.Int, BigInt, graphene.Float)}
_ONE = {scalar: _one(name, scalar) for scalar, name in _SCALARS.items()}
_MANY = {scalar: _many(name, scalar) for scalar, name in _SCALARS.items()}


def change_columns(compared: Compared, metric: Metric) -> dict[str, Column]:
    """A metric's values, earlier values and changes, as an answer shows them."""
    changes = compared.changes(metric)
    return {
        "value": Column(shown(metric, value) for value in compared.values(metric)),
        "previous": Column(shown(metric, value) for value in compared.previous(metric)),
        "change": Column(change for change, _ in changes),
        "change_kind": Column(kind.name if kind else None for _, kind in changes),
    }


def _column_resolver(metric: Metric) -> Callable[[ComparisonData, Any], dict[str, Column]]:
    return lambda comparison, info: change_columns(comparison.points, metric)


def _total_resolver(metric: Metric) -> Callable[[ComparisonData, Any], dict[str, Any]]:
    def resolve(comparison: ComparisonData, info: Any) -> dict[str, Any]:
        columns = change_columns(comparison.total, metric)
        _, kind = comparison.total.changes(metric)[0]
        return {**{name: column[0] for name, column in columns.items()}, "change_kind": kind}

    return resolve


ComparisonColumns = type(
    "ComparisonColumns",
    (graphene.ObjectType,),
    {
        "__doc__": "The windows of the series beside earlier ones: the n-th value of each belongs to the n-th window.",
        "start": graphene.Field(
            graphene.NonNull(graphene.List(DateTime)),
            description="Starts of the earlier windows; null where there was no such time.",
            resolver=lambda comparison, info: Column(earlier_starts(comparison)),
        ),
        **{
            metric.name: graphene.Field(
                graphene.NonNull(_MANY[SCALARS[metric.unit]]),
                name=metric.name,
                description=description(metric),
                resolver=_column_resolver(metric),
            )
            for metric in METRICS
        },
    },
)
ComparisonTotals = type(
    "ComparisonTotals",
    (graphene.ObjectType,),
    {
        "__doc__": "The whole period beside the earlier one, both as far as they are compared.",
        **{
            metric.name: graphene.Field(
                graphene.NonNull(_ONE[SCALARS[metric.unit]]),
                name=metric.name,
                description=description(metric),
                resolver=_total_resolver(metric),
            )
            for metric in METRICS
        },
    },
)


def earlier_starts(comparison: ComparisonData) -> list[str | None]:
    """Starts of the earlier windows in RFC 3339; None where there was no such time."""
    windows = comparison.plan.points
    there = (windows.then_ends > windows.then_starts).tolist()
    return [start if exists else None for start, exists in zip(instant_texts(windows.then_starts), there, strict=True)]


class Comparison(graphene.ObjectType):  # type: ignore[misc]
    """A series beside an earlier period of the same zone's calendar."""

    basis = graphene.Field(
        Basis, required=True, description="Which earlier period it is.", resolver=lambda comparison, info: comparison.plan.basis
    )
    start = graphene.Field(
        DateTime, required=True, description="Start of the earlier period.", resolver=lambda comparison, info: comparison.plan.start_ms
    )
    end = graphene.Field(
        DateTime,
        required=True,
        description="End of the earlier period as far as it is compared, exclusive.",
        resolver=lambda comparison, info: comparison.plan.end_ms,
    )
    through = graphene.Field(
        DateTime,
        description="How far into the period values go, exclusive: its end, or as far as the analysis is complete; null while nothing is.",
        resolver=lambda comparison, info: comparison.plan.through_ms,
    )
    points = graphene.Field(
        graphene.NonNull(ComparisonColumns), description="Window by window.", resolver=lambda comparison, info: comparison
    )
    totals = graphene.Field(
        graphene.NonNull(ComparisonTotals), description="The whole period.", resolver=lambda comparison, info: comparison
    )
