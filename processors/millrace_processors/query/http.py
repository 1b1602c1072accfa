"""The REST paths under /v1/query: 202 with a Location, status, pages of the result, cancel."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from millrace_contracts.values.json_text import JsonError, loads
from millrace_contracts.windows import from_ms
from millrace_processors.query import grammar, openapi, results
from millrace_processors.query.asking import question
from millrace_processors.query.errors import QueryError, SlowError, TooLargeError
from millrace_processors.query.identity import Caller, Gate
from millrace_processors.query.jobs import Job, State
from millrace_processors.query.results import FORMATS
from millrace_processors.query.service import QueryService
from millrace_processors.query.settings import QuerySettings
from millrace_processors.query.views import catalogue
from millrace_runtime.bodies import CLOSE, SlowBodyError, body_parts
from millrace_runtime.request_headers import fault_of

log = structlog.get_logger()
JOBS = "/v1/query/jobs"
LONGEST_WAIT = 10.0
"""Shorter than a stop waits for requests that are being answered."""
PAGE, LARGEST_PAGE = 1_000, 10_000
POLL_SECONDS = 0.1
_PRIVATE = {"Cache-Control": "private, no-store"}
Handler = Callable[[Request, Caller], Awaitable[Response]]


@dataclass(frozen=True)
class Rest:
    """The handlers of one service."""

    service: QueryService
    gate: Gate
    settings: QuerySettings
    body_seconds: float = 30.0
    """Total time of a body."""

    def routes(self) -> list[Route]:
        """Every path with its method."""
        one = JOBS + "/{job}"
        return [
            Route("/v1/query/openapi.json", described, methods=["GET"]),
            Route("/v1/query/views", self._guarded(self.views), methods=["GET"]),
            Route(JOBS, self._guarded(self.submit), methods=["POST"]),
            Route(JOBS, self._guarded(self.jobs), methods=["GET"]),
            Route(one, self._guarded(self.status), methods=["GET"]),
            Route(one, self._guarded(self.cancel), methods=["DELETE"]),
            Route(one + "/result", self._guarded(self.result), methods=["GET"]),
        ]

    async def views(self, request: Request, caller: Caller) -> Response:
        """What may be asked."""
        return _json({"views": catalogue(everything=caller.sees_all), "functions": grammar.function_names()})

    async def submit(self, request: Request, caller: Caller) -> Response:
        """Take a query: 202 and where its status is."""
        asked = question(await self._body(request), self.settings, datetime.now(UTC))
        job = await run_in_threadpool(self.service.submit, caller, asked)
        return _json(shown(job), 202, {"Location": f"{JOBS}/{job.id}", "Retry-After": "1"})

    async def jobs(self, request: Request, caller: Caller) -> Response:
        """The caller's queries, the newest first."""
        return _json({"jobs": [shown(job) for job in await run_in_threadpool(self.service.jobs, caller)]})

    async def status(self, request: Request, caller: Caller) -> Response:
        """A query's state; ``?wait=`` waits so many seconds for its end."""
        deadline = time.monotonic() + _number(request, "wait", 0, LONGEST_WAIT)
        while True:
            job = await run_in_threadpool(self.service.job, caller, request.path_params["job"])
            if not job.pending or time.monotonic() >= deadline:
                return _json(shown(job), 200, {"Retry-After": "1"} if job.pending else {})
            await asyncio.sleep(POLL_SECONDS)

    async def cancel(self, request: Request, caller: Caller) -> Response:
        """Cancel a query, or remove its result."""
        return _json(shown(await run_in_threadpool(self.service.cancel, caller, request.path_params["job"])))

    async def result(self, request: Request, caller: Caller) -> Response:
        """A page of the result as JSON, CSV or Arrow."""
        job_id, kind = request.path_params["job"], _format(request)
        offset, limit = int(_number(request, "offset", 0, 10**9)), int(_number(request, "limit", PAGE, LARGEST_PAGE, least=1))
        page = await run_in_threadpool(self.service.page, caller, job_id, offset, limit)
        following = None if page.next is None else f"{JOBS}/{job_id}/result?format={kind}&offset={page.next}&limit={limit}"
        if kind == "json":
            body = await run_in_threadpool(results.as_json, page, next=following)
        else:
            body = await run_in_threadpool({"csv": results.as_csv, "arrow": results.as_arrow}[kind], page)
        headers = {"Millrace-Rows": str(page.total), "Millrace-Truncated": str(page.truncated).lower(), "Vary": "Accept"}
        if following is not None:
            headers["Link"] = f'<{following}>; rel="next"'
        return Response(body, 200, _PRIVATE | headers, media_type=FORMATS[kind])

    async def _body(self, request: Request) -> Any:
        most = self.settings.max_sql_bytes * 2 + 100_000
        data = bytearray()
        try:
            async for part in body_parts(request.receive, self.body_seconds):
                data += part
                if len(data) > most:
                    raise TooLargeError(f"the body is larger than {most:,} bytes")
        except SlowBodyError as error:
            raise SlowError(str(error)) from None
        try:
            return loads(bytes(data))
        except JsonError as error:
            raise QueryError(str(error), **({} if error.field is None else {"argument": error.field})) from None

    def _guarded(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """A handler whose caller is known, and whose errors are problems; an unforeseen one is masked under a reference."""

        async def answer(request: Request) -> Response:
            fault = fault_of(request.scope["headers"], request.method)
            if fault is not None:
                refused = problem(fault.status, "BAD_REQUEST", fault.detail)
                refused.headers.update(fault.headers)
                return refused
            try:
                caller = await run_in_threadpool(self.gate.identify, request.headers.get("authorization", ""))
                return await handler(request, caller)
            except QueryError as error:
                return problem(error.status, error.code, error.message, **error.data)
            except Exception as error:
                reference = secrets.token_hex(8)
                log.error("request.failed", reference=reference, exc_info=error)
                return problem(500, "INTERNAL", f"internal error; tell us the reference {reference}", reference=reference)

        return answer


async def described(request: Request) -> Response:
    """The paths as OpenAPI."""
    return Response(orjson.dumps(openapi.document(LONGEST_WAIT, PAGE, LARGEST_PAGE)), media_type="application/json")


def shown(job: Job) -> dict[str, Any]:
    """A job as its caller sees it."""

    def instant(value: int | None) -> str | None:
        return None if value is None else from_ms(value).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    found = {
        "id": job.id,
        "state": job.state,
        "sql": job.sql,
        "range": {"start": instant(job.start_ms), "end": instant(job.end_ms), "byDefault": job.default_range},
        "merchants": orjson.loads(job.merchants),
        "createdAt": instant(job.created_ms),
        "startedAt": instant(job.started_ms),
        "finishedAt": instant(job.finished_ms),
        "status": f"{JOBS}/{job.id}",
    }
    if job.state in (State.DONE, State.EXPIRED):
        found |= {"rows": job.rows, "truncated": job.truncated, "bytes": job.bytes, "expiresAt": instant(job.expires_ms)}
        if job.everything:
            # I9: it counts rows of others in the same files.
            found["rowsRead"] = job.rows_read
        found |= {"asOf": instant(job.as_of_ms), "completeThrough": instant(job.complete_through_ms)}
    if job.state is State.DONE:
        found["result"] = f"{JOBS}/{job.id}/result"
    if job.error is not None:
        found["error"] = {"code": job.code, "detail": job.error}
    return found


def problem(status: int, code: str, detail: str, **more: object) -> Response:
    """A problem+json answer (RFC 9457)."""
    body = {"type": "about:blank", "title": code.replace("_", " ").capitalize(), "status": status, "code": code, "detail": detail, **more}
    headers = {**_PRIVATE, **(CLOSE if status == 408 else {})}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="millrace"'
    if "retryAfter" in more:
        headers["Retry-After"] = str(more["retryAfter"])
    return Response(orjson.dumps(body), status, headers, media_type="application/problem+json")


async def not_found_or_method(request: Request, error: Exception) -> Response:
    """What the router refuses: an unknown path or another method."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(status, "BAD_REQUEST")
    return problem(status, code, f"{request.method} {request.url.path:.200}: see /v1/query/views and {JOBS}")


def _json(body: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(orjson.dumps(body), status, _PRIVATE | (headers or {}), media_type="application/json")


def _number(request: Request, name: str, default: float, most: float, least: float = 0) -> float:
    text = request.query_params.get(name)
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = float("nan")
    if not least <= value <= most:
        raise QueryError(f"{name}: {text!r:.40} is no number from {least:g} to {most:g}", argument=name)
    return value


def _format(request: Request) -> str:
    """By the parameter ``format``, else by what is accepted; JSON by default."""
    asked = request.query_params.get("format")
    if asked is not None:
        if asked not in FORMATS:
            raise QueryError(f"format: {asked!r:.40} is not one of {', '.join(FORMATS)}", argument="format")
        return asked
    accepted = request.headers.get("accept", "").lower()
    return next((kind for kind, media in FORMATS.items() if kind != "json" and media.split(";")[0] in accepted), "json")
