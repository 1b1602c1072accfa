"""The wiring: settings in, one Starlette application out; Spark starts with its lifespan and stops with it."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from millrace_contracts.settings import RuntimeSettings
from millrace_processors.query.http import Rest, not_found_or_method
from millrace_processors.query.identity import Gate
from millrace_processors.query.metrics import Metrics
from millrace_processors.query.service import QueryService
from millrace_processors.query.settings import QueryConfig
from millrace_processors.settings import Config
from millrace_runtime import logs
from millrace_runtime.supervised import end_with_supervisor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace_processors.query.engine import SparkEngine

log = structlog.get_logger()
OpenEngine = Callable[[Config, int], AbstractContextManager["SparkEngine"]]


def target() -> Starlette:
    """What Granian's worker imports: the application made from the environment."""
    end_with_supervisor()
    logs.configure(RuntimeSettings.load(os.environ), "query")
    return create_app(os.environ)


def create_app(environ: Mapping[str, str], open_engine: OpenEngine | None = None) -> Starlette:
    """The application for a mapping of MILLRACE_ settings.

    Raises:
        SettingsError: names the variable and the fix.
    """
    config = QueryConfig.load(environ)
    metrics = Metrics()
    held: list[Callable[[], tuple[bool, str]]] = []

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        from millrace_processors.query.completeness import CompleteThrough
        from millrace_processors.query.engine import WARM

        # On this thread: the JVM is to start with SIGTERM ignored (session.build), which only the main thread can arrange.
        with (open_engine or spark_engine)(config.engine, config.query.max_result_bytes) as engine:
            service = QueryService(config.query, engine, metrics, CompleteThrough(config.engine), engine.abandon)
            rest = Rest(service, Gate(config.token), config.query, RuntimeSettings.load(environ).body_seconds)
            app.router.routes.extend(rest.routes())
            metrics.zone_rules.labels("java", engine.zone_release()).set(1)
            service.start()
            # The service first: an engine whose slots are all stuck may not answer.
            held.extend((service.ready, engine.ready))
            threading.Thread(target=engine.warm, name="query-warm-up", daemon=True).start()
            log.info("query.ready", results=config.query.results)
            yield
            await run_in_threadpool(service.stop)
            await run_in_threadpool(engine.cancel, WARM)

    async def ready(request: Request) -> Response:
        good, detail = bool(held), "Spark is starting"
        for look in held:
            if good:
                good, detail = await run_in_threadpool(look)
        return Response(orjson.dumps({"ready": good, "detail": detail}), 200 if good else 503, media_type="application/json")

    async def health(request: Request) -> Response:
        return Response(b'{"status":"alive"}', media_type="application/json")

    async def exposed(request: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    routes = [Route("/health", health), Route("/ready", ready), Route("/metrics", exposed)]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: not_found_or_method})


@contextmanager
def spark_engine(config: Config, result_bytes: int) -> Iterator[SparkEngine]:
    """A Spark session of this process, bounded in what it may bring to the driver."""
    from millrace_processors import session
    from millrace_processors.lake import Lake
    from millrace_processors.query.engine import SparkEngine

    bounded = f"spark.driver.maxResultSize={result_bytes};spark.sql.runSQLOnFiles=false"
    extra = ";".join(part for part in (config.spark.extra, bounded) if part)
    config = replace(config, spark=config.spark.model_copy(update={"extra": extra}))
    spark = session.build(config, "query")
    try:
        yield SparkEngine(spark, Lake(spark, config.lake, config.names.lake_namespace))
    finally:
        spark.stop()
