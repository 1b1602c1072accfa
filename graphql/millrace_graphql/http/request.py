"""A GraphQL request: read from GET or POST, its parameters checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.types import Receive, Scope

from millrace_graphql.errors import ApiError


class BadRequestError(ApiError):
    """The HTTP request is not a GraphQL request. ``status`` and ``headers`` are what the answer carries."""

    def __init__(self, message: str, status: int = 400, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True)
class GraphQLRequest:
    """The parameters of a request."""

    query: str
    variables: dict[str, Any]
    operation_name: str | None
    is_get: bool


async def read_request(scope: Scope, receive: Receive, headers: dict[str, str], max_body_bytes: int) -> GraphQLRequest:
    """The request in an HTTP scope.

    Raises:
        BadRequestError: with the status that fits.
    """
    method = scope["method"]
    if method == "GET":
        return _checked(_from_query(scope["query_string"]), is_get=True)
    if method != "POST":
        raise BadRequestError(f"method {method} is not taken here; use GET or POST", 405, {"Allow": "GET, POST"})
    content_type, *parameters = (part.strip().lower() for part in headers.get("content-type", "").split(";"))
    charset = next((part.removeprefix("charset=").strip('"') for part in parameters if part.startswith("charset=")), "utf-8")
    if content_type != "application/json" or charset not in ("utf-8", "utf8"):
        raise BadRequestError(f"Content-Type: {content_type!r:.60} is not taken; send application/json in UTF-8", 415)
    body = await read_body(receive, headers, max_body_bytes)
    try:
        parameters_given = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequestError(f"the body is not JSON: {error}") from None
    return _checked(parameters_given, is_get=False)


async def read_body(receive: Receive, headers: dict[str, str], limit: int) -> bytes:
    """The whole body, refused as soon as it is known to be longer than ``limit`` bytes."""
    too_long = BadRequestError(f"the body is longer than {limit} bytes; shorten the query or its variables", 413)
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit:
        raise too_long
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadRequestError("the client went away")
        size += len(message.get("body", b""))
        if size > limit:
            raise too_long
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


def _from_query(query_string: bytes) -> dict[str, Any]:
    try:
        given = parse_qs(query_string.decode("ascii"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise BadRequestError("the query string can not be read; encode it and give at most 20 parameters") from None
    parameters: dict[str, Any] = {name: values[0] for name, values in given.items()}
    for name in ("variables", "extensions"):
        if parameters.get(name):
            try:
                parameters[name] = orjson.loads(parameters[name])
            except orjson.JSONDecodeError as error:
                raise BadRequestError(f"{name}: not JSON: {error}") from None
        else:
            parameters.pop(name, None)
    return parameters


def _checked(parameters: Any, *, is_get: bool) -> GraphQLRequest:
    if isinstance(parameters, list):
        raise BadRequestError("batches are not taken; send one request at a time")
    if not isinstance(parameters, dict):
        raise BadRequestError("the body is not a JSON object with a query")
    query = parameters.get("query")
    if not isinstance(query, str) or not query:
        raise BadRequestError("query: missing or not a string; send the GraphQL document there")
    name = parameters.get("operationName")
    if name is not None and not isinstance(name, str):
        raise BadRequestError("operationName: not a string")
    for field in ("variables", "extensions"):
        if not isinstance(parameters.get(field), dict | None):
            raise BadRequestError(f"{field}: not an object")
    return GraphQLRequest(query, parameters.get("variables") or {}, name or None, is_get)
