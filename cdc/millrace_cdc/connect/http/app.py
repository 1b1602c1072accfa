"""The application of ``millrace connect serve``.

Every path under /v1/connect wants an operator's access token; what it answers and does is what the command of the same name does.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, asynccontextmanager
from functools import partial
from typing import Any

import orjson
import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from millrace_cdc.connect.errors import ConnectError
from millrace_cdc.connect.http.handlers import OPERATIONS, Call, Handler, openapi
from millrace_cdc.connect.http.identity import Gate
from millrace_cdc.connect.http.problems import Problem, problem_of
from millrace_cdc.connect.serving_cli import PATIENCE
from millrace_cdc.connect.session import Session, opened
from millrace_contracts.identity import TokenSettings
from millrace_contracts.settings import RuntimeSettings
from millrace_contracts.values.json_text import JsonError, loads
from millrace_runtime import logs
from millrace_runtime.bodies import CLOSE, SlowBodyError, body_parts
from millrace_runtime.request_headers import fault_of
from millrace_runtime.supervised import end_with_supervisor

log = structlog.get_logger()
BODY_LIMIT = 65_536


def target() -> Starlette:
    """What Granian's worker imports: the application made from the environment."""
    end_with_supervisor()
    logs.configure(RuntimeSettings.load(os.environ), "connect-operators")
    return create_app(os.environ)


def create_app(environ: Mapping[str, str], open_session: Callable[[], AbstractContextManager[Session]] | None = None) -> Starlette:
    """The application; the session is opened when it starts and closed when it ends."""
    door = Gate(TokenSettings.checked(environ))
    body_seconds = RuntimeSettings.load(environ).body_seconds
    session = open_session or partial(opened, environ, patience=PATIENCE)
    registry = CollectorRegistry()
    requests = Counter("millrace_operators_requests", "Requests by operation and status.", ("operation", "status"), registry=registry)
    held: dict[str, Session] = {}

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with ExitStack() as stack:
            held["session"] = await run_in_threadpool(stack.enter_context, session())
            yield

    def endpoint(name: str, handler: Handler) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            response = await _answer(door, held["session"], body_seconds, name, handler, request)
            requests.labels(name, response.status_code).inc()
            return response

        return answer

    async def ready(request: Request) -> Response:
        try:
            health = await run_in_threadpool(held["session"].client.health)
        except ConnectError as error:
            return _json({"ready": False, "connect": error.message}, 503)
        good = health.status == "healthy"
        return _json({"ready": good, "connect": health.message}, 200 if good else 503)

    async def health(request: Request) -> Response:
        return _json({"status": "alive"})

    async def metrics(request: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def document(request: Request) -> Response:
        return _json(openapi())

    routes = [Route(each.path, endpoint(each.name, each.handler), methods=[each.method]) for each in OPERATIONS]
    routes += [Route("/health", health), Route("/ready", ready), Route("/metrics", metrics), Route("/openapi.json", document)]
    return Starlette(routes=routes, lifespan=lifespan, exception_handlers={HTTPException: _http_error})


async def _answer(gate: Gate, session: Session, body_seconds: float, name: str, handler: Handler, request: Request) -> Response:
    try:
        fault = fault_of(request.scope["headers"], request.method)
        if fault is not None:
            raise Problem(fault.status, fault.detail, fault.headers)
        subject = await run_in_threadpool(gate.require_operator, request.headers.get("authorization", ""))
        call = Call(session, request.path_params, dict(request.query_params), await _body(request, body_seconds))
        answer = await run_in_threadpool(handler, call)
    except Problem as problem:
        return problem.response()
    except ConnectError as error:
        log.warning("refused", operation=name, reason=error.message)
        return problem_of(error).response()
    if request.method != "GET":
        log.info("done", operation=name, operator=subject, **request.path_params)
    return _json(answer)


async def _body(request: Request, seconds: float) -> dict[str, Any]:
    data = b""
    try:
        async for part in body_parts(request.receive, seconds):
            data += part
            if len(data) > BODY_LIMIT:
                raise Problem(413, f"the body is larger than {BODY_LIMIT} bytes")
    except SlowBodyError as error:
        raise Problem(408, str(error), CLOSE) from None
    if not data:
        return {}
    try:
        document = loads(data)
    except JsonError as error:
        raise Problem(400, str(error)) from None
    if not isinstance(document, dict):
        raise Problem(400, "the body is not a JSON object")
    return document


async def _http_error(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 404
    if status == 405:
        return Problem(405, f"{request.method} is not a method of {request.url.path}").response()
    return Problem(404, f"{request.url.path} is not a path; /openapi.json lists them").response()


def _json(document: object, status: int = 200) -> Response:
    return Response(orjson.dumps(document), status, {"Cache-Control": "no-store"}, media_type="application/json")
