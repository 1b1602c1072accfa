"""Subscriptions over a WebSocket: the graphql-transport-ws protocol.

The token comes in connection_init's payload, {"Authorization": "Bearer ..."}, or in the header of the handshake. Everything is bounded:
the time to introduce oneself, the size of a message, the operations of a connection, and its life, which ends with the token's.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import orjson
from starlette.types import Receive, Scope, Send

from millrace_contracts.values.json_text import JsonError, loads
from millrace_graphql.errors import ApiError
from millrace_graphql.http.frames import TOO_LONG, FrameError, Frames, taken_over
from millrace_graphql.http.request import BadRequestError, GraphQLRequest, checked
from millrace_graphql.http.streams import Streams
from millrace_graphql.identity import Authenticator, Identity
from millrace_runtime.request_headers import fault_of

PROTOCOL = "graphql-transport-ws"
INIT_SECONDS = 10.0
LONGEST_INIT = 65_536
"""Bytes of the first message, which tells who is there."""
MOST_UNKNOWN = 200
"""Connections of a worker whose caller is not known yet: 20 MiB of what they have sent."""
PING_SECONDS = 20.0
INVALID, UNAUTHORIZED, NOT_ACCEPTABLE, INIT_TIMEOUT, EXISTS, TOO_MANY = 4400, 4401, 4406, 4408, 4409, 4429


class _Close(Exception):
    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason[:120]


def _end(life: asyncio.Timeout) -> None:
    with contextlib.suppress(RuntimeError):  # it has ended meanwhile
        life.reschedule(asyncio.get_running_loop().time())


class WebSockets:
    """An ASGI application for WebSockets."""

    def __init__(self, streams: Streams, authenticator: Authenticator, most_operations: int, max_message_bytes: int) -> None:
        self._streams = streams
        self.authenticator = authenticator
        self._most_operations = most_operations
        self.max_message_bytes = max_message_bytes
        self._unknown: dict[asyncio.Timeout, None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection."""
        await receive()  # websocket.connect
        if PROTOCOL not in scope.get("subprotocols", ()):
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.close", "code": NOT_ACCEPTABLE, "reason": f"ask for the subprotocol {PROTOCOL}"})
            return
        await send({"type": "websocket.accept", "subprotocol": PROTOCOL})
        fault = fault_of(scope["headers"], "GET")
        if fault is not None:
            await send({"type": "websocket.close", "code": INVALID, "reason": fault.detail})
            return
        header = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        frames = await taken_over(scope, LONGEST_INIT)
        if frames is not None:
            receive, send = frames.receive, frames.send
        connection = _Connection(self, receive, send, header, frames)
        try:
            await connection.run()
        except _Close as close:
            with contextlib.suppress(Exception):  # the client may be gone
                await send({"type": "websocket.close", "code": close.code, "reason": close.reason})
        finally:
            await connection.end()
            if frames is not None:
                await frames.end()

    @contextlib.contextmanager
    def waiting(self, introduction: asyncio.Timeout) -> Iterator[None]:
        """Count a connection that nobody has introduced; where they are too many, the one that has waited longest ends."""
        self._unknown[introduction] = None
        if len(self._unknown) > MOST_UNKNOWN:
            _end(next(iter(self._unknown)))
        try:
            yield
        finally:
            self._unknown.pop(introduction, None)


class _Connection:
    def __init__(self, server: WebSockets, receive: Receive, send: Send, header: str, frames: Frames | None) -> None:
        self._frames = frames
        self._server = server
        self._receive = receive
        self._raw_send = send
        self._header = header
        self._sending = asyncio.Lock()
        self._caller: Identity | None = None
        self._operations: dict[str, asyncio.Task[None]] = {}
        self._pinging: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until the client goes or breaks the protocol."""
        try:
            async with asyncio.timeout(INIT_SECONDS) as introduction:
                with self._server.waiting(introduction):
                    first = await self._read()
        except TimeoutError:
            raise _Close(INIT_TIMEOUT, "Connection initialisation timeout") from None
        if first is None:
            return
        if first.get("type") != "connection_init":
            raise _Close(UNAUTHORIZED, "Unauthorized: begin with connection_init")
        caller = await self._introduced(first.get("payload"))
        if self._frames is not None:
            self._frames.limit = self._server.max_message_bytes
        await self._send({"type": "connection_ack"})
        self._pinging = asyncio.create_task(self._ping())
        try:
            with self._server.authenticator.lease(caller) as lease:
                async with asyncio.timeout(max(0.0, caller.expires - time.time())) as life:
                    lease.ended.add_done_callback(lambda _: _end(life))
                    while (message := await self._read()) is not None:
                        await self._handle(message)
        except TimeoutError:
            raise _Close(UNAUTHORIZED, "Unauthorized: the token has expired or was withdrawn; connect again with a new one") from None

    async def end(self) -> None:
        """Tear down whatever runs."""
        tasks = [*self._operations.values(), *([self._pinging] if self._pinging else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _introduced(self, payload: Any) -> Identity:
        given = payload if isinstance(payload, dict) else {}
        token = given.get("Authorization") or given.get("authorization") or self._header
        try:
            # Who asks is settled before anything is opened (I9).
            self._caller = await self._server.authenticator.identify(token if isinstance(token, str) else "")
        except ApiError as error:
            raise _Close(UNAUTHORIZED, f"Unauthorized: {error.message}") from None
        if self._caller is None:
            raise _Close(UNAUTHORIZED, "Unauthorized: send {Authorization: 'Bearer <access token>'} with connection_init")
        return self._caller

    async def _read(self) -> dict[str, Any] | None:
        try:
            message = await self._receive()
        except FrameError as error:
            # The protocol's own code where the message is one and too long, as it was said of messages that had arrived.
            raise _Close(INVALID if error.code == TOO_LONG else error.code, str(error)) from None
        if message["type"] == "websocket.disconnect":
            return None
        content = message.get("text") or message.get("bytes") or ""
        if len(content) > self._server.max_message_bytes:
            raise _Close(INVALID, f"Message longer than {self._server.max_message_bytes} bytes")
        try:
            found = loads(content, "Message")
        except JsonError as error:
            raise _Close(INVALID, str(error)) from None
        if not isinstance(found, dict):
            raise _Close(INVALID, "Message is not an object")
        return found

    async def _handle(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind == "subscribe":
            self._subscribe(message)
        elif kind == "complete":
            task = self._operations.pop(str(message.get("id")), None)
            if task:
                task.cancel()
        elif kind == "ping":
            await self._send({"type": "pong"})
        elif kind == "connection_init":
            raise _Close(TOO_MANY, "Too many initialisation requests")
        elif kind != "pong":
            raise _Close(INVALID, f"Message of an unknown type {kind!r:.40}")

    def _subscribe(self, message: dict[str, Any]) -> None:
        key = message.get("id")
        if not isinstance(key, str) or not key:
            raise _Close(INVALID, "subscribe: id is missing or not a string")
        if key in self._operations:
            raise _Close(EXISTS, f"Subscriber for {key:.40} already exists")
        if len(self._operations) >= self._server._most_operations:
            raise _Close(TOO_MANY, f"More than {self._server._most_operations} operations on one connection")
        try:
            request = checked(message.get("payload"), is_get=False)
        except BadRequestError as error:
            raise _Close(INVALID, f"subscribe: {error.message}") from None
        task = asyncio.create_task(self._operate(key, request))
        self._operations[key] = task
        task.add_done_callback(lambda done: self._operations.pop(key, None) if self._operations.get(key) is done else None)

    async def _operate(self, key: str, request: GraphQLRequest) -> None:
        async with contextlib.aclosing(self._server._streams.stream(request, self._caller, "websocket")) as payloads:
            async for payload in payloads:
                quoted = orjson.dumps(key)
                if payload.failed:
                    errors = orjson.dumps(orjson.loads(payload.body)["errors"])
                    await self._send_text(b'{"id":' + quoted + b',"type":"error","payload":' + errors + b"}")
                    return
                await self._send_text(b'{"id":' + quoted + b',"type":"next","payload":' + payload.body + b"}")
        await self._send({"id": key, "type": "complete"})

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_SECONDS)
            await self._send({"type": "ping"})

    async def _send(self, message: dict[str, Any]) -> None:
        await self._send_text(orjson.dumps(message))

    async def _send_text(self, content: bytes) -> None:
        async with self._sending:
            await self._raw_send({"type": "websocket.send", "text": content.decode()})
