"""A series as JSON and as CSV, from the same metric definitions as GraphQL."""

from __future__ import annotations

import csv
import io
from typing import Any

from millrace_contracts.metrics import METRICS
from millrace_graphql.ranges.directory import Merchant
from millrace_graphql.ranges.merge import Merge
from millrace_graphql.ranges.plan import iso
from millrace_graphql.ranges.query import BREAKDOWN_FIELDS, Freshness, Series

KEY_COLUMNS = ("start", "merchantId", "currency", "grain")
CSV_HEADER = (*KEY_COLUMNS, *(metric.name for metric in METRICS))


def merchant_json(merchant: Merchant) -> dict[str, Any]:
    """A merchant with the names that GraphQL uses."""
    return {
        "id": merchant.id,
        "name": merchant.name,
        "grade": merchant.grade,
        "country": merchant.country,
        "region": merchant.region,
        "city": merchant.city,
        "businessType": merchant.business_type,
        "timeZone": merchant.time_zone,
        "currency": merchant.currency,
        "status": merchant.status,
    }


def freshness_json(freshness: Freshness) -> dict[str, Any]:
    """How fresh and complete the answer is (I13)."""
    through = freshness.progress.complete_through_ms
    return {
        "asOf": iso(freshness.progress.as_of_ms),
        "completeThrough": None if through is None else iso(through),
        "missing": [iso(ms) for ms in freshness.missing()],
    }


def window_json(merge: Merge, index: int) -> dict[str, Any]:
    """Every metric and breakdown of one window."""
    metrics = {metric.name: merge.metric(metric)[index] for metric in METRICS}
    slices = {
        name: [{"value": value, "payments": n, "gross": str(gross)} for value, n, gross in merge.breakdowns(column)[index]]
        for name, column in BREAKDOWN_FIELDS.items()
    }
    return {**metrics, **slices}


def report_json(series: Series) -> dict[str, Any]:
    """The one window of a series."""
    return {
        "merchantId": series.merchant_id,
        "currency": series.currency,
        "grain": series.asked.grain.name,
        "start": iso(series.asked.start_ms),
        "end": iso(series.asked.end_ms),
        "revision": int(series.points.sums("revision")[0]),
        **window_json(series.points, 0),
        "freshness": freshness_json(series.freshness),
    }


def series_json(series: Series) -> dict[str, Any]:
    """A series with column vectors."""
    columns = {metric.name: series.points.metric(metric) for metric in METRICS}
    return {
        "merchantId": series.merchant_id,
        "currency": series.currency,
        "grain": series.asked.grain.name,
        "start": iso(series.asked.start_ms),
        "end": iso(series.asked.end_ms),
        "points": {"start": series.points.start_texts(), "revision": series.points.sums("revision").tolist(), **columns},
        "totals": window_json(series.total, 0),
        "currencies": series.currencies,
        "freshness": freshness_json(series.freshness),
    }


def series_csv(series: Series) -> str:
    """A series as CSV, one line a window; a metric without a value is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(CSV_HEADER)
    columns = [series.points.metric(metric) for metric in METRICS]
    starts = series.points.start_texts()
    key = (series.merchant_id, series.currency, series.asked.grain.name)
    for start, *values in zip(starts, *columns, strict=True):
        writer.writerow([start, *(_safe(part) for part in key), *("" if value is None else value for value in values)])
    return text.getvalue()


def _safe(text: str) -> str:
    """A cell that a spreadsheet does not take for a formula: merchant ids are a caller's own text."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
