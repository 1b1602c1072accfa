"""The GraphQL endpoint: one request from bytes to bytes, by the GraphQL-over-HTTP specification.

The short way: a known token and a request whose very bytes were answered before. Everything else takes ``Answers``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
from collections.abc import Awaitable
from typing import Any

from starlette.types import Receive, Scope, Send

from millrace_graphql.errors import ApiError
from millrace_graphql.http import sse
from millrace_graphql.http.answers import Answer, Answers, batch, masked, refusal
from millrace_graphql.http.compression import takes_gzip
from millrace_graphql.http.headers import RequestHeaders, content_length, matches
from millrace_graphql.http.negotiation import GRAPHQL, JSON, media_type
from millrace_graphql.http.request import BadRequestError, ClientGoneError, GraphQLRequest, from_body, from_get, is_json, read_body
from millrace_graphql.http.response_cache import HIT, Entry, ResponseCache
from millrace_graphql.http.streams import Streams
from millrace_graphql.identity import Authenticator, Identity
from millrace_graphql.settings import ApiSettings
from millrace_runtime.request_headers import fault_of

NOBODYS_SECONDS = 60.0
"""Of a stream whose caller has no token."""
LARGEST_KEY = 8_192
"""Requests of more bytes than this are not found by their bytes."""


class GraphQLEndpoint:
    """An ASGI application for one path."""

    def __init__(
        self, answers: Answers, cache: ResponseCache, authenticator: Authenticator, settings: ApiSettings, streams: Streams | None = None
    ) -> None:
        self._answers = answers
        self._streams = streams
        self._cache = cache
        self._found, self._not_modified = cache.found, cache.not_modified
        self._authenticator = authenticator
        self._max_body_bytes = settings.max_body_bytes
        self._max_batch = settings.max_batch

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request."""
        headers: RequestHeaders = dict(scope["headers"])
        # Only where a header is given twice, or the body is coded, is every header looked at.
        if len(headers) != len(scope["headers"]) or b"content-encoding" in headers:
            fault = fault_of(scope["headers"], scope["method"])
            if fault is not None:
                error = BadRequestError(fault.detail, fault.status, fault.headers)
                return _send_entry(send, refusal(error, _media(headers)))
        return self._serve(scope, receive, send, headers)  # not awaited here: a coroutine around a coroutine is not free

    async def _serve(self, scope: Scope, receive: Receive, send: Send, headers: RequestHeaders) -> None:
        given = headers.get
        is_get = scope["method"] == "GET"
        body = b""
        authorization = given(b"authorization", b"")
        if is_get:
            asked: bytes = scope["query_string"]
        elif scope["method"] == "POST" and is_json(given(b"content-type", b"")):
            try:
                asked = body = await read_body(receive, given(b"content-length", b""), self._max_body_bytes)
            except ClientGoneError:
                # Gone, or its body is no body (a chunk without a length): whoever is still there is told.
                with contextlib.suppress(Exception):
                    await _send_entry(send, refusal(BadRequestError("the body did not arrive whole"), JSON))
                return
            except ApiError as error:
                await _send_entry(send, refusal(error, _media(headers)))
                return
        else:
            asked = b""
        key, packed = b"", False
        if authorization and asked and len(asked) <= LARGEST_KEY:
            packed = takes_gzip(given(b"accept-encoding", b""))
            # Who asks is settled before any cache is asked (I9): the digest is of the very token that was verified when the answer was
            # kept, for as long as it holds. It stands for the token, so that the process keeps no usable secret; one digest and one look-up
            # touch a third of the memory that finding first the caller and then the answer does, and that is what a kept answer waits for.
            key = hashlib.sha256(_KINDS[is_get, packed] % (authorization, given(b"accept", b""), asked)).digest()
        entry = self._cache.find(key, packed=packed) if key else None
        if entry is not None:
            self._found[0] += 1
        else:
            if self._streams is not None and sse.MEDIA.encode() in given(b"accept", b""):
                await self._stream(self._streams, scope, receive, send, headers, body)
                return
            answer = await self._answer_anew(scope, headers, body, key)
            if not answer.kept or answer.extensions is not None:
                await _send(send, answer, given(b"if-none-match", b"") if is_get else b"")
                return
            entry = self._cache.find(key, packed=packed) or answer.entry
        if is_get and matches(given(b"if-none-match", b""), entry.etag):
            self._not_modified[0] += 1
            await send(entry.not_modified)
            await send(_EMPTY)
            return
        await send({"type": "http.response.start", "status": entry.status, "headers": entry.sent})
        await send({"type": "http.response.body", "body": entry.content})

    async def _answer_anew(self, scope: Scope, headers: RequestHeaders, body: bytes, key: bytes) -> Answer:
        """The answer to a request whose bytes were not answered before; from now on they are known."""
        caller, seconds = self._authenticator.known(headers.get(b"authorization", b""))
        answer = await self._answer(scope, headers, body, caller)
        if key and caller is not None and answer.extensions is None:
            self._cache.keep(key, answer.entry, seconds)
        return answer

    async def _answer(self, scope: Scope, headers: RequestHeaders, body: bytes, known: Identity | None) -> Answer:
        accept = headers.get(b"accept", b"").decode("latin-1")
        media = media_type(accept)
        if media is None:
            return Answer(refusal(BadRequestError(f"Accept: nothing of {accept!r:.80} is offered; take {JSON} or {GRAPHQL}", 406), JSON))
        try:
            caller, request = await self._asked(scope, headers, body, known)
        except ApiError as error:
            return Answer(refusal(error, media))
        except Exception as error:
            return Answer(masked(error, media))
        if isinstance(request, list):
            return Answer(batch(await asyncio.gather(*(self._answers.answer(each, caller, media) for each in request)), media))
        return await self._answers.answer(request, caller, media)

    async def _asked(
        self, scope: Scope, headers: RequestHeaders, body: bytes, known: Identity | None = None
    ) -> tuple[Identity | None, GraphQLRequest | list[GraphQLRequest]]:
        caller = known or await self._authenticator.identify(headers.get(b"authorization", b"").decode("latin-1"))
        if scope["method"] == "GET":
            return caller, from_get(scope["query_string"])
        if scope["method"] == "POST":
            return caller, from_body(body, headers.get(b"content-type", b""), self._max_batch)
        raise BadRequestError(f"method {scope['method']} is not taken here; use GET or POST", 405, {"Allow": "GET, POST"})

    async def _stream(self, streams: Streams, scope: Scope, receive: Receive, send: Send, headers: RequestHeaders, body: bytes) -> None:
        try:
            caller, request = await self._asked(scope, headers, body)
            if isinstance(request, list):
                raise BadRequestError("a stream carries one operation; send it without an array around it")
        except ApiError as error:
            await _send_entry(send, refusal(error, JSON))
            return
        last = headers.get(b"last-event-id", b"")
        payloads = streams.stream(request, caller, "sse", int(last) if last.isdigit() and len(last) < 19 else None)
        if caller is None:  # the schema, which is told at once
            await sse.serve(payloads, receive, send, NOBODYS_SECONDS)
            return
        with self._authenticator.lease(caller) as lease:
            await sse.serve(payloads, receive, send, caller.expires - time.time(), lease.ended)


_KINDS = {(is_get, packed): b"%d%d\n%%b\n%%b\n%%b" % (is_get, packed) for is_get in (False, True) for packed in (False, True)}
"""What is digested of a request: no header holds a line break, so that no two requests give the same."""
_EMPTY = {"type": "http.response.body", "body": b""}
_MISS = (b"x-millrace-cache", b"miss")


def _media(headers: RequestHeaders) -> str:
    return media_type(headers.get(b"accept", b"").decode("latin-1")) or JSON


async def _send_entry(send: Send, entry: Entry) -> None:
    await send(entry.start)
    await send(entry.body)


async def _send(send: Send, answer: Answer, if_none_match: bytes) -> None:
    """An answer that was made, or found by what it means, with what only this request is told."""
    entry = answer.entry
    if not entry.cacheable:
        await _send_entry(send, entry)
        return
    if matches(if_none_match, entry.etag):
        await send(entry.not_modified)
        await send(_EMPTY)
        return
    content = answer.content
    pairs: list[tuple[bytes, bytes]] = [*entry.headers, *answer.headers, content_length(len(content)), HIT if answer.kept else _MISS]
    start: dict[str, Any] = {**entry.start, "headers": pairs}
    await send(start)
    await send({"type": "http.response.body", "body": content})
