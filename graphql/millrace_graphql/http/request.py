"""A GraphQL request: read from GET or POST, its parameters checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import orjson
from starlette.types import Receive

from millrace_contracts.values.json_text import JsonError, loads
from millrace_graphql.errors import ApiError
from millrace_graphql.http.headers import JSON_TYPES


class BadRequestError(ApiError):
    """The HTTP request is not a GraphQL request. ``status`` and ``headers`` are what the answer carries."""

    def __init__(self, message: str, status: int = 400, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


class ClientGoneError(Exception):
    """The client closed the connection: there is nobody to answer."""


@dataclass(slots=True)
class GraphQLRequest:
    """The parameters of a request."""

    query: str
    """The document's text; empty where the request names a persisted one."""
    variables: dict[str, Any]
    operation_name: str | None
    is_get: bool
    extensions: dict[str, Any] = field(default_factory=dict)
    document_id: str | None = None


def from_get(query_string: bytes) -> GraphQLRequest:
    """The request in a URL.

    Raises:
        BadRequestError: with the status that fits.
    """
    return checked(_from_query(query_string), is_get=True)


def from_body(body: bytes, content_type: bytes, max_batch: int = 0) -> GraphQLRequest | list[GraphQLRequest]:
    """The request in a POST's body, or those of a batch, an array of up to ``max_batch`` of them.

    Raises:
        BadRequestError: with the status that fits.
    """
    if not is_json(content_type):
        media = content_type.decode("latin-1").partition(";")[0].strip()
        raise BadRequestError(f"Content-Type: {media!r:.60} is not taken; send application/json in UTF-8", 415)
    try:
        given = loads(body)
    except JsonError as error:
        raise BadRequestError(str(error)) from None
    return _batch(given, max_batch) if isinstance(given, list) else checked(given, is_get=False)


def is_json(content_type: bytes) -> bool:
    """Whether a content type is JSON in UTF-8, however it is spelt."""
    if content_type in JSON_TYPES:
        return True
    media, *parameters = (part.strip().lower() for part in content_type.decode("latin-1").split(";"))
    charset = next((part.removeprefix("charset=").strip('"') for part in parameters if part.startswith("charset=")), "utf-8")
    return media == "application/json" and charset in ("utf-8", "utf8")


def _batch(given: list[Any], most: int) -> list[GraphQLRequest]:
    if not most:
        raise BadRequestError("batches are not taken; send one request at a time")
    if not 0 < len(given) <= most:
        raise BadRequestError(f"the batch holds {len(given)} operations; send 1 to {most}")
    found = []
    for number, parameters in enumerate(given):
        try:
            found.append(checked(parameters, is_get=False))
        except BadRequestError as error:
            raise BadRequestError(f"operation {number} of the batch: {error.message}") from None
    return found


def variables_key(request: GraphQLRequest) -> bytes:
    """Equal bytes of equal variables."""
    return orjson.dumps(request.variables, option=orjson.OPT_SORT_KEYS)


async def read_body(receive: Receive, content_length: bytes, limit: int) -> bytes:
    """The whole body, refused as soon as it is known to be longer than ``limit`` bytes."""
    declared = int(content_length) if content_length.isdigit() and len(content_length) < 19 else -1
    if declared > limit:
        raise _too_long(limit)
    message = await receive()
    if message["type"] == "http.request":
        body: bytes = message.get("body", b"")
        # A server may say "more" after the last byte; asking it again would cost as much as all the rest of a kept answer.
        if len(body) == declared or (not message.get("more_body") and len(body) <= limit):
            return body
    chunks, size = [], 0
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        size += len(message.get("body", b""))
        if size > limit:
            raise _too_long(limit)
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)
        message = await receive()


def _too_long(limit: int) -> BadRequestError:
    return BadRequestError(f"the body is longer than {limit} bytes; shorten the query or its variables", 413)


def _from_query(query_string: bytes) -> dict[str, Any]:
    try:
        given = parse_qs(query_string.decode("ascii"), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        raise BadRequestError("the query string can not be read; encode it and give at most 20 parameters") from None
    doubled = next((name for name, values in given.items() if len(values) > 1), None)
    if doubled is not None:
        raise BadRequestError(f"{doubled:.60} is given twice")
    parameters: dict[str, Any] = {name: values[0] for name, values in given.items()}
    for name in ("variables", "extensions"):
        if parameters.get(name):
            try:
                parameters[name] = loads(parameters[name], name)
            except JsonError as error:
                raise BadRequestError(str(error) if error.field is None else f"{name}.{error}") from None
        else:
            parameters.pop(name, None)
    return parameters


def checked(parameters: Any, *, is_get: bool) -> GraphQLRequest:
    """A request whose parameters have the right types.

    Raises:
        BadRequestError: names the parameter that has not.
    """
    if not isinstance(parameters, dict):
        raise BadRequestError("the request is not a JSON object with a query")
    extensions, document_id = parameters.get("extensions"), parameters.get("documentId")
    if document_id is not None and not isinstance(document_id, str):
        raise BadRequestError("documentId: not a string")
    query = parameters.get("query")
    is_named = document_id is not None or (isinstance(extensions, dict) and "persistedQuery" in extensions)
    if query is None and is_named:
        query = ""
    elif not isinstance(query, str) or not query:
        raise BadRequestError("query: missing or not a string; send the GraphQL document there")
    name = parameters.get("operationName")
    if name is not None and not isinstance(name, str):
        raise BadRequestError("operationName: not a string")
    for part in ("variables", "extensions"):
        if parameters.get(part) is not None and not isinstance(parameters[part], dict):
            raise BadRequestError(f"{part}: not an object")
    return GraphQLRequest(query, parameters.get("variables") or {}, name or None, is_get, extensions or {}, document_id)
