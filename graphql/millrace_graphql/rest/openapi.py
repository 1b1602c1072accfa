"""The OpenAPI 3.1 document and its page, both made from the metric definitions."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Any

from millrace_contracts.facts import DIMENSIONS
from millrace_contracts.metrics import CUSTOMER_METRICS, METRICS
from millrace_graphql.ranges.breakdown import Dimension, Order
from millrace_graphql.ranges.calendar import Grain, Preset
from millrace_graphql.ranges.query import BREAKDOWN_FIELDS
from millrace_graphql.ranges.shifts import Basis
from millrace_graphql.rest.schemas import INSTANT, TEXT, Schema, list_of, names, reference, schemas, thing
from millrace_graphql.schema.inputs import CURRENCY_DOC, DAY_DOC, START_DOC, ZONE_DOC


def _query(name: str, schema: Schema, text: str, *, required: bool = False) -> Schema:
    return {"name": name, "in": "query", "required": required, "schema": schema, "description": text}


_ID = {"name": "id", "in": "path", "required": True, "schema": TEXT, "description": "Merchant id."}
_CURRENCY = _query("currency", TEXT, CURRENCY_DOC)
_DAYS = [
    _ID,
    _query("start", INSTANT, f"{DAY_DOC} Give start and end, or a preset."),
    _query("end", INSTANT, "Exclusive; as start."),
    _query("preset", names(Preset), "Instead of start and end."),
]
_RANGE = [
    _ID,
    _query("start", INSTANT, f"{START_DOC} Give start and end, or a preset."),
    _query("end", INSTANT, "Exclusive; as start."),
    _query("preset", names(Preset), "Instead of start and end."),
    _query("timeZone", TEXT, ZONE_DOC),
    _CURRENCY,
]
_SPARSE = _query("sparse", {"type": "boolean", "default": False}, "Only windows in which something happened.")
_PROBLEMS = {
    "400": "A parameter does not fit.",
    "401": "No valid access token.",
    "403": "Another merchant.",
    "404": "Not found.",
    "429": "Your points are spent; the header Retry-After says for how many seconds.",
    "503": "The report store does not answer.",
    "504": "Not done within the time budget.",
}


_SPENT = ("RateLimit", "RateLimit-Policy")
_HEADERS: dict[str, Schema] = {
    "X-Millrace-Cost": {"schema": {"type": "integer"}, "description": "What the request has cost, in points."},
    "RateLimit": {"schema": TEXT, "description": "What is left of the points (r), and in how many seconds all are back (t)."},
    "RateLimit-Policy": {"schema": TEXT, "description": "How many points there may be (q), and in how many seconds as many come back (w)."},
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds until there are enough points."},
    "ETag": {"schema": TEXT, "description": "Of the numbers and their completeness: send it as If-None-Match."},
}


def _grain(default: Grain) -> Schema:
    return _query("grain", {**names(Grain), "default": default.name}, "Length of a window on the calendar of the time zone.")


def _whole(name: str, default: int, most: int, text: str) -> Schema:
    return _query(name, {"type": "integer", "minimum": 0, "maximum": most, "default": default}, text)


def _operation(name: str, summary: str, parameters: list[Schema], content: dict[str, Any]) -> Schema:
    refusals = {
        status: {"description": text, "content": {"application/problem+json": {"schema": reference("Problem")}}}
        for status, text in _PROBLEMS.items()
    }
    refusals["429"]["headers"] = {name: _HEADERS[name] for name in (*_SPENT, "Retry-After")}
    told = ("X-Millrace-Cost", *_SPENT, *(["ETag"] if "application/json" in content else []))
    answers: dict[str, Schema] = {"200": {"description": summary, "headers": {name: _HEADERS[name] for name in told}, "content": content}}
    if "application/json" in content:
        answers["304"] = {"description": "Nothing has changed since the answer with the entity tag of If-None-Match."}
    return {"get": {"operationId": name, "summary": summary, "parameters": parameters, "responses": {**answers, **refusals}}}


def _json(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": reference(name)}}


def _paths() -> dict[str, Schema]:
    ten, day = _grain(Grain.TEN_MINUTES), _grain(Grain.DAY)
    series, longer = [*_RANGE, ten, _SPARSE], [*_RANGE, day, _SPARSE]
    page = [_whole("first", 100, 1000, "How many."), _query("after", TEXT, "Only ids after this one.")]
    merchants = {"application/json": {"schema": thing({"merchants": list_of(reference("Merchant"))})}}
    table = {"text/csv": {"schema": TEXT}}
    formats = _query("format", {"type": "string", "enum": ["json", "csv"]}, "Instead of the Accept header.")
    basis = _query("basis", {**names(Basis), "default": "PREVIOUS_PERIOD"}, "What the range is compared with.")
    split = [
        _query("by", names(Dimension), "What payments are broken down by.", required=True),
        _whole("first", 5, 100, "How many values; the rest is given as one."),
        _query("order", {**names(Order), "default": "GROSS"}, "Which values come first."),
    ]
    start = _query("start", INSTANT, "On a boundary of ten minutes.", required=True)
    one = "/v1/merchants/{id}"
    lines = {"application/x-ndjson": {"schema": reference("ExportLine")}}
    return {
        "/v1/freshness": _operation("freshness", "How far the analysis has come.", [], _json("Freshness")),
        "/v1/merchants": _operation("merchants", "The merchants that the token opens; Link names the next page.", page, merchants),
        f"{one}/report": _operation("report", "One 10-minute report.", [_ID, start, _CURRENCY], _json("Report")),
        f"{one}/series": _operation(
            "series", "The windows of a range with their totals.", [*series, formats], {**_json("Series"), **table}
        ),
        f"{one}/series.csv": _operation("seriesCsv", "The windows of a range as CSV.", series, table),
        f"{one}/comparison": _operation("comparison", "A range beside an earlier period.", [*longer, basis], _json("Comparison")),
        f"{one}/breakdown": _operation("breakdown", "The largest values of a breakdown.", [*longer, *split], _json("Breakdown")),
        f"{one}/week-grid": _operation("weekGrid", "A range by hour of day and day of week.", _RANGE, _json("Grid")),
        f"{one}/peers": _operation("peers", "A range's totals beside the medians of the merchant's peers.", [*_RANGE, day], _json("Peers")),
        f"{one}/customers": _operation(
            "customers",
            "New and returning customers by closed day of the merchant's calendar, over all currencies.",
            [*_DAYS, formats],
            {**_json("CustomerDays"), **table},
        ),
        f"{one}/customers.csv": _operation("customersCsv", "The same as CSV.", _DAYS, table),
        f"{one}/export.csv": _operation("exportCsv", "The windows of a range of up to five years, streamed as CSV.", longer, table),
        f"{one}/export.ndjson": _operation("exportNdjson", "The same as NDJSON: a JSON object a line.", longer, lines),
    }


def document() -> Schema:
    """The OpenAPI 3.1 document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Millrace reports",
            "version": "1",
            "description": "Merchant reports, ten minutes fine. Money is a string of minor units (I10). The same data as the GraphQL API.",
        },
        "security": [{"bearer": []}],
        "paths": _paths(),
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
            "schemas": schemas(),
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
    metrics = [(metric.name, metric.unit.value, metric.kind.value, metric.doc, metric.formula) for metric in METRICS]
    customers = [(m.name, m.unit.value, m.kind.value, m.doc, m.formula) for m in CUSTOMER_METRICS]
    parts.append("<h2>Metrics</h2>" + _table(("Name", "Unit", "Kind", "Meaning", "Formula"), metrics))
    parts.append("<h2>New and returning customers</h2>" + _table(("Name", "Unit", "Kind", "Meaning", "Formula"), customers))
    parts.append(f"<p>Breakdowns: {escape(', '.join(BREAKDOWN_FIELDS))} ({len(DIMENSIONS)} dimensions).</p>")
    head = f'<meta charset="utf-8"><title>Millrace reports</title><link rel="stylesheet" href="{STYLE_PATH}">'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    def line(cells: tuple[str, ...], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{line(header, 'th')}{''.join(line(row, 'td') for row in rows)}</table>"
