"""Errors as RFC 9457 problem details, with the codes that GraphQL uses."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Mapping

import orjson
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from millrace_graphql.errors import ApiError, UnauthenticatedError
from millrace_graphql.http.rate_limit import ThrottledError
from millrace_runtime.request_headers import fault_of

log = structlog.get_logger()
MEDIA = "application/problem+json"
Handler = Callable[[Request], Awaitable[Response]]


def problem(status: int, code: str, detail: str, headers: Mapping[str, str] | None = None, **more: object) -> Response:
    """A problem+json answer."""
    title = code.replace("_", " ").capitalize()
    body = {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail, **more}
    sent = {"Cache-Control": "private, no-store", **(headers or {})}
    if status == 401:
        sent["WWW-Authenticate"] = 'Bearer realm="millrace"'
    return Response(orjson.dumps(body), status, sent, media_type=MEDIA)


def guarded(handler: Handler) -> Handler:
    """A handler whose errors become problems; an unforeseen one is masked under a reference."""

    async def guard(request: Request) -> Response:
        fault = fault_of(request.scope["headers"], request.method)
        if fault is not None:
            return problem(fault.status, "BAD_REQUEST", fault.detail, fault.headers)
        try:
            return await handler(request)
        except ThrottledError as error:
            wait = {"Retry-After": str(error.wait), **error.throttle.headers()}
            return problem(error.status, error.code, error.message, wait, **error.data)
        except ApiError as error:
            return problem(error.status, error.code, error.message, **error.data)
        except Exception as error:
            reference = secrets.token_hex(8)
            log.error("request.failed", reference=reference, exc_info=error)
            return problem(500, "INTERNAL", f"internal error; tell us the reference {reference}", reference=reference)

    return guard


def need_token() -> UnauthenticatedError:
    """The error for a request without a token."""
    return UnauthenticatedError("send your access token in the header 'Authorization: Bearer <token>'")


async def not_found_or_method(request: Request, error: Exception) -> Response:
    """What the router refuses: an unknown path or another method."""
    assert isinstance(error, HTTPException)
    code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(error.status_code, "BAD_REQUEST")
    answer = problem(error.status_code, code, f"{request.method} {request.url.path}: {error.detail}; see /docs")
    answer.headers.update(error.headers or {})
    return answer
