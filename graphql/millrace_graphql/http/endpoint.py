"""The GraphQL endpoint: one request from bytes to bytes, by the GraphQL-over-HTTP specification."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson
from graphql import GraphQLSchema, OperationDefinitionNode, OperationType, get_operation_ast
from starlette.types import Receive, Scope, Send

from millrace_graphql.errors import ApiError, TimedOutError, UnauthenticatedError
from millrace_graphql.http.documents import Document, Documents
from millrace_graphql.http.execution import Context, run, shown
from millrace_graphql.http.limits import root_fields
from millrace_graphql.http.negotiation import GRAPHQL, JSON, media_type
from millrace_graphql.http.request import BadRequestError, GraphQLRequest, read_request
from millrace_graphql.identity import Authenticator, Identity
from millrace_graphql.observability import REQUESTS, SECONDS, operation_label
from millrace_graphql.ranges.query import ReportQueries
from millrace_graphql.settings import ApiSettings

OPEN_FIELDS = {"__schema", "__type", "__typename"}
"""What a caller without a token may ask: the schema, never a row (I9)."""
Answer = tuple[int, dict[str, Any], dict[str, str]]
"""Status, body, headers."""


class GraphQLEndpoint:
    """An ASGI application."""

    def __init__(self, schema: GraphQLSchema, queries: ReportQueries, authenticator: Authenticator, settings: ApiSettings) -> None:
        self._schema = schema
        self._queries = queries
        self._authenticator = authenticator
        self._settings = settings
        self._documents = Documents(schema, settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        media = media_type(headers.get("accept", ""))
        if media is None:
            refusal = BadRequestError(f"Accept: nothing of {headers['accept']!r:.80} is offered; take {JSON} or {GRAPHQL}", 406)
            status, body, more = _refused(refusal)
        else:
            status, body, more = await self._answer(scope, receive, headers, media)
        await _send(send, status, orjson.dumps(body), media or JSON, more)

    async def _answer(self, scope: Scope, receive: Receive, headers: dict[str, str], media: str) -> Answer:
        try:
            # Who asks is settled before any document or row is looked up (I9).
            caller = await self._authenticator.identify(headers.get("authorization", ""))
            request = await read_request(scope, receive, headers, self._settings.max_body_bytes)
        except ApiError as error:
            return _refused(error)
        started = time.perf_counter()
        status, body, more = await self._graphql(request, caller, media)
        label = operation_label(request.operation_name)
        REQUESTS.labels("graphql", label, "error" if "errors" in body else "ok").inc()
        SECONDS.labels("graphql", label).observe(time.perf_counter() - started)
        return status, body, more

    async def _graphql(self, request: GraphQLRequest, caller: Identity | None, media: str) -> Answer:
        # A well-formed request whose document is refused: 200 for plain JSON, as its clients expect, 400 otherwise.
        refused = 400 if media == GRAPHQL else 200
        document = self._documents.get(request.query)
        operation = get_operation_ast(document.node, request.operation_name) if document.node else None
        if operation and request.is_get and operation.operation is not OperationType.QUERY:
            return _refused(BadRequestError(f"a {operation.operation.value} needs POST", 405, {"Allow": "POST"}))
        if document.errors or document.node is None:
            return refused, {"errors": [shown(error) for error in document.errors]}, {}
        if caller is None and operation and not _is_open(document, operation):
            return _refused(UnauthenticatedError("send your access token in the header 'Authorization: Bearer <token>'"))
        context = Context(caller, self._queries)
        try:
            async with asyncio.timeout(self._settings.timeout_seconds):
                result = await run(self._schema, document.node, request.variables, request.operation_name, context)
        except TimeoutError:
            return _refused(TimedOutError(f"not done within {self._settings.timeout_seconds:g} s; ask for a shorter range"))
        if isinstance(result, list):
            return refused, {"errors": [shown(error) for error in result]}, {}
        body: dict[str, Any] = {"data": result.data}
        if result.errors:
            body = {"errors": [shown(error) for error in result.errors], "data": result.data}
        return 200, body, {}


def _is_open(document: Document, operation: OperationDefinitionNode) -> bool:
    return document.node is not None and root_fields(document.node, operation) <= OPEN_FIELDS


def _refused(error: ApiError) -> Answer:
    more = dict(error.headers) if isinstance(error, BadRequestError) else {}
    if isinstance(error, UnauthenticatedError):
        more["WWW-Authenticate"] = 'Bearer realm="millrace"'
    return error.status, {"errors": [shown(error)]}, more


async def _send(send: Send, status: int, body: bytes, media: str, more: dict[str, str]) -> None:
    headers = {
        "Content-Type": f"{media}; charset=utf-8",
        "Content-Length": str(len(body)),
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept, Authorization",
        **more,
    }
    pairs = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
