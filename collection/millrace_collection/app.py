"""The app: the three services and the operators' endpoints behind one ASGI application."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from millrace_collection import metrics, payment_routes, profile_routes
from millrace_collection.http import Requests, json_response, routing_problem, services
from millrace_collection.mongo_store import MongoStore
from millrace_collection.services import Services, build
from millrace_collection.settings import URL_VARIABLE, CollectionSettings, MongoSettings
from millrace_collection.store import StoreUnavailable
from millrace_contracts.settings import NamesSettings, RuntimeSettings
from millrace_runtime import logs
from millrace_runtime.supervised import end_with_supervisor


async def health(_request: Request) -> Response:
    """200 while the process lives."""
    return json_response({"status": "alive"})


async def ready(request: Request) -> Response:
    """200 where a primary with a majority behind it answers, else 503 saying so."""
    try:
        await services(request).store.ready()
    except StoreUnavailable as error:
        return json_response({"ready": False, "mongo": str(error)[:200]}, 503)
    return json_response({"ready": True, "mongo": "majority"})


async def exposed(_request: Request) -> Response:
    """Prometheus text."""
    body, kind = metrics.exposition()
    return Response(body, media_type=kind)


OPERATORS = [Route("/health", health), Route("/ready", ready), Route("/metrics", exposed)]


def application(made: Services | None = None) -> Starlette:
    """The application; without services it makes them at start from the environment."""
    app = Starlette(
        routes=[*payment_routes.ROUTES, *profile_routes.ROUTES, *OPERATORS],
        middleware=[Middleware(Requests)],
        exception_handlers={HTTPException: routing_problem},
        lifespan=None if made else _lifespan,
    )
    app.state.services = made
    return app


def create() -> Starlette:
    """Granian's factory."""
    end_with_supervisor()
    return application()


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    environ = os.environ
    runtime = RuntimeSettings.load(environ)
    logs.configure(runtime, "collection")
    settings = CollectionSettings.load(environ)
    store = MongoStore(MongoSettings.load(environ).collection_uri, NamesSettings.load(environ).database, settings.retry_seconds)
    made = build(settings, store, body_seconds=runtime.body_seconds)
    app.state.services = made
    structlog.get_logger().info("ready", url=environ.get(URL_VARIABLE, ""), pid=os.getpid())
    try:
        yield
    finally:
        made.request_log.close()
        await store.close()
