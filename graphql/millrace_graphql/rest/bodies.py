"""Answers as JSON, with the names and from the definitions that GraphQL has."""

from __future__ import annotations

from typing import Any

from millrace_contracts.metrics import CUSTOMER_METRICS, METRICS, Metric
from millrace_graphql.ranges.answers import Freshness, Series
from millrace_graphql.ranges.breakdown import Breakdown, Share
from millrace_graphql.ranges.compare import Compared, Comparison
from millrace_graphql.ranges.customer_days import CustomerDays
from millrace_graphql.ranges.directory import Merchant
from millrace_graphql.ranges.grid import CELLS, Grid
from millrace_graphql.ranges.merge import Merge, instant_texts
from millrace_graphql.ranges.peers import Peers
from millrace_graphql.ranges.plan import iso
from millrace_graphql.ranges.privacy import shown_slices
from millrace_graphql.ranges.query import BREAKDOWN_FIELDS
from millrace_graphql.schema.comparison import change_columns, earlier_starts
from millrace_graphql.schema.peers import beside_peers


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
    through = freshness.complete_through_ms
    return {
        "asOf": iso(freshness.progress.as_of_ms),
        "completeThrough": None if through is None else iso(through),
        "revision": None if freshness.revision is None else str(freshness.revision),
        "missing": [iso(ms) for ms in freshness.missing()],
    }


def window_json(merge: Merge, index: int, min_customers: int) -> dict[str, Any]:
    """Every metric and breakdown of one window."""
    slices: dict[str, list[dict[str, Any]]] = {}
    withheld = []
    for name, column in BREAKDOWN_FIELDS.items():
        found, is_withheld = shown_slices(merge, index, column, min_customers)
        slices[name] = [{"value": value, "payments": n, "gross": str(gross)} for value, n, gross in found]
        withheld += [name] if is_withheld else []
    return {**{metric.name: merge.metric(metric)[index] for metric in METRICS}, **slices, "withheld": withheld}


def report_json(series: Series) -> dict[str, Any]:
    """The one window of a series."""
    return {
        **_head(series),
        "partial": series.asked.partial[0],
        "split": series.split[0],
        "revision": int(series.points.sums("revision")[0]),
        **window_json(series.points, 0, series.min_customers),
        "freshness": freshness_json(series.freshness),
    }


def series_json(series: Series, zone: str) -> dict[str, Any]:
    """A series with column vectors."""
    return {
        **_head(series),
        "timeZone": zone,
        "points": {
            "start": series.points.start_texts(),
            "end": instant_texts(series.points.ends),
            "partial": [series.asked.partial[place] for place in series.places],
            "split": [series.split[place] for place in series.places],
            "revision": series.points.sums("revision").tolist(),
            **{metric.name: series.points.metric(metric) for metric in METRICS},
        },
        "totals": window_json(series.total, 0, series.min_customers),
        "currencies": series.currencies,
        "freshness": freshness_json(series.freshness),
    }


def comparison_json(comparison: Comparison) -> dict[str, Any]:
    """A series beside an earlier period."""
    plan, through = comparison.plan, comparison.plan.through_ms
    return {
        **_head(comparison.series),
        "basis": plan.basis.name,
        "previousStart": iso(plan.start_ms),
        "previousEnd": iso(plan.end_ms),
        "through": None if through is None else iso(through),
        "points": {
            "start": comparison.series.points.start_texts(),
            "previousStart": earlier_starts(comparison),
            **{metric.name: _changes(comparison.points, metric) for metric in METRICS},
        },
        "totals": {metric.name: {name: column[0] for name, column in _changes(comparison.total, metric).items()} for metric in METRICS},
        "freshness": freshness_json(comparison.series.freshness),
    }


def _changes(compared: Compared, metric: Metric) -> dict[str, Any]:
    columns = change_columns(compared, metric)
    return {"value": columns["value"], "previous": columns["previous"], "change": columns["change"], "changeKind": columns["change_kind"]}


def breakdown_json(breakdown: Breakdown) -> dict[str, Any]:
    """The largest values of a breakdown."""
    return {
        **_head(breakdown.series),
        "by": breakdown.by.name,
        "order": breakdown.order.name,
        "slices": [_share(share) for share in breakdown.slices],
        "other": _share(breakdown.other) if breakdown.other else None,
        "withheld": breakdown.withheld,
        "freshness": freshness_json(breakdown.series.freshness),
    }


def _share(share: Share) -> dict[str, Any]:
    windows = share.by_window()
    points = {"payments": [n for _, n, _ in windows], "gross": [str(gross) for _, _, gross in windows]} if windows is not None else None
    return {
        "value": share.value,
        "payments": share.payments,
        "gross": str(share.gross),
        "shareOfPayments": share.share_of_payments,
        "shareOfGross": share.share_of_gross,
        "points": points,
    }


def grid_json(grid: Grid) -> dict[str, Any]:
    """A range by hour of day and day of week."""
    return {
        "merchantId": grid.series.merchant_id,
        "currency": grid.series.currency,
        "timeZone": grid.series.asked.zone,
        "start": iso(grid.series.asked.start_ms),
        "end": iso(grid.series.asked.end_ms),
        "split": grid.split,
        "cells": {
            "weekday": [cell // 24 + 1 for cell in range(CELLS)],
            "hour": [cell % 24 for cell in range(CELLS)],
            "occurrences": grid.occurrences,
            **{metric.name: grid.cells.metric(metric) for metric in METRICS},
        },
        "freshness": freshness_json(grid.series.freshness),
    }


def peers_json(peers: Peers) -> dict[str, Any]:
    """A merchant beside its peers."""
    group, series = peers.group, peers.series
    return {
        "merchantId": series.merchant_id,
        "currency": series.currency,
        "start": iso(series.asked.start_ms),
        "end": iso(series.asked.end_ms),
        "businessType": group.business_type if group else None,
        "country": group.country if group else None,
        "region": group.region if group else None,
        "measured": len(peers.totals) if peers.is_shown else None,
        "totals": {metric.name: beside_peers(peers, metric) for metric in METRICS},
        "freshness": freshness_json(series.freshness),
    }


def customers_json(days: CustomerDays, totals: dict[str, int | None]) -> dict[str, Any]:
    """New and returning customers by day."""
    return {
        "merchantId": days.merchant_id,
        "timeZone": days.asked.zone,
        "start": iso(days.asked.start_ms),
        "end": iso(days.asked.end_ms),
        "points": {
            "start": instant_texts(days.asked.starts),
            "end": instant_texts(days.asked.ends),
            **{metric.name: days.column(metric) for metric in CUSTOMER_METRICS},
        },
        "totals": totals,
        "freshness": freshness_json(days.freshness),
    }


def _head(series: Series) -> dict[str, Any]:
    return {
        "merchantId": series.merchant_id,
        "currency": series.currency,
        "grain": series.asked.grain.name,
        "start": iso(series.asked.start_ms),
        "end": iso(series.asked.end_ms),
    }
