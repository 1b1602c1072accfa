"""The wiring: settings in, one Starlette application out; nothing is opened before its lifespan begins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import orjson
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from millrace_contracts.settings import CassandraSettings, NamesSettings, RedisSettings
from millrace_graphql.graphiql import pages
from millrace_graphql.http.endpoint import GraphQLEndpoint
from millrace_graphql.identity import Authenticator, KeySet
from millrace_graphql.observability import REGISTRY
from millrace_graphql.ranges.cassandra import Cassandra
from millrace_graphql.ranges.chunk_cache import ChunkCache
from millrace_graphql.ranges.directory import Directory
from millrace_graphql.ranges.query import ReportQueries
from millrace_graphql.ranges.report_store import ReportStore
from millrace_graphql.rest import openapi
from millrace_graphql.rest.problems import not_found_or_method
from millrace_graphql.rest.routes import Rest
from millrace_graphql.schema.query import build_schema
from millrace_graphql.settings import ApiSettings

REDIS_TIMEOUT_SECONDS = 1.0
REDIS_CONNECTIONS = 32
_DOCS_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"


@dataclass(frozen=True)
class Servers:
    """The servers behind the API."""

    cassandra: Cassandra
    redis: Redis
    cache: ChunkCache


def create_app(environ: Mapping[str, str]) -> Starlette:
    """The application for a mapping of MILLRACE_ settings; call it on the event loop that serves it.

    Raises:
        SettingsError: names the variable and the fix.
    """
    settings = ApiSettings.checked(environ)
    names = NamesSettings.load(environ)
    servers = _servers(environ, settings, names)
    store, directory = ReportStore(servers.cassandra), Directory(servers.cassandra)
    queries = ReportQueries(store, directory, servers.cache if settings.chunk_cache else None, settings)
    keys = KeySet(settings.jwks)
    authenticator = Authenticator(keys, issuer=settings.issuer, audience=settings.audience, leeway=settings.leeway_seconds)
    endpoint = GraphQLEndpoint(build_schema(), queries, authenticator, settings)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        servers.cassandra.start()
        yield
        await servers.cache.settle()
        await servers.redis.aclose()
        await servers.cassandra.stop()

    routes: list[BaseRoute] = [
        Route("/graphql", endpoint),
        *Rest(queries, authenticator).routes(),
        *_operations(servers, settings),
        *_documentation(settings),
    ]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: not_found_or_method})


def _servers(environ: Mapping[str, str], settings: ApiSettings, names: NamesSettings) -> Servers:
    cassandra = Cassandra(CassandraSettings.load(environ), names.keyspace, settings.cassandra_reads, settings.timeout_seconds)
    pool = BlockingConnectionPool.from_url(
        RedisSettings.load(environ).url,
        max_connections=REDIS_CONNECTIONS,  # a request beyond them waits for one: it must not be taken for Redis being away
        timeout=REDIS_TIMEOUT_SECONDS,
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),  # Cassandra is the retry
    )
    redis = Redis.from_pool(pool)
    return Servers(cassandra, redis, ChunkCache(redis, names.redis_prefix))


def _operations(servers: Servers, settings: ApiSettings) -> list[BaseRoute]:
    async def health(request: Request) -> Response:
        return Response(b'{"status":"alive"}', media_type="application/json")

    async def ready(request: Request) -> Response:
        try:
            async with asyncio.timeout(REDIS_TIMEOUT_SECONDS):
                await servers.redis.ping()
            redis = "ready"
        except (RedisError, OSError, TimeoutError) as error:
            redis = f"away: {error}"[:200]  # costs speed only, so the API stays ready
        cassandra = await servers.cassandra.state()
        state = {"ready": cassandra == "ready", "cassandra": cassandra, "redis": redis, "graphiql": settings.graphiql}
        return Response(orjson.dumps(state), 200 if state["ready"] else 503, media_type="application/json")

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)

    return [Route("/health", health), Route("/ready", ready), Route("/metrics", metrics)]


def _documentation(settings: ApiSettings) -> list[BaseRoute]:
    specification, page = orjson.dumps(openapi.document()), openapi.page()

    async def openapi_json(request: Request) -> Response:
        return Response(specification, media_type="application/json")

    async def docs(request: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": _DOCS_POLICY, "X-Content-Type-Options": "nosniff"})

    async def style(request: Request) -> Response:
        return Response(openapi.style(), media_type="text/css")

    async def home(request: Request) -> Response:
        return RedirectResponse("/graphiql" if settings.graphiql else "/docs")

    routes: list[BaseRoute] = [
        Route("/openapi.json", openapi_json),
        Route("/docs", docs),
        Route(openapi.STYLE_PATH, style),
        Route("/", home),
    ]
    return [*routes, *(pages.routes() if settings.graphiql else [])]
