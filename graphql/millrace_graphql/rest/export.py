"""Series as CSV and as NDJSON, from the same metric definitions as GraphQL: one line a window."""

from __future__ import annotations

import csv
import io
from typing import Any

import orjson

from millrace_contracts.metrics import CUSTOMER_METRICS, METRICS
from millrace_contracts.values.shown_text import csv_cell
from millrace_graphql.ranges.answers import Freshness, Series
from millrace_graphql.ranges.customer_days import CustomerDays
from millrace_graphql.ranges.merge import instant_texts
from millrace_graphql.ranges.plan import iso

KEY_COLUMNS = ("start", "merchantId", "currency", "grain")
CSV_HEADER = (*KEY_COLUMNS, *(metric.name for metric in METRICS), "revision")
CUSTOMERS_HEADER = ("start", "merchantId", *(metric.name for metric in CUSTOMER_METRICS))
LINE_FIELDS = ("start", "end", "merchantId", "currency", "grain", "partial", "split", "revision", *(metric.name for metric in METRICS))


def csv_header() -> str:
    """The first line."""
    return _lines([CSV_HEADER])


def csv_lines(series: Series) -> str:
    """A line a window; a metric without a value is an empty cell."""
    columns = [*(series.points.metric(metric) for metric in METRICS), series.points.sums("revision").tolist()]
    key = [csv_cell(part) for part in (series.merchant_id, series.currency, series.asked.grain.name)]
    rows = zip(series.points.start_texts(), *columns, strict=True)
    return _lines([start, *key, *("" if value is None else value for value in values)] for start, *values in rows)


def customers_csv(days: CustomerDays) -> str:
    """A line a day under a line of names; a day that is not counted yet has empty cells."""
    columns = [days.column(metric) for metric in CUSTOMER_METRICS]
    merchant = csv_cell(days.merchant_id)
    rows = zip(instant_texts(days.asked.starts), *columns, strict=True)
    lines = ([start, merchant, *("" if value is None else value for value in values)] for start, *values in rows)
    return _lines([CUSTOMERS_HEADER]) + _lines(lines)


def ndjson_lines(series: Series) -> bytes:
    """A JSON object and a line feed a window, with ``LINE_FIELDS``."""
    points, asked = series.points, series.asked
    columns = [
        points.start_texts(),
        instant_texts(points.ends),
        *([value] * len(points.starts) for value in (series.merchant_id, series.currency, asked.grain.name)),
        [asked.partial[place] for place in series.places],
        [series.split[place] for place in series.places],
        points.sums("revision").tolist(),
        *(points.metric(metric) for metric in METRICS),
    ]
    lines = [orjson.dumps(dict(zip(LINE_FIELDS, row, strict=True)), option=orjson.OPT_APPEND_NEWLINE) for row in zip(*columns, strict=True)]
    return b"".join(lines)


def freshness_headers(freshness: Freshness) -> dict[str, str]:
    """How fresh and complete a table is, which has no place for it inside (I13)."""
    through = freshness.complete_through_ms
    return {
        "Millrace-As-Of": iso(freshness.progress.as_of_ms),
        **({} if through is None else {"Millrace-Complete-Through": iso(through)}),
        "Millrace-Missing-Windows": str(len(freshness.missing())),
    }


def _lines(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()
