"""The REST API under /v1: the same questions as GraphQL through the same path."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from millrace_graphql.errors import InvalidArgumentError, NotFoundError, TimedOutError
from millrace_graphql.identity import Authenticator, Identity
from millrace_graphql.observability import REQUESTS, SECONDS
from millrace_graphql.ranges.answers import Series
from millrace_graphql.ranges.breakdown import Breakdown, Dimension, Order
from millrace_graphql.ranges.calendar import Grain
from millrace_graphql.ranges.columns import Group
from millrace_graphql.ranges.query import ReportQueries
from millrace_graphql.ranges.shifts import Basis
from millrace_graphql.rest import bodies
from millrace_graphql.rest.charging import WITH_EARLIER, WITH_PEERS, Charges, charged
from millrace_graphql.rest.export import csv_header, csv_lines, customers_csv, freshness_headers, ndjson_lines
from millrace_graphql.rest.parameters import DAYS, RANGE, Given, asked, choice, instant, parameters, whole
from millrace_graphql.rest.problems import Handler, guarded, need_token

EVERYTHING = frozenset(Group)
METRIC_GROUPS = frozenset({Group.COUNTERS, Group.CUSTOMERS, Group.AMOUNTS})
BREAKDOWN_GROUPS = frozenset({Group.COUNTERS, Group.CUSTOMERS, Group.BREAKDOWNS})
CUSTOMER_GROUPS = frozenset({Group.COUNTERS, Group.CUSTOMERS})
MAX_MERCHANTS, MAX_SLICES = 1_000, 100
JSON_MEDIA, CSV_MEDIA, NDJSON_MEDIA = "application/json", "text/csv", "application/x-ndjson"
SERIES = RANGE | {"grain", "sparse"}
PATHS = {
    "/v1/freshness": "freshness",
    "/v1/merchants": "merchants",
    "/v1/merchants/{id}/report": "report",
    "/v1/merchants/{id}/series": "series",
    "/v1/merchants/{id}/series.csv": "series",
    "/v1/merchants/{id}/comparison": "comparison",
    "/v1/merchants/{id}/breakdown": "breakdown",
    "/v1/merchants/{id}/week-grid": "week_grid",
    "/v1/merchants/{id}/peers": "peers",
    "/v1/merchants/{id}/customers": "customers",
    "/v1/merchants/{id}/customers.csv": "customers",
    "/v1/merchants/{id}/export.csv": "export",
    "/v1/merchants/{id}/export.ndjson": "export",
}


class Rest:
    """The handlers."""

    def __init__(self, queries: ReportQueries, authenticator: Authenticator, timeout_seconds: float, charges: Charges) -> None:
        self._timeout_seconds = timeout_seconds
        self._charges = charges
        self._queries = queries
        self._authenticator = authenticator

    def routes(self) -> list[Route]:
        """The routes, their errors as problem+json. A merchant's id may hold slashes: %2F, which arrives here unescaped."""
        return [
            Route(path.replace("{id}", "{id:path}"), guarded(_measured(path, self._timed(getattr(self, name)))), methods=["GET"])
            for path, name in PATHS.items()
        ]

    def _timed(self, handler: Handler) -> Handler:
        """Within the time budget; what is left of the work is cancelled. An export has it for its first lines."""

        async def timed(request: Request) -> Response:
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    response = await handler(request)
                response.headers.update(charged(request))
                return response
            except TimeoutError:
                raise TimedOutError(f"not done within {self._timeout_seconds:g} s; ask for a shorter range") from None

        return timed

    async def _caller(self, request: Request) -> Identity:
        caller = await self._authenticator.identify(request.headers.get("authorization", ""))
        if caller is None:
            raise need_token()
        return caller

    async def freshness(self, request: Request) -> Response:
        """How far the analysis has come."""
        caller = await self._caller(request)
        parameters(request, frozenset())
        await self._charges.points(request, caller, 1)
        return _json(request, bodies.freshness_json(await self._queries.freshness()))

    async def merchants(self, request: Request) -> Response:
        """The merchants that the caller sees; the header Link names the next page."""
        caller = await self._caller(request)
        given = parameters(request, frozenset({"first", "after"}))
        first = whole(given, "first", 100, MAX_MERCHANTS)
        await self._charges.points(request, caller, 1 + first // 10)
        found = await self._queries.merchants(caller, first + 1, given.get("after"))
        page = found[:first]
        more: dict[str, str] = {}
        if len(found) > first and page:
            more["Link"] = f'<{request.url.path}?{urlencode({"first": first, "after": page[-1].id})}>; rel="next"'
        return _json(request, {"merchants": [bodies.merchant_json(merchant) for merchant in page]}, more)

    async def report(self, request: Request) -> Response:
        """One 10-minute report."""
        caller = await self._caller(request)
        given = parameters(request, frozenset({"start", "currency"}))
        merchant, start = request.path_params["id"], instant(given, "start")
        caller.require(merchant)
        await self._charges.points(request, caller, len(EVERYTHING))
        series = await self._queries.report(caller, merchant, start, currency=given.get("currency"), groups=EVERYTHING)
        if series is None:
            raise NotFoundError("start: nothing was ever reported for this window", argument="start")
        return _json(request, bodies.report_json(series))

    async def series(self, request: Request) -> Response:
        """The windows of a range, as JSON or CSV."""
        caller = await self._caller(request)
        given = parameters(request, SERIES | {"format"})
        as_csv = _wants_csv(request, given)
        groups, question = METRIC_GROUPS if as_csv else EVERYTHING, asked(given)
        await self._charges.range(request, caller, question, len(groups))
        series = await self._queries.series(caller, request.path_params["id"], question, groups)
        if not as_csv:
            return _json(request, bodies.series_json(series, await self._queries.zone_in(series)))
        headers = _attachment("series.csv") | freshness_headers(series.freshness)
        return Response(csv_header() + csv_lines(series), headers=headers, media_type=f"{CSV_MEDIA}; charset=utf-8; header=present")

    async def comparison(self, request: Request) -> Response:
        """A range beside an earlier period."""
        given, series = await self._series(request, frozenset({"basis"}), METRIC_GROUPS, WITH_EARLIER)
        basis = choice(given, "basis", Basis, Basis.PREVIOUS_PERIOD)
        return _json(request, bodies.comparison_json(await self._queries.comparison(series, basis, METRIC_GROUPS)))

    async def breakdown(self, request: Request) -> Response:
        """The largest values of a breakdown."""
        given, series = await self._series(request, frozenset({"by", "first", "order"}), BREAKDOWN_GROUPS)
        by, order = choice(given, "by", Dimension), choice(given, "order", Order, Order.GROSS)
        return _json(request, bodies.breakdown_json(Breakdown(series, by, whole(given, "first", 5, MAX_SLICES), order)))

    async def _series(self, request: Request, more: frozenset[str], groups: frozenset[Group], times: int = 1) -> tuple[Given, Series]:
        caller = await self._caller(request)
        given = parameters(request, SERIES | more)
        question = asked(given, Grain.DAY)
        await self._charges.range(request, caller, question, len(groups), times)
        return given, await self._queries.series(caller, request.path_params["id"], question, groups)

    async def week_grid(self, request: Request) -> Response:
        """A range by hour of day and day of week."""
        caller = await self._caller(request)
        question = replace(asked(parameters(request, RANGE)), grain=Grain.HOUR)
        await self._charges.range(request, caller, question, len(METRIC_GROUPS))
        return _json(request, bodies.grid_json(await self._queries.grid(caller, request.path_params["id"], question, METRIC_GROUPS)))

    async def peers(self, request: Request) -> Response:
        """The totals of a range beside the medians of the merchant's peers."""
        caller = await self._caller(request)
        question = asked(parameters(request, RANGE | {"grain"}), Grain.DAY)
        await self._charges.range(request, caller, question, len(METRIC_GROUPS), WITH_PEERS)
        found = await self._queries.peers(caller, request.path_params["id"], question, METRIC_GROUPS)
        return _json(request, bodies.peers_json(found))

    async def customers(self, request: Request) -> Response:
        """New and returning customers by day, as JSON or CSV."""
        caller = await self._caller(request)
        given = parameters(request, DAYS | {"format"})
        as_csv, question = _wants_csv(request, given), asked(given, Grain.DAY)
        await self._charges.range(request, caller, question, 1 if as_csv else len(CUSTOMER_GROUPS))
        days = await self._queries.customer_days(caller, request.path_params["id"], question)
        if not as_csv:
            return _json(request, bodies.customers_json(days, await self._queries.customer_totals(days)))
        headers = _attachment("customers.csv") | freshness_headers(days.freshness)
        return Response(customers_csv(days), headers=headers, media_type=f"{CSV_MEDIA}; charset=utf-8; header=present")

    async def export(self, request: Request) -> Response:
        """The windows of a range of years as they are read, CSV or NDJSON."""
        caller = await self._caller(request)
        question = asked(parameters(request, SERIES), Grain.DAY)
        await self._charges.range(request, caller, question, len(METRIC_GROUPS))
        freshness, pieces = await self._queries.export(caller, request.path_params["id"], question, METRIC_GROUPS)
        first = await anext(pieces)  # what is refused or away is a problem and not half a table
        as_csv = request.url.path.endswith(".csv")
        media = f"{CSV_MEDIA}; charset=utf-8; header=present" if as_csv else NDJSON_MEDIA
        headers = _attachment(request.url.path.rsplit("/", 1)[1]) | freshness_headers(freshness)
        if request.method == "HEAD":
            await pieces.aclose()  # nobody reads the lines
            return Response(headers=headers, media_type=media)

        async def lines() -> AsyncIterator[str | bytes]:
            if as_csv:
                yield csv_header()
            yield csv_lines(first) if as_csv else ndjson_lines(first)
            async for piece in pieces:
                yield csv_lines(piece) if as_csv else ndjson_lines(piece)

        return StreamingResponse(lines(), headers=headers, media_type=media)


def _attachment(name: str) -> dict[str, str]:
    return {
        "Cache-Control": "private, no-store",
        "Content-Disposition": f'attachment; filename="{name}"',
        "Vary": "Accept, Authorization",
        "X-Content-Type-Options": "nosniff",
    }


def _json(request: Request, body: dict[str, Any], more: dict[str, str] | None = None) -> Response:
    """An answer with a weak entity tag: of the same numbers and completeness, whenever they were asked for."""
    fresh = body.get("freshness", body)
    tag = hashlib.sha256(orjson.dumps({**body, "freshness": {**fresh, "asOf": None}, "asOf": None})).hexdigest()[:32]
    etag = f'W/"{tag}"'
    headers = {"Cache-Control": "private, no-cache", "Vary": "Accept, Authorization", "ETag": etag, **(more or {})}
    known = {part.strip() for part in request.headers.get("if-none-match", "").split(",")}
    if known & {etag, etag[2:], "*"}:
        return Response(status_code=304, headers=headers)
    return Response(orjson.dumps(body), headers=headers, media_type=JSON_MEDIA)


def _measured(path: str, handler: Handler) -> Handler:
    async def measured(request: Request) -> Response:
        started = time.perf_counter()
        outcome = "error"
        try:
            response = await handler(request)
            outcome = "ok"
            return response
        finally:
            REQUESTS.labels("rest", path, outcome).inc()
            SECONDS.labels("rest", path).observe(time.perf_counter() - started)

    return measured


def _wants_csv(request: Request, given: Given) -> bool:
    if request.url.path.endswith(".csv"):
        return True
    if "format" in given:
        if given["format"] not in ("csv", "json"):
            raise InvalidArgumentError("format", given["format"], "is not a format", "take csv or json")
        return given["format"] == "csv"
    accept = request.headers.get("accept", "").lower()
    return CSV_MEDIA in accept and JSON_MEDIA not in accept
