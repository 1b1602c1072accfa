"""The REST API under /v1: the same questions as GraphQL through the same path."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from millrace_contracts.windows import Grain
from millrace_graphql.errors import InvalidArgumentError, NotFoundError
from millrace_graphql.identity import Authenticator, Identity
from millrace_graphql.observability import REQUESTS, SECONDS
from millrace_graphql.ranges.columns import Group
from millrace_graphql.ranges.query import ReportQueries
from millrace_graphql.rest.export import merchant_json, report_json, series_csv, series_json
from millrace_graphql.rest.problems import Handler, guarded, need_token
from millrace_graphql.schema.scalars import parse_instant

EVERYTHING = frozenset(Group)
CSV_GROUPS = frozenset({Group.COUNTERS, Group.CUSTOMERS, Group.AMOUNTS})
MAX_MERCHANTS = 1_000
JSON_MEDIA, CSV_MEDIA = "application/json", "text/csv"


class Rest:
    """The handlers."""

    def __init__(self, queries: ReportQueries, authenticator: Authenticator) -> None:
        self._queries = queries
        self._authenticator = authenticator

    def routes(self) -> list[Route]:
        """The routes, their errors as problem+json."""
        paths: list[tuple[str, Handler]] = [
            ("/v1/merchants", self.merchants),
            ("/v1/merchants/{id}/report", self.report),
            ("/v1/merchants/{id}/series", self.series),
            ("/v1/merchants/{id}/series.csv", self.series),
        ]
        return [Route(path, guarded(_measured(path, handler)), methods=["GET"]) for path, handler in paths]

    async def _caller(self, request: Request) -> Identity:
        caller = await self._authenticator.identify(request.headers.get("authorization", ""))
        if caller is None:
            raise need_token()
        return caller

    async def merchants(self, request: Request) -> Response:
        """The merchants that the caller sees."""
        caller = await self._caller(request)
        given = _parameters(request, {"first", "after"})
        first = _whole(given, "first", 100, MAX_MERCHANTS)
        found = await self._queries.merchants(caller, first, given.get("after"))
        return _json({"merchants": [merchant_json(merchant) for merchant in found]})

    async def report(self, request: Request) -> Response:
        """One 10-minute report."""
        caller = await self._caller(request)
        given = _parameters(request, {"start", "currency"})
        merchant, start = request.path_params["id"], _instant(given, "start")
        series = await self._queries.report(caller, merchant, start, currency=given.get("currency"), groups=EVERYTHING)
        if series is None:
            raise NotFoundError("start: nothing was ever reported for this window", argument="start")
        return _json(report_json(series))

    async def series(self, request: Request) -> Response:
        """The windows of a range, as JSON or CSV."""
        caller = await self._caller(request)
        given = _parameters(request, {"start", "end", "grain", "currency", "sparse", "format"})
        as_csv = _wants_csv(request, given)
        series = await self._queries.series(
            caller,
            request.path_params["id"],
            _instant(given, "start"),
            _instant(given, "end"),
            grain=_grain(given),
            currency=given.get("currency"),
            sparse=_flag(given, "sparse"),
            groups=CSV_GROUPS if as_csv else EVERYTHING,
        )
        if not as_csv:
            return _json(series_json(series))
        headers = {"Cache-Control": "private, no-store", "Content-Disposition": 'attachment; filename="series.csv"', "Vary": "Accept"}
        return Response(series_csv(series), headers=headers, media_type=f"{CSV_MEDIA}; charset=utf-8; header=present")


def _json(body: object) -> Response:
    return Response(
        orjson.dumps(body), headers={"Cache-Control": "private, no-store", "Vary": "Accept, Authorization"}, media_type=JSON_MEDIA
    )


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


def _parameters(request: Request, known: set[str]) -> Mapping[str, str]:
    """The query parameters; an unknown or doubled one is refused, since a misspelt filter would answer another question."""
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise InvalidArgumentError(name, value, "is not a parameter of this resource", f"take one of {', '.join(sorted(known))}")
        if len(request.query_params.getlist(name)) > 1:
            raise InvalidArgumentError(name, value, "is given more than once", "give it once")
    return request.query_params


def _instant(given: Mapping[str, str], name: str) -> datetime:
    if name not in given:
        raise InvalidArgumentError(name, "", "is missing", "give an instant such as 2026-11-24T09:30:00Z")
    instant = parse_instant(given[name])
    if instant is None:
        raise InvalidArgumentError(
            name, given[name], "is not RFC 3339 with an offset", "write it as 2026-11-24T09:30:00Z (a + must be sent as %2B)"
        )
    return instant


def _grain(given: Mapping[str, str]) -> Grain:
    value = given.get("grain", Grain.TEN_MINUTES.name)
    if value not in Grain.__members__:
        raise InvalidArgumentError("grain", value, "is not a grain", f"take one of {', '.join(Grain.__members__)}")
    return Grain[value]


def _flag(given: Mapping[str, str], name: str) -> bool:
    value = given.get(name, "false")
    if value not in ("true", "false"):
        raise InvalidArgumentError(name, value, "is neither true nor false", "write true or false")
    return value == "true"


def _whole(given: Mapping[str, str], name: str, default: int, most: int) -> int:
    value = given.get(name, str(default))
    if not (value.isascii() and value.isdigit() and len(value) < 10 and int(value) <= most):
        raise InvalidArgumentError(name, value, "does not fit", f"give a whole number from 0 to {most}")
    return int(value)


def _wants_csv(request: Request, given: Mapping[str, str]) -> bool:
    if request.url.path.endswith(".csv"):
        return True
    if "format" in given:
        if given["format"] not in ("csv", "json"):
            raise InvalidArgumentError("format", given["format"], "is not a format", "take csv or json")
        return given["format"] == "csv"
    accept = request.headers.get("accept", "").lower()
    return CSV_MEDIA in accept and JSON_MEDIA not in accept
