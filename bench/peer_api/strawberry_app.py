"""A peer: the series of one merchant by Strawberry, run by uvicorn. Settings: MILLRACE_* of the stack, PEER_JWKS."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import strawberry
from cassandra.cluster import Cluster, Session
from cassandra.query import tuple_factory
from graphql import GraphQLError
from starlette.applications import Starlette
from strawberry.asgi import GraphQL
from strawberry.extensions import ParserCache, ValidationCache

KEYSPACE = os.environ["MILLRACE_NAMES_KEYSPACE"]
KEYS = {key["kid"]: jwt.PyJWK(key) for key in json.loads(Path(os.environ["PEER_JWKS"]).read_text())["keys"]}
_known: dict[str, list[str]] = {}


def merchants(header: str) -> list[str]:
    """The merchants that a token opens; a verified one is remembered."""
    if header not in _known:
        token = header.removeprefix("Bearer ")
        key = KEYS[jwt.get_unverified_header(token)["kid"]]
        _known[header] = jwt.decode(token, key, algorithms=["ES256"], audience="millrace")["merchants"]
    return _known[header]


class Store:
    """Cassandra."""

    def __init__(self) -> None:
        cluster = Cluster(os.environ["MILLRACE_CASSANDRA_HOSTS"].split(","), port=int(os.environ["MILLRACE_CASSANDRA_PORT"]))
        self._session: Session = cluster.connect(KEYSPACE)
        self._session.row_factory = tuple_factory
        self._select = self._session.prepare(
            "SELECT window_start, payments, gross, refunds, refunded_amount, failed, smallest, largest FROM reports "
            "WHERE merchant_id = ? AND grain = '10m' AND bucket = ? AND window_start >= ? AND window_start < ?"
        )
        self._progress = self._session.prepare("SELECT complete_through FROM progress WHERE name = 'payments'")

    async def rows(self, statement: Any, arguments: list[Any]) -> list[Any]:
        """The rows of a statement."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()
        request = self._session.execute_async(statement, arguments)
        request.add_callbacks(
            lambda rows: loop.call_soon_threadsafe(answer.set_result, rows),
            lambda error: loop.call_soon_threadsafe(answer.set_exception, error),
        )
        return await answer

    async def series(self, merchant: str, start: datetime, end: datetime) -> list[Any]:
        """The reports of a range within one month."""
        return await self.rows(self._select, [merchant, f"{start:%Y-%m}", start, end])

    async def progress(self) -> datetime | None:
        """How far the analysis is."""
        return next((row[0] for row in await self.rows(self._progress, [])), None)


def text(instant: datetime) -> str:
    """RFC 3339."""
    return f"{instant:%Y-%m-%dT%H:%M:%SZ}"


@strawberry.type
class Points:
    """Columns."""

    start: list[str]
    payments: list[int]
    gross: list[str]
    refunds: list[int]
    refunded_amount: list[str]
    net: list[str]
    failed: list[int]
    smallest: list[str]
    largest: list[str]


@strawberry.type
class Freshness:
    """How fresh."""

    complete_through: str | None


@strawberry.type
class Series:
    """A range."""

    currency: str
    points: Points
    freshness: Freshness


@strawberry.type
class Query:
    """The question."""

    @strawberry.field
    async def series(self, info: strawberry.Info, merchant_id: strawberry.ID, start: datetime, end: datetime, currency: str) -> Series:
        """The windows of a range."""
        header = info.context["request"].headers.get("authorization", "")
        if merchant_id not in merchants(header):
            raise GraphQLError("forbidden")
        through = await store.progress()
        rows = await store.series(merchant_id, start.astimezone(UTC), end.astimezone(UTC))
        points = Points(
            start=[text(row[0]) for row in rows],
            payments=[row[1] for row in rows],
            gross=[str(row[2]) for row in rows],
            refunds=[row[3] for row in rows],
            refunded_amount=[str(row[4]) for row in rows],
            net=[str(row[2] - row[4]) for row in rows],
            failed=[row[5] for row in rows],
            smallest=[str(row[6]) for row in rows],
            largest=[str(row[7]) for row in rows],
        )
        return Series(currency=currency, points=points, freshness=Freshness(complete_through=text(through) if through else None))


schema = strawberry.Schema(Query, extensions=[lambda: ParserCache(maxsize=100), lambda: ValidationCache(maxsize=100)])
store = Store()
app = Starlette()
app.add_route("/graphql", GraphQL(schema))
