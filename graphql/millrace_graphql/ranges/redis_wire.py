"""One connection to Redis that many tasks share: commands go out together and replies come back in order.

A look-up costs a fifth of what a pooled client's costs, since what is asked in one turn of the event loop travels in one write.
A caller that goes away leaves its reply to nobody: replies are matched by order, never handed to the next caller.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import hiredis
from redis.asyncio.connection import parse_url
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from millrace_graphql import tracing

Command = tuple[str | bytes | int, ...]
Push = Callable[[list[Any]], None]


class _Waiting:
    """The replies of one call, as they come in; ``future`` is None where they are for the calls that have it ``beside`` theirs."""

    __slots__ = ("asked", "beside", "count", "future", "replies")

    def __init__(self, count: int, future: asyncio.Future[list[Any]] | None, asked: float, beside: _Waiting | None = None) -> None:
        self.count = count
        self.future = future
        self.asked = asked
        self.beside = beside
        self.replies: list[Any] = []

    def fail(self, error: Exception) -> None:
        """Tell the caller, if he is still there."""
        if self.future is not None and not self.future.done():
            self.future.set_exception(error)


class Connection(asyncio.Protocol):
    """A connection. ``push`` gets the messages of a subscription; the other replies go to their callers."""

    def __init__(self, push: Push | None = None) -> None:
        self._push = push
        self._reader = hiredis.Reader(replyError=ResponseError)
        self._waiting: deque[_Waiting] = deque()
        self._out: list[bytes] = []
        self._beside: tuple[Command, _Waiting] | None = None
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._patience = 0.0
        self._watch: asyncio.TimerHandle | None = None
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none of asyncio's classes

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail everyone who waits."""
        self._transport = None
        if self._watch is not None:
            self._watch.cancel()
        for waiting in self._waiting:
            waiting.fail(RedisConnectionError(f"Redis closed the connection: {exc or 'end of file'}"))
        self._waiting.clear()
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        """Hand each reply to whom it belongs."""
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._take(reply)
        except hiredis.ProtocolError:
            self.abort()

    def _take(self, reply: Any) -> None:
        if self._push is not None and isinstance(reply, list) and reply and reply[0] in (b"message", b"pmessage"):
            self._push(reply)
            return
        if not self._waiting:
            return
        waiting = self._waiting[0]
        waiting.replies.append(reply)
        if len(waiting.replies) < waiting.count:
            return
        self._waiting.popleft()
        if waiting.future is None or waiting.future.done():
            return
        replies = waiting.replies if waiting.beside is None else waiting.beside.replies + waiting.replies
        error = next((reply for reply in replies if isinstance(reply, ResponseError)), None)
        if error is not None:
            waiting.future.set_exception(error)
        else:
            waiting.future.set_result(replies)

    def call(self, commands: Sequence[Command], beside: Command | None = None) -> asyncio.Future[list[Any]]:
        """The replies of some commands, in their order; the first error among them is raised.

        ``beside`` is a command that goes before them and that all who ask in the same turn of the event loop share: it is executed
        once, after the last of them has asked, and its reply stands before each one's own.
        """
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if self._transport is None:
            future.set_exception(RedisConnectionError("Redis is not connected"))
            return future
        if not self._out:
            self._loop.call_soon(self._flush)
        now = self._loop.time()
        shared = self._shared(beside, now) if beside is not None else None
        self._out += [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]
        self._waiting.append(_Waiting(len(commands), future, now, shared))
        if self._patience and self._watch is None:
            self._watch = self._loop.call_later(self._patience, self._look)
        return future

    def _shared(self, command: Command, now: float) -> _Waiting:
        if self._beside is None or self._beside[0] is not command:
            self._beside = command, _Waiting(1, None, now)
            self._out.append(hiredis.pack_command(command))  # type: ignore[arg-type]
            self._waiting.append(self._beside[1])
        return self._beside[1]

    def give_up_after(self, seconds: float) -> None:
        """Close the connection, with ``TimeoutError`` for everyone who waits, once a reply takes longer than this.

        Replies come in the order of the calls, so that one timer for the oldest does for all: a timer a call costs more than a call.
        """
        self._patience = seconds

    def _look(self) -> None:
        self._watch = None
        if not self._waiting:
            return
        left = self._waiting[0].asked + self._patience - self._loop.time()
        if left > 0:
            self._watch = self._loop.call_later(left, self._look)
            return
        for waiting in self._waiting:
            waiting.fail(TimeoutError(f"Redis did not answer within {self._patience:g} s"))
        self._waiting.clear()
        self.abort()

    def _flush(self) -> None:
        out, self._out, self._beside = self._out, [], None
        if self._transport is not None:
            self._transport.write(b"".join(out))

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()


async def connect(url: str, seconds: float, push: Push | None = None) -> Connection:
    """A connection to a redis:// or rediss:// URL, with its password and database.

    Raises:
        OSError, TimeoutError, RedisError: it cannot be made.
    """
    options: dict[str, Any] = dict(parse_url(url))
    host, port = options.get("host", "127.0.0.1"), options.get("port", 6379)
    context = ssl.create_default_context() if url.startswith("rediss://") else None
    async with asyncio.timeout(seconds):
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(push), host, port, ssl=context)
        greeting: list[Command] = []
        if options.get("password"):
            user = (options["username"],) if options.get("username") else ()
            greeting.append(("AUTH", *user, options["password"]))
        if options.get("db"):
            greeting.append(("SELECT", str(options["db"])))
        if greeting:
            try:
                await connection.call(greeting)
            except BaseException:
                connection.abort()
                raise
    return connection


class Wire:
    """A connection that is made when it is first needed and made again after it was lost."""

    def __init__(self, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()

    def call(self, *commands: Command, beside: Command | None = None) -> Awaitable[list[Any]]:
        """The replies of some commands, after that of ``beside``, which all who ask at once share (``Connection.call``).

        Raises:
            RedisError, OSError, TimeoutError: Redis is away, slow or refuses one of them.
        """
        connection = self._connection
        if connection is None or connection.closed.done() or tracing.enabled():
            return self._call(commands, beside)
        return connection.call(commands, beside)

    async def _call(self, commands: tuple[Command, ...], beside: Command | None) -> list[Any]:
        connection = self._connection
        if connection is None or connection.closed.done():
            connection = await self._connected()
        if not tracing.enabled():
            return await connection.call(commands, beside)
        with tracing.span("redis", **{"db.system.name": "redis", "db.operation.name": str(commands[0][0])}):
            return await connection.call(commands, beside)

    async def _connected(self) -> Connection:
        async with self._connecting:
            if self._connection is None or self._connection.closed.done():
                self._connection = await connect(self._url, self._timeout)
                self._connection.give_up_after(self._timeout)
            return self._connection

    async def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.abort()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._connection.closed), 1)
