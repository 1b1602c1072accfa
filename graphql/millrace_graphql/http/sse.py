"""Server-sent events, one connection a stream ("distinct connections" of the GraphQL over SSE protocol).

``event: next`` with a payload in ``data``, then ``event: complete``. ``id`` is the watermark of the event: a client that comes back
sends it as Last-Event-ID and goes on from there. A comment every some seconds keeps proxies from closing an idle stream.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator

from starlette.types import Receive, Send

from millrace_graphql.http.streams import Payload

KEEP_ALIVE_SECONDS = 12.0
MEDIA = "text/event-stream"
_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"private, no-store"),
    (b"x-accel-buffering", b"no"),  # nginx passes each event on at once
    (b"vary", b"Accept, Authorization"),
    (b"x-content-type-options", b"nosniff"),
]


def encoded(payload: Payload) -> bytes:
    """An event's bytes; a payload is JSON on one line."""
    identity = b"id: %d\n" % payload.event if payload.event is not None else b""
    return identity + b"event: next\ndata: " + payload.body + b"\n\n"


async def serve(
    payloads: AsyncGenerator[Payload, None],
    receive: Receive,
    send: Send,
    ends_in: float,
    ended: asyncio.Future[None] | None = None,
    keep_alive: float = KEEP_ALIVE_SECONDS,
) -> None:
    """Send a stream until it ends, the client goes, the token's ``ends_in`` seconds are over, or it holds no more (``ended``)."""
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    gone = asyncio.create_task(_gone(receive))
    sending = asyncio.create_task(_send_all(payloads, send, keep_alive))
    try:
        await asyncio.wait({gone, sending} | ({ended} if ended else set()), timeout=ends_in, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (gone, sending):
            task.cancel()
        await asyncio.gather(gone, sending, return_exceptions=True)
        await payloads.aclose()
    with contextlib.suppress(Exception):  # the client may be gone
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_all(payloads: AsyncGenerator[Payload, None], send: Send, keep_alive: float) -> None:
    waiting: asyncio.Task[Payload] | None = None
    try:
        while True:
            waiting = waiting or asyncio.ensure_future(anext(payloads))
            done, _ = await asyncio.wait({waiting}, timeout=keep_alive)
            if not done:
                await _body(send, b":\n\n")
                continue
            try:
                payload = waiting.result()
            except StopAsyncIteration:
                await _body(send, b"event: complete\ndata:\n\n")
                return
            finally:
                waiting = None
            await _body(send, encoded(payload))
    finally:
        if waiting is not None:
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await waiting


async def _body(send: Send, content: bytes) -> None:
    await send({"type": "http.response.body", "body": content, "more_body": True})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
