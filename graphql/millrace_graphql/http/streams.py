"""Running a subscription (or a query) as a stream of payloads, whatever carries it: a WebSocket or server-sent events."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from graphql import ExecutionResult, GraphQLSchema, OperationType, create_source_event_stream, get_operation_ast

from millrace_graphql.errors import ApiError, TimedOutError, UnauthenticatedError
from millrace_graphql.http.answers import NEED_TOKEN, Answers
from millrace_graphql.http.budgets import Budgets
from millrace_graphql.http.documents import Document
from millrace_graphql.http.execution import Context, shown
from millrace_graphql.http.negotiation import GRAPHQL
from millrace_graphql.http.planned import execute
from millrace_graphql.http.request import GraphQLRequest, variables_key
from millrace_graphql.http.response_cache import Entry, ResponseCache, entry_of, short
from millrace_graphql.identity import Identity
from millrace_graphql.observability import SUBSCRIPTIONS
from millrace_graphql.ranges.changes import Reads
from millrace_graphql.ranges.query import ReportQueries
from millrace_graphql.ranges.resume import Resume
from millrace_graphql.ranges.subscribers import Change, Hub
from millrace_graphql.settings import ApiSettings

FEW_WINDOWS = 8
"""Of a change that is a key as it is."""


@dataclass(frozen=True)
class Payload:
    """One result of a stream. ``failed``: nothing was run and it is the only one. ``event``: the watermark to resume after."""

    body: bytes
    failed: bool = False
    event: int | None = None


class Streams:
    """Makes streams. Readers of the same question and event share one execution."""

    def __init__(
        self,
        schema: GraphQLSchema,
        answers: Answers,
        cache: ResponseCache,
        queries: ReportQueries,
        sources: tuple[Hub, Resume],
        settings: ApiSettings,
    ) -> None:
        self._schema = schema
        self._answers = answers
        self._cache = cache
        self._queries = queries
        self._hub, self._resume = sources
        self._settings = settings
        self._budgets = Budgets(settings.timeout_seconds)

    async def stream(
        self, request: GraphQLRequest, caller: Identity | None, transport: str, last_event: int | None = None
    ) -> AsyncGenerator[Payload, None]:
        """The payloads of a request, to its end; close it to tear everything down."""
        try:
            document, kind = await self._prepared(request, caller)
            variables = variables_key(request)
        except Exception as error:  # one that is unforeseen is masked
            yield _failed([error])
            return
        if kind is not OperationType.SUBSCRIPTION:
            answer = await self._answers.answer(request, caller, GRAPHQL)
            body = answer.entry.content
            yield Payload(body, failed=not answer.entry.cacheable and b'"data"' not in body)
            return
        assert caller is not None
        context = Context(caller, self._queries, self._hub, self._resume, last_event)
        assert document.node is not None
        source: Any = await create_source_event_stream(
            self._schema, document.node, None, context, request.variables, request.operation_name
        )
        if isinstance(source, ExecutionResult):
            yield _failed(source.errors or [])
            return
        with _counted(transport):
            async for payload in self._events(source, document, request, variables, context):
                yield payload

    async def _prepared(self, request: GraphQLRequest, caller: Identity | None) -> tuple[Document, OperationType]:
        document = await self._answers.document(request, caller)
        if document.errors or document.node is None:
            raise _Refused(list(document.errors))
        operation = get_operation_ast(document.node, request.operation_name)
        if operation is None:
            raise ApiError("operationName: names no operation of the document, or the document has several")
        if operation.operation is OperationType.SUBSCRIPTION and caller is None:
            raise UnauthenticatedError(NEED_TOKEN)
        if operation.operation is OperationType.SUBSCRIPTION:
            await self._answers.charge(document, operation, request, caller)
        return document, operation.operation

    async def _events(
        self, source: AsyncGenerator[Any, None], document: Document, request: GraphQLRequest, variables: bytes, context: Context
    ) -> AsyncIterator[Payload]:
        async with aclosing(source):
            try:
                async for event in source:
                    entry = await self._shared(event, document, request, variables, context)
                    yield Payload(entry.content, event=event.watermark if isinstance(event, Change) else None)
            except Exception as error:  # the source itself failed: nothing follows; what is unforeseen is masked
                yield _failed([error])

    async def _shared(self, event: Any, document: Document, request: GraphQLRequest, variables: bytes, context: Context) -> Entry:
        caller = context.caller
        assert caller is not None
        key = ("event", caller.tenant, document.key, short(request.operation_name), short(variables), _event_key(event))

        async def make(reads: Reads, seq: int) -> Entry:
            assert document.node is not None
            plan = self._answers.documents.plan(document, request.operation_name)
            try:
                with self._budgets.open():
                    result = await execute(self._schema, document.node, plan, request.variables, request.operation_name, context, event)
                body = _body(result)
            except TimeoutError:
                problem = TimedOutError(f"not done within {self._settings.timeout_seconds:g} s; ask for less in one event")
                body = orjson.dumps({"errors": [shown(problem)]})
            entry = entry_of(200, body, [], reads, seq)
            entry.cacheable = b'"errors"' not in body[:12]
            return entry

        return await self._cache.get(key, make)


def _event_key(event: Any) -> Any:
    """What an event is found by: a change with as many windows as it may have is a third of a megabyte."""
    long = isinstance(event, Change) and len(event.windows) > FEW_WINDOWS
    return hashlib.sha256(repr(event).encode()).digest() if long else event


class _Refused(ApiError):
    """A document that does not hold."""

    def __init__(self, errors: list[Exception]) -> None:
        super().__init__("the document is refused")
        self.errors = errors


def _failed(errors: list[Any]) -> Payload:
    told = [each for error in errors for each in (error.errors if isinstance(error, _Refused) else [error])]
    return Payload(orjson.dumps({"errors": [shown(error) for error in told]}), failed=True)


def _body(result: Any) -> bytes:
    if isinstance(result, list):
        return orjson.dumps({"errors": [shown(error) for error in result]})
    if result.errors:
        return orjson.dumps({"errors": [shown(error) for error in result.errors], "data": result.data})
    return orjson.dumps({"data": result.data})


@contextmanager
def _counted(transport: str) -> Any:
    gauge = SUBSCRIPTIONS.labels(transport)
    gauge.inc()
    try:
        yield
    finally:
        gauge.dec()
