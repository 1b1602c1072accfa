"""What the endpoints share: bodies with a limit, answers, and the middleware around every request."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import TypeVar

import orjson
import structlog
from bson import json_util
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millrace_collection import metrics
from millrace_collection.keys import new_key
from millrace_collection.problems import Problem, from_json, from_validation, unavailable
from millrace_collection.services import Services
from millrace_collection.store import StoreConflict, StoreUnavailable
from millrace_contracts.values.json_text import JsonError, checked, without_mark
from millrace_runtime.bodies import CLOSE, SlowBodyError, body_parts
from millrace_runtime.request_headers import fault_of

REQUEST_ID = "X-Request-Id"
_ACCEPTED_ID = re.compile(r"[A-Za-z0-9._~:+/=-]{1,128}")
CLIENT_GONE = 499
"""In logs and metrics only: the client closed the connection before the answer."""
_QUIET = frozenset(["/health", "/ready", "/metrics"])
Model = TypeVar("Model", bound=BaseModel)


def services(request: Request) -> Services:
    """The services of the app."""
    found: Services = request.app.state.services
    return found


def request_id(request: Request) -> str:
    """The id of the request, the caller's or ours."""
    found: str = request.scope["request_id"]
    return found


async def read_body(request: Request, limit: int) -> bytes:
    """The body, without a byte order mark.

    Raises:
        Problem: 413 above the limit, told before the rest is read; 415 for another media type than JSON.
        SlowBodyError: it did not arrive in time.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Problem(415, f"Content-Type: {kind} is not taken; send application/json")
    body = bytearray()
    async for chunk in body_parts(request.receive, services(request).body_seconds):
        body += chunk
        if len(body) > limit:
            raise Problem(413, f"The body is longer than {limit} bytes; send many payments to /v1/payments/bulk")
    return without_mark(bytes(body))


def parse(model: type[Model], body: bytes) -> Model:
    """The body as a model.

    Raises:
        Problem: 400 where it is not JSON or gives a field twice, 422 naming the fields.
    """
    try:
        return model.model_validate_json(checked(body, "The body"))
    except JsonError as error:
        raise from_json(error) from None
    except ValidationError as error:
        raise from_validation(error) from None


def json_response(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON; dates are RFC 3339 in UTC. What old documents hold beside that, such as the year 10000, is canonical extended JSON."""
    body = content if isinstance(content, bytes) else orjson.dumps(content, option=orjson.OPT_UTC_Z, default=_extended)
    return Response(body, status, headers, media_type="application/json")


def _extended(value: object) -> orjson.Fragment:
    return orjson.Fragment(json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS))


class Requests:
    """ASGI middleware: request ids, problems instead of exceptions, metrics and one log line for each request."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"x-request-id"), "")
        identifier = given if _ACCEPTED_ID.fullmatch(given) else new_key()
        scope["request_id"] = identifier
        started = time.perf_counter()
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], (b"x-request-id", identifier.encode())]}
            await send(message)

        with structlog.contextvars.bound_contextvars(tier="collection", request_id=identifier):
            try:
                fault = fault_of(scope["headers"], scope["method"])
                if fault is not None:
                    raise Problem(fault.status, fault.detail, headers=fault.headers)
                await self._app(scope, receive, sending)
            except ClientDisconnect:
                status = status or CLIENT_GONE
            except Exception as error:
                if status:
                    raise
                await _problem(error, identifier).response(identifier)(scope, receive, sending)
            finally:
                _record(scope, status, time.perf_counter() - started)


def _problem(error: Exception, identifier: str) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, SlowBodyError):
        return Problem(408, str(error), headers=CLOSE)
    if isinstance(error, StoreUnavailable):
        structlog.get_logger().warning("store_unavailable", reason=str(error)[:200])
        return unavailable()
    if isinstance(error, StoreConflict):
        return Problem(409, error.reason)
    structlog.get_logger().error("failed", exc_info=error)
    return Problem(500, f"An error of ours; it is logged under the request id {identifier}")


async def routing_problem(request: Request, error: Exception) -> Response:
    """Answers of the router (404, 405) as problems."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = f"{request.method} {request.url.path} is not here; see /v1/payments, /v1/merchants/{{id}}, /v1/users/{{id}}"
    return Problem(status, detail).response(request_id(request))


def _record(scope: Scope, status: int, seconds: float) -> None:
    path = getattr(scope.get("route"), "path", "other").replace(":path}", "}")
    metrics.REQUESTS.labels(path, scope["method"], status).inc()
    metrics.SECONDS.labels(path, scope["method"]).observe(seconds)
    if path not in _QUIET:
        structlog.get_logger().info("request", method=scope["method"], route=path, status=status, ms=round(seconds * 1000, 1))


async def bulk_parts(request: Request, seconds: float) -> AsyncIterator[bytes]:
    """The body as it arrives.

    Raises:
        Problem: 408, it took longer than its time.
    """
    try:
        async for part in body_parts(request.receive, seconds):
            yield part
    except SlowBodyError as error:
        raise Problem(408, str(error)) from None
