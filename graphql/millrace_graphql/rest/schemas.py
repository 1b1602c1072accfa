"""JSON schemas of the REST answers, from the metric definitions."""

from __future__ import annotations

from typing import Any

from millrace_contracts.metrics import CUSTOMER_METRICS, METRICS, Metric, Unit
from millrace_graphql.ranges.breakdown import Dimension, Order
from millrace_graphql.ranges.calendar import Grain
from millrace_graphql.ranges.compare import ChangeKind
from millrace_graphql.ranges.query import BREAKDOWN_FIELDS
from millrace_graphql.ranges.shifts import Basis
from millrace_graphql.schema.metrics import description, may_be_null

Schema = dict[str, Any]
DIGITS: Schema = {"type": "string", "pattern": "^-?[0-9]+$"}
INSTANT: Schema = {"type": "string", "format": "date-time"}
TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
_UNITS: dict[Unit, Schema] = {Unit.COUNT: WHOLE, Unit.MONEY: DIGITS, Unit.POINTS: DIGITS, Unit.FRACTION: {"type": "number"}}
_MERCHANT_FIELDS = ("name", "grade", "country", "region", "city", "businessType", "timeZone", "currency", "status")


def nullable(schema: Schema) -> Schema:
    """A schema or null."""
    return {**schema, "type": [schema["type"], "null"]}


def names(of: Any) -> Schema:
    """The names of an enum."""
    return {"type": "string", "enum": list(of.__members__)}


def list_of(schema: Schema) -> Schema:
    """A list."""
    return {"type": "array", "items": schema}


def thing(properties: dict[str, Schema]) -> Schema:
    """An object with exactly these properties."""
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}


def reference(name: str) -> Schema:
    """One of ``schemas``."""
    return {"$ref": f"#/components/schemas/{name}"}


def metric_schema(metric: Metric) -> Schema:
    """JSON schema of one value of a metric."""
    schema = _UNITS[metric.unit]
    return nullable(schema) if may_be_null(metric) else dict(schema)


def schemas() -> dict[str, Schema]:
    """Every schema, by name."""
    values: dict[str, Schema] = {metric.name: {**metric_schema(metric), "description": description(metric)} for metric in METRICS}
    columns: dict[str, Schema] = {m.name: {**list_of(metric_schema(m)), "description": description(m)} for m in METRICS}
    slices: dict[str, Schema] = {
        **{name: list_of(reference("BreakdownSlice")) for name in BREAKDOWN_FIELDS},
        "withheld": list_of({"type": "string", "enum": list(BREAKDOWN_FIELDS)}),
    }
    span: dict[str, Schema] = {"start": INSTANT, "end": INSTANT}
    whose: dict[str, Schema] = {"merchantId": TEXT, "currency": TEXT}
    head = {**whose, "grain": names(Grain), **span}
    flags: dict[str, Schema] = {"partial": FLAG, "split": FLAG}
    fresh = {"freshness": reference("Freshness")}
    marks: dict[str, Schema] = {"start": list_of(INSTANT), "end": list_of(INSTANT), "partial": list_of(FLAG), "split": list_of(FLAG)}
    problem = thing({"type": TEXT, "title": TEXT, "status": WHOLE, "code": TEXT, "detail": TEXT})
    return {
        "Merchant": thing({"id": TEXT, **dict.fromkeys(_MERCHANT_FIELDS, nullable(TEXT))}),
        "BreakdownSlice": thing({"value": TEXT, "payments": WHOLE, "gross": DIGITS}),
        "Freshness": thing(
            {"asOf": INSTANT, "completeThrough": nullable(INSTANT), "revision": nullable(DIGITS), "missing": list_of(INSTANT)}
        ),
        "Totals": thing({**values, **slices}),
        "Report": thing({**head, **flags, "revision": WHOLE, **values, **slices, **fresh}),
        "SeriesColumns": thing({**marks, "revision": list_of(WHOLE), **columns}),
        "Series": thing(
            {
                **head,
                "timeZone": TEXT,
                "points": reference("SeriesColumns"),
                "totals": reference("Totals"),
                "currencies": list_of(TEXT),
                **fresh,
            }
        ),
        **_comparison(head, fresh),
        **_breakdown(head, fresh),
        "GridColumns": thing({"weekday": list_of(WHOLE), "hour": list_of(WHOLE), "occurrences": list_of(WHOLE), **columns}),
        "Grid": thing({**whose, "timeZone": TEXT, **span, "split": FLAG, "cells": reference("GridColumns"), **fresh}),
        **_peers({**whose, **span}, fresh),
        **_customers({"merchantId": TEXT, "timeZone": TEXT, **span}, fresh),
        "ExportLine": thing({**span, **whose, "grain": names(Grain), **flags, "revision": WHOLE, **values}),
        "Problem": {**problem, "additionalProperties": True},
    }


def _comparison(head: dict[str, Schema], fresh: dict[str, Schema]) -> dict[str, Schema]:
    kind = {"enum": [*ChangeKind.__members__, None]}
    change: Schema = {"type": ["number", "null"]}
    columns: dict[str, Schema] = {"start": list_of(INSTANT), "previousStart": list_of(nullable(INSTANT))}
    totals: dict[str, Schema] = {}
    for metric in METRICS:
        value = nullable(_UNITS[metric.unit])
        one = {"value": value, "previous": value, "change": change, "changeKind": kind}
        totals[metric.name] = {**thing(one), "description": description(metric)}
        columns[metric.name] = {**thing({name: list_of(schema) for name, schema in one.items()}), "description": description(metric)}
    plan = {"basis": names(Basis), "previousStart": INSTANT, "previousEnd": INSTANT, "through": nullable(INSTANT)}
    parts = {"points": reference("ComparisonColumns"), "totals": reference("ComparisonTotals")}
    return {
        "ComparisonColumns": thing(columns),
        "ComparisonTotals": thing(totals),
        "Comparison": thing({**head, **plan, **parts, **fresh}),
    }


def _breakdown(head: dict[str, Schema], fresh: dict[str, Schema]) -> dict[str, Schema]:
    fraction: Schema = {"type": ["number", "null"]}
    points = {"anyOf": [thing({"payments": list_of(WHOLE), "gross": list_of(DIGITS)}), {"type": "null"}]}
    share = thing(
        {
            "value": nullable(TEXT),
            "payments": WHOLE,
            "gross": DIGITS,
            "shareOfPayments": fraction,
            "shareOfGross": fraction,
            "points": points,
        }
    )
    parts: dict[str, Schema] = {
        "by": names(Dimension),
        "order": names(Order),
        "slices": list_of(reference("BreakdownShare")),
        "other": {"anyOf": [reference("BreakdownShare"), {"type": "null"}]},
        "withheld": FLAG,
    }
    return {"BreakdownShare": share, "Breakdown": thing({**head, **parts, **fresh})}


def _customers(head: dict[str, Schema], fresh: dict[str, Schema]) -> dict[str, Schema]:
    values = {metric.name: nullable(_UNITS[metric.unit]) for metric in CUSTOMER_METRICS}
    docs = {metric.name: {"description": description(metric)} for metric in CUSTOMER_METRICS}
    columns: dict[str, Schema] = {"start": list_of(INSTANT), "end": list_of(INSTANT)}
    columns |= {name: {**list_of(value), **docs[name]} for name, value in values.items()}
    return {
        "CustomerDayColumns": thing(columns),
        "CustomerTotals": thing({name: {**value, **docs[name]} for name, value in values.items()}),
        "CustomerDays": thing({**head, "points": reference("CustomerDayColumns"), "totals": reference("CustomerTotals"), **fresh}),
    }


def _peers(head: dict[str, Schema], fresh: dict[str, Schema]) -> dict[str, Schema]:
    totals: dict[str, Schema] = {}
    for metric in METRICS:
        value = nullable(_UNITS[metric.unit])
        one = {"value": value, "median": value, "difference": {"type": ["number", "null"]}}
        totals[metric.name] = {**thing(one), "description": description(metric)}
    group = dict.fromkeys(("businessType", "country", "region"), nullable(TEXT))
    return {
        "PeerMetrics": thing(totals),
        "Peers": thing({**head, **group, "measured": nullable(WHOLE), "totals": reference("PeerMetrics"), **fresh}),
    }
