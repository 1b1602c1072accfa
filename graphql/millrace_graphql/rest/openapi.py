"""The OpenAPI 3.1 document and its page, both made from the metric definitions."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from millrace_contracts.facts import DIMENSIONS
from millrace_contracts.metrics import METRICS, Metric, Unit
from millrace_contracts.windows import Grain
from millrace_graphql.ranges.query import BREAKDOWN_FIELDS
from millrace_graphql.schema.metrics import description, may_be_null

Schema = dict[str, Any]
_DIGITS = {"type": "string", "pattern": "^-?[0-9]+$"}
_INSTANT: Schema = {"type": "string", "format": "date-time"}
_TEXT: Schema = {"type": "string"}
_UNITS: dict[Unit, Schema] = {
    Unit.COUNT: {"type": "integer"},
    Unit.MONEY: _DIGITS,
    Unit.POINTS: _DIGITS,
    Unit.FRACTION: {"type": "number"},
}
_MERCHANT_FIELDS = ("name", "grade", "country", "region", "city", "businessType", "timeZone", "currency", "status")


def metric_schema(metric: Metric) -> Schema:
    """JSON schema of one value of a metric."""
    schema = dict(_UNITS[metric.unit])
    if may_be_null(metric):
        schema["type"] = [schema["type"], "null"]
    return schema


def _object(properties: dict[str, Schema]) -> Schema:
    return {"type": "object", "required": list(properties), "properties": properties, "additionalProperties": False}


def _reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas() -> dict[str, Schema]:
    values: dict[str, Schema] = {metric.name: {**metric_schema(metric), "description": description(metric)} for metric in METRICS}
    slices: dict[str, Schema] = {name: {"type": "array", "items": _reference("BreakdownSlice")} for name in BREAKDOWN_FIELDS}
    columns: dict[str, Schema] = {
        "start": {"type": "array", "items": _INSTANT},
        "revision": {"type": "array", "items": {"type": "integer"}},
        **{m.name: {"type": "array", "items": metric_schema(m), "description": description(m)} for m in METRICS},
    }
    head: dict[str, Schema] = {
        "merchantId": _TEXT,
        "currency": _TEXT,
        "grain": {"type": "string", "enum": list(Grain.__members__)},
        "start": _INSTANT,
        "end": _INSTANT,
    }
    nullable: Schema = {"type": ["string", "null"]}
    fresh = {"asOf": _INSTANT, "completeThrough": {**nullable, "format": "date-time"}, "missing": {"type": "array", "items": _INSTANT}}
    problem = _object({"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "code": _TEXT, "detail": _TEXT})
    return {
        "Merchant": _object({"id": _TEXT, **dict.fromkeys(_MERCHANT_FIELDS, nullable)}),
        "BreakdownSlice": _object({"value": _TEXT, "payments": {"type": "integer"}, "gross": _DIGITS}),
        "Freshness": _object(fresh),
        "Totals": _object({**values, **slices}),
        "Report": _object({**head, "revision": {"type": "integer"}, **values, **slices, "freshness": _reference("Freshness")}),
        "SeriesColumns": _object(columns),
        "Series": _object(
            {
                **head,
                "points": _reference("SeriesColumns"),
                "totals": _reference("Totals"),
                "currencies": {"type": "array", "items": _TEXT},
                "freshness": _reference("Freshness"),
            }
        ),
        "Problem": {**problem, "additionalProperties": True},
    }


def _query(name: str, schema: Schema, text: str, *, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": text}


_ID = {"name": "id", "in": "path", "required": True, "schema": _TEXT, "description": "Merchant id."}
_START = _query("start", _INSTANT, "On a window boundary in UTC.", required=True)
_CURRENCY = _query("currency", _TEXT, "ISO 4217; the merchant's own where it is left out.")
_RANGE = [
    _ID,
    _START,
    _query("end", _INSTANT, "Exclusive; on a window boundary in UTC.", required=True),
    _query(
        "grain",
        {"type": "string", "enum": list(Grain.__members__), "default": "TEN_MINUTES"},
        "Length of a window; hours and days are of UTC.",
    ),
    _CURRENCY,
    _query("sparse", {"type": "boolean", "default": False}, "Only windows in which something happened."),
]


def _operation(name: str, summary: str, parameters: list[Schema], content: dict[str, Any]) -> Schema:
    problems = {"400": "A parameter does not fit.", "401": "No valid access token.", "403": "Another merchant.", "404": "Not found."}
    refusals = {
        status: {"description": text, "content": {"application/problem+json": {"schema": _reference("Problem")}}}
        for status, text in {**problems, "503": "The report store does not answer."}.items()
    }
    answers = {"200": {"description": summary, "content": content}, **refusals}
    return {"get": {"operationId": name, "summary": summary, "parameters": parameters, "responses": answers}}


def document() -> Schema:
    """The OpenAPI 3.1 document."""
    page = [
        _query("first", {"type": "integer", "minimum": 0, "maximum": 1000, "default": 100}, "How many."),
        _query("after", _TEXT, "Only ids after this one."),
    ]
    merchants = {"schema": _object({"merchants": {"type": "array", "items": _reference("Merchant")}})}
    series = {"application/json": {"schema": _reference("Series")}, "text/csv": {"schema": _TEXT}}
    formats = _query("format", {"type": "string", "enum": ["json", "csv"]}, "Instead of the Accept header.")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Millrace reports",
            "version": "1",
            "description": "Merchant reports, ten minutes fine. Money is a string of minor units (I10). The same data as the GraphQL API.",
        },
        "security": [{"bearer": []}],
        "paths": {
            "/v1/merchants": _operation("merchants", "The merchants that the token opens.", page, {"application/json": merchants}),
            "/v1/merchants/{id}/report": _operation(
                "report", "One 10-minute report.", [_ID, _START, _CURRENCY], {"application/json": {"schema": _reference("Report")}}
            ),
            "/v1/merchants/{id}/series": _operation("series", "The windows of a range with their totals.", [*_RANGE, formats], series),
            "/v1/merchants/{id}/series.csv": _operation(
                "seriesCsv", "The windows of a range as CSV.", _RANGE, {"text/csv": {"schema": _TEXT}}
            ),
        },
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": _schemas(),
        },
    }


_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;padding:.3rem .6rem;text-align:left;vertical-align:top}"
    "code{background:#f3f3f3;padding:0 .2rem}"
)
STYLE_PATH = "/docs.css"


def style() -> str:
    """The page's style sheet."""
    return _STYLE


def page() -> str:
    """The documentation as one page without script or outside request."""
    spec = document()
    parts = ["<h1>Millrace reports over REST</h1>", f"<p>{escape(spec['info']['description'])}</p>"]
    parts.append('<p><a href="/openapi.json">openapi.json</a> · <a href="/graphiql">GraphiQL</a></p>')
    for path, item in spec["paths"].items():
        operation = item["get"]
        parts.append(f"<h2><code>GET {escape(path)}</code></h2><p>{escape(operation['summary'])}</p>")
        rows = [(p["name"], "required" if p["required"] else "", p["description"]) for p in operation["parameters"]]
        parts.append(_table(("Parameter", "", "Meaning"), rows))
    metrics = [(metric.name, metric.unit.value, metric.kind.value, metric.doc) for metric in METRICS]
    parts.append("<h2>Metrics</h2>" + _table(("Name", "Unit", "Kind", "Meaning"), metrics))
    parts.append(f"<p>Breakdowns: {escape(', '.join(BREAKDOWN_FIELDS))} ({len(DIMENSIONS)} dimensions).</p>")
    head = f'<meta charset="utf-8"><title>Millrace reports</title><link rel="stylesheet" href="{STYLE_PATH}">'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line(header, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"
