"""The wiring: settings in, one Starlette application out; nothing is opened before its lifespan begins."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import orjson
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from millrace_contracts.settings import CassandraSettings, NamesSettings, RedisSettings
from millrace_graphql.garbage import short_pauses
from millrace_graphql.graphiql import pages
from millrace_graphql.http.answers import Answers
from millrace_graphql.http.endpoint import GraphQLEndpoint
from millrace_graphql.http.persisted import PersistedQueries, load_manifest
from millrace_graphql.http.rate_limit import RateLimit
from millrace_graphql.http.response_cache import ResponseCache
from millrace_graphql.http.streams import Streams
from millrace_graphql.http.transport_ws import WebSockets
from millrace_graphql.identity import Authenticator
from millrace_graphql.observability import exposition
from millrace_graphql.ranges.cassandra import Cassandra
from millrace_graphql.ranges.changes import Changes
from millrace_graphql.ranges.chunk_cache import ChunkCache
from millrace_graphql.ranges.chunk_memory import ChunkMemory
from millrace_graphql.ranges.directory import Directory
from millrace_graphql.ranges.notice_feed import NoticeFeed
from millrace_graphql.ranges.query import ReportQueries
from millrace_graphql.ranges.redis_wire import Wire
from millrace_graphql.ranges.report_store import ReportStore
from millrace_graphql.ranges.resume import Resume
from millrace_graphql.ranges.subscribers import Hub
from millrace_graphql.rest import openapi
from millrace_graphql.rest.charging import Charges
from millrace_graphql.rest.problems import not_found_or_method
from millrace_graphql.rest.routes import Rest
from millrace_graphql.schema.query import build_schema
from millrace_graphql.settings import ApiSettings
from millrace_graphql.tracing import Traced, tracing
from millrace_runtime.access_tokens import Door

REDIS_TIMEOUT_SECONDS = 1.0
START_SECONDS = 10.0
"""How long a worker waits for Cassandra before it serves without."""
_DOCS_POLICY = "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'"


@dataclass(frozen=True)
class Servers:
    """The servers behind the API."""

    cassandra: Cassandra
    redis: Wire
    prefix: str


def create_app(environ: Mapping[str, str]) -> Starlette:
    """The application for a mapping of MILLRACE_ settings; call it on the event loop that serves it.

    Raises:
        SettingsError: names the variable and the fix.
    """
    settings = ApiSettings.checked(environ)
    names = NamesSettings.load(environ)
    redis = RedisSettings.load(environ)
    cassandra = Cassandra(CassandraSettings.load(environ), names.keyspace, settings.cassandra_reads, settings.timeout_seconds)
    servers = Servers(cassandra, Wire(redis.url, REDIS_TIMEOUT_SECONDS), names.redis_prefix)
    changes, directory = Changes(), Directory(cassandra)
    hub = Hub(settings.max_subscriptions)
    feed = NoticeFeed(redis.url, names.redis_prefix, changes, servers.redis, directory.progress, hub)
    directory.told = feed.told
    chunks = _chunk_cache(servers, changes, settings)
    queries = ReportQueries(ReportStore(cassandra), directory, chunks, settings)
    responses = ResponseCache(changes, settings.response_cache_bytes)
    authenticator = Authenticator(Door(settings), leeway=settings.leeway_seconds)
    authenticator.changed.append(responses.clear)  # answers are found by a token too
    schema = build_schema()
    rate_limit = _rate_limit(servers, settings)
    answers = Answers(schema, queries, settings, responses, _persisted(servers, settings), rate_limit)
    streams = Streams(schema, answers, responses, queries, (hub, Resume(servers.redis, servers.prefix, cassandra)), settings)
    endpoint = GraphQLEndpoint(answers, responses, authenticator, settings, streams)
    sockets = WebSockets(streams, authenticator, settings.max_socket_operations, settings.max_body_bytes)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        cassandra.start()
        feed.start()
        # A worker that takes another one's place takes its connections too: it has to be able to answer them.
        await cassandra.tried(START_SECONDS)
        watch = asyncio.create_task(authenticator.watch(settings.withdrawn_seconds))
        with tracing(settings.traces, ApiSettings.variable("traces")), short_pauses():
            yield
        watch.cancel()
        await feed.stop()
        await responses.settle()
        responses.clear()
        if chunks is not None:
            await chunks.settle()
        await servers.redis.close()
        await cassandra.stop()

    routes: list[BaseRoute] = [
        Route("/graphql", endpoint),
        WebSocketRoute("/graphql", sockets),
        *Rest(queries, authenticator, settings.timeout_seconds, Charges(queries, settings, rate_limit)).routes(),
        *_operations(servers, settings),
        *_documentation(settings),
    ]
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: not_found_or_method})
    app.state.graphql = endpoint
    app.state.traced = bool(settings.traces)
    return app


def shortcut(app: Starlette) -> ASGIApp:
    """The application with the hot path straight at the server: routing costs more than a kept answer."""
    endpoint: GraphQLEndpoint = app.state.graphql
    graphql = endpoint.__call__

    def serve(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        to = graphql if scope["type"] == "http" and scope["path"] == "/graphql" else app
        return to(scope, receive, send)  # not awaited here: a coroutine around a coroutine is not free

    return Traced(serve) if app.state.traced else serve


def _chunk_cache(servers: Servers, changes: Changes, settings: ApiSettings) -> ChunkCache | None:
    if not settings.chunk_cache:
        return None
    memory = ChunkMemory(changes, settings.chunk_memory_bytes) if settings.chunk_memory_bytes else None
    return ChunkCache(servers.redis, servers.prefix, memory)


def _persisted(servers: Servers, settings: ApiSettings) -> PersistedQueries:
    trusted = None
    if settings.trusted_documents:
        trusted = load_manifest(settings.trusted_documents, ApiSettings.variable("trusted_documents"))
    return PersistedQueries(servers.redis, servers.prefix, trusted)


def _rate_limit(servers: Servers, settings: ApiSettings) -> RateLimit | None:
    if not settings.rate_points:
        return None
    return RateLimit(servers.redis, servers.prefix, settings.rate_points, settings.rate_per_second)


def _operations(servers: Servers, settings: ApiSettings) -> list[BaseRoute]:
    async def health(request: Request) -> Response:
        return Response(b'{"status":"alive"}', media_type="application/json")

    async def ready(request: Request) -> Response:
        try:
            await servers.redis.call(("PING",))
            redis = "ready"
        except (RedisError, OSError, TimeoutError) as error:
            redis = f"away: {error}"[:200]  # costs speed only, so the API stays ready
        cassandra = await servers.cassandra.state()
        state = {"ready": cassandra == "ready", "cassandra": cassandra, "redis": redis, "graphiql": settings.graphiql}
        return Response(orjson.dumps(state), 200 if state["ready"] else 503, media_type="application/json")

    async def metrics(request: Request) -> Response:
        content, media = await asyncio.to_thread(exposition)
        return Response(content, media_type=media)

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
