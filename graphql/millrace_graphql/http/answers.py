"""From a GraphQL request to its answer: its document, its cost, the tenant's points, and then the cache or an execution."""

from __future__ import annotations

import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import orjson
from graphql import GraphQLSchema, OperationDefinitionNode, OperationType

from millrace_graphql import tracing
from millrace_graphql.errors import ApiError, LimitExceededError, TimedOutError, UnauthenticatedError
from millrace_graphql.http.budgets import Budgets
from millrace_graphql.http.cost import Costs
from millrace_graphql.http.documents import Document, Documents
from millrace_graphql.http.execution import Context, shown
from millrace_graphql.http.headers import NEVER, PRIVATE, answer_headers, content_length
from millrace_graphql.http.limits import root_fields
from millrace_graphql.http.negotiation import GRAPHQL
from millrace_graphql.http.persisted import PersistedQueries
from millrace_graphql.http.planned import execute
from millrace_graphql.http.rate_limit import RateLimit, Throttle, ThrottledError
from millrace_graphql.http.request import BadRequestError, GraphQLRequest, variables_key
from millrace_graphql.http.response_cache import Entry, ResponseCache, entry_of, short
from millrace_graphql.identity import Identity
from millrace_graphql.observability import COST, operation_label, request_counters
from millrace_graphql.ranges.changes import Reads, record
from millrace_graphql.ranges.query import ReportQueries
from millrace_graphql.settings import ApiSettings

OPEN_FIELDS = {"__schema", "__type", "__typename"}
"""What a caller without a token may ask: the schema, never a row (I9)."""
NEED_TOKEN = "send your access token in the header 'Authorization: Bearer <token>'"  # noqa: S105 - no secret


@dataclass(slots=True)  # not frozen, as all that is made for each request: that takes three times as long
class Operation:
    """What is to be run."""

    document: Document
    node: OperationDefinitionNode | None
    request: GraphQLRequest
    caller: Identity | None
    cost: int


@dataclass(slots=True)
class Answer:
    """An entry and what only this request is told."""

    entry: Entry
    headers: tuple[tuple[bytes, bytes], ...] = ()
    extensions: dict[str, Any] | None = None
    kept: bool = False
    """Whether it was kept, and found by what it means."""

    @property
    def content(self) -> bytes:
        """The body, with what only this request is told."""
        content = self.entry.content
        return content if self.extensions is None else content[:-1] + b',"extensions":' + orjson.dumps(self.extensions) + b"}"


class Answers:
    """Answers GraphQL requests of any transport. Who asks is settled before (I9)."""

    def __init__(
        self,
        schema: GraphQLSchema,
        queries: ReportQueries,
        settings: ApiSettings,
        cache: ResponseCache,
        persisted: PersistedQueries,
        rate_limit: RateLimit | None,
    ) -> None:
        self._schema = schema
        self._queries = queries
        self._settings = settings
        self._cache = cache
        self._persisted = persisted
        self._rate_limit = rate_limit
        self._budgets = Budgets(settings.timeout_seconds)
        self.documents = Documents(schema, settings)

    async def answer(self, request: GraphQLRequest, caller: Identity | None, media: str) -> Answer:
        """The answer; errors of any kind are answers too."""
        started = time.perf_counter()
        names = [request.operation_name]
        try:
            answer = await self._answer(request, caller, media, names)
        except ApiError as error:
            answer = Answer(refusal(error, media))
        except Exception as error:
            answer = Answer(masked(error, media))
        outcome = "ok" if answer.entry.cacheable else "error"
        count, seconds = request_counters("graphql", operation_label(names[0]), outcome)
        count.inc()
        seconds.observe(time.perf_counter() - started)
        return answer

    async def _answer(self, request: GraphQLRequest, caller: Identity | None, media: str, names: list[str | None]) -> Answer:
        """``names`` is given the operation's name once it is known: many clients do not send that of the only one."""
        try:
            text = await self._persisted.text(request)
        except BadRequestError:
            raise
        except ApiError as error:  # a well-formed request whose document is refused
            return Answer(_entry(_refused_status(media), {"errors": [shown(error)]}, media))
        document = self.documents.get(text, keep=caller is not None)
        node = document.operation(request.operation_name)
        if node is not None and node.name is not None:
            names[0] = node.name.value
        self._check_method(request, node)
        if document.errors or document.node is None:
            return Answer(_entry(_refused_status(media), {"errors": [shown(error) for error in document.errors]}, media))
        if caller is None and node and root_fields(document.node, node) - OPEN_FIELDS:
            raise UnauthenticatedError(NEED_TOKEN)
        operation = Operation(document, node, request, caller, self._cost(document, node, request))
        answer = await self._cached(operation, media)
        if caller is not None:  # and its points are taken
            await self._persisted.register(request, text, caller.payer)
        return answer

    async def document(self, request: GraphQLRequest, caller: Identity | None) -> Document:
        """The document of a request, valid or not.

        Raises:
            ApiError: it is not there, or may not run.
        """
        return self.documents.get(await self._persisted.text(request), keep=caller is not None)

    async def charge(self, document: Document, node: OperationDefinitionNode, request: GraphQLRequest, caller: Identity | None) -> None:
        """Take what an operation costs from its caller's points.

        Raises:
            LimitExceededError, ThrottledError: it costs more than may be, or more than is left.
        """
        cost = self._cost(document, node, request)
        if self._rate_limit is not None and caller is not None:
            await self._rate_limit.take(caller.payer, cost)

    async def _cached(self, operation: Operation, media: str) -> Answer:
        request, caller = operation.request, operation.caller
        variables = variables_key(request)
        if caller is None:  # nothing is kept of a caller without a token
            return Answer(await self._run(operation, media, record(), 0))
        key: Hashable = (caller.tenant, media, operation.document.key, short(request.operation_name), short(variables))
        throttle: Throttle | None = None
        entry = self._cache.find(key)
        kept = entry is not None
        if entry is None:
            if self._rate_limit is not None:
                # Only work is charged: what the cache answers is free.
                throttle = await self._rate_limit.take(caller.payer, operation.cost)

            async def make(reads: Reads, seq: int) -> Entry:
                return await self._run(operation, media, reads, seq)

            entry = await self._cache.get(key, make)
        else:
            self._cache.found[0] += 1
        more = () if throttle is None else throttle.pairs()
        asked = request.extensions.get("cost") is True
        return Answer(entry, more, _cost_extension(operation.cost, throttle) if asked else None, kept)

    async def _run(self, operation: Operation, media: str, reads: Reads, seq: int) -> Entry:
        request, document = operation.request, operation.document.node
        assert document is not None
        context = Context(operation.caller, self._queries)
        plan = self.documents.plan(operation.document, request.operation_name)
        try:
            named = operation.node.name if operation.node is not None else None
            with tracing.operation(named.value if named is not None else None, "query"), self._budgets.open():
                result = await execute(self._schema, document, plan, request.variables, request.operation_name, context)
        except TimeoutError:
            return refusal(TimedOutError(f"not done within {self._settings.timeout_seconds:g} s; ask for a shorter range"), media)
        if isinstance(result, list):
            return _entry(_refused_status(media), {"errors": [shown(error) for error in result]}, media)
        if result.errors:
            return _entry(200, {"errors": [shown(error) for error in result.errors], "data": result.data}, media)
        headers = answer_headers(media, PRIVATE, {"X-Millrace-Cost": str(operation.cost)})
        return entry_of(200, orjson.dumps({"data": result.data}), headers, reads, seq)

    def _cost(self, document: Document, node: OperationDefinitionNode | None, request: GraphQLRequest) -> int:
        if node is None or document.node is None:
            return 1
        costs = document.costs.get(request.operation_name)
        if costs is None:
            costs = document.costs[request.operation_name] = Costs(document.node, node)
        cost = costs.total(request.variables)
        COST.observe(cost)
        if self._settings.cost_mode == "enforce" and cost > self._settings.max_cost:
            raise LimitExceededError("cost", cost, self._settings.max_cost, "ask for a shorter range or fewer fields in one request")
        return cost

    @staticmethod
    def _check_method(request: GraphQLRequest, node: OperationDefinitionNode | None) -> None:
        if node is None:
            return
        if request.is_get and node.operation is OperationType.MUTATION:
            raise BadRequestError("a mutation needs POST", 405, {"Allow": "POST"})
        if node.operation is OperationType.SUBSCRIPTION:
            raise BadRequestError("a subscription needs 'Accept: text/event-stream' or a WebSocket with graphql-transport-ws")


def refusal(error: ApiError, media: str) -> Entry:
    """The answer to a request for which nothing was run."""
    more: dict[str, str] = dict(error.headers) if isinstance(error, BadRequestError) else {}
    if isinstance(error, UnauthenticatedError):
        more["WWW-Authenticate"] = 'Bearer realm="millrace"'
    if isinstance(error, ThrottledError):
        more |= {"Retry-After": str(error.wait), **error.throttle.headers()}
    return _entry(error.status, {"errors": [shown(error)]}, media, more)


def masked(error: Exception, media: str) -> Entry:
    """The answer when something unforeseen has happened: a reference, under which the log has it."""
    return _entry(500, {"errors": [shown(error)]}, media)


def batch(answers: list[Answer], media: str) -> Entry:
    """The answers of a batch as one, in its order; its status is 200, as each answer says for itself what became of it."""
    return _only_now(200, b"[" + b",".join([answer.content for answer in answers]) + b"]", media, {})


def _entry(status: int, body: dict[str, Any], media: str, more: dict[str, str] | None = None) -> Entry:
    """An answer that is for this request only."""
    return _only_now(status, orjson.dumps(body), media, more or {})


def _only_now(status: int, content: bytes, media: str, more: dict[str, str]) -> Entry:
    headers = [*answer_headers(media, NEVER, more), content_length(len(content))]
    start = {"type": "http.response.start", "status": status, "headers": headers}
    return Entry(0, headers, content, b"", start, Reads(), 0.0, status, cacheable=False)


def _refused_status(media: str) -> int:
    """A well-formed request whose document is refused: 200 for plain JSON, as its clients expect, 400 otherwise."""
    return 400 if media == GRAPHQL else 200


def _cost_extension(cost: int, throttle: Throttle | None) -> dict[str, Any]:
    return {"cost": {"requestedQueryCost": cost, "throttleStatus": throttle.status() if throttle else None}}
