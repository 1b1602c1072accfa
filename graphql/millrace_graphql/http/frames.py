"""WebSocket messages (RFC 6455) read and written by ourselves once Granian has shaken hands.

Granian reads a whole message before anybody sees its length: up to 64 MiB, and it has no setting for less. It reads only while a message
is asked of it, so that nobody else reads from the socket when we do. A client that sends frames before the handshake is answered,
which RFC 6455 forbids, loses them.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

from starlette.types import Message, Scope

BUFFER_BYTES = 16_384
"""Of what a client has sent and nobody has read; the connection's window closes at twice as much."""
LINGER_SECONDS, LINGER_BYTES = 1.0, 1_048_576
"""What a client still sends is thrown away for so long after the last word to it: closed at once, its connection would lose that word."""
_DESCRIPTORS = Path("/proc/self/fd")
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
PROTOCOL_ERROR, NOT_UTF8, TOO_LONG = 1002, 1007, 1009


class FrameError(Exception):
    """The connection has to end with a code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Frames:
    """The messages of one connection as ASGI has them; ``limit`` bytes are the most that one may have."""

    def __init__(self, connection: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int) -> None:
        self._connection = connection
        self._reader = reader
        self._writer = writer
        self.limit = limit

    async def receive(self) -> Message:
        """The next message, or ``websocket.disconnect``.

        Raises:
            FrameError: what came is none, or too long; nothing is read beyond that.
        """
        try:
            return await self._message()
        except (asyncio.IncompleteReadError, OSError):
            return {"type": "websocket.disconnect", "code": 1006}

    async def _message(self) -> Message:
        kind, content = CONTINUATION, bytearray()
        while True:
            last, code, part = await self._frame(len(content))
            if code == CLOSE:
                return {"type": "websocket.disconnect", "code": int.from_bytes(part[:2], "big") or 1005}
            if code == PING:
                await self._write(PONG, part)
            elif code in (TEXT, BINARY, CONTINUATION):
                if (code == CONTINUATION) != (kind != CONTINUATION):
                    raise FrameError(PROTOCOL_ERROR, "Frames out of order")
                kind = kind or code
                content += part
                if last:
                    break
        if kind == BINARY:
            return {"type": "websocket.receive", "bytes": bytes(content)}
        try:
            return {"type": "websocket.receive", "text": content.decode()}
        except UnicodeDecodeError:
            raise FrameError(NOT_UTF8, "Text is not UTF-8") from None

    async def _frame(self, before: int) -> tuple[bool, int, bytes]:
        """Whether it is the last of its message, its opcode and content; ``before`` bytes of the message were read."""
        first, second = await self._reader.readexactly(2)
        code, size = first & 15, second & 127
        control = code >= CLOSE
        if first & 0x70 or not second & 0x80 or code not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise FrameError(PROTOCOL_ERROR, "Frame of an unknown kind, or without a mask")
        if control and (size > 125 or not first & 0x80):
            raise FrameError(PROTOCOL_ERROR, "Control frame that is long or in pieces")
        if size > 125:
            size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8), "big")
        if not control and before + size > self.limit:
            raise FrameError(TOO_LONG, f"Message longer than {self.limit} bytes")
        mask = await self._reader.readexactly(4)
        return bool(first & 0x80), code, unmasked(await self._reader.readexactly(size), mask)

    async def send(self, message: Any) -> None:
        """Send ``websocket.send`` with a text, or ``websocket.close``."""
        if message["type"] == "websocket.send":
            await self._write(TEXT, message["text"].encode())
        else:
            await self._write(CLOSE, int(message["code"]).to_bytes(2, "big") + message["reason"].encode()[:120])

    async def _write(self, code: int, content: bytes) -> None:
        size = len(content)
        if size < 126:
            head = bytes([0x80 | code, size])
        elif size < 65_536:
            head = bytes([0x80 | code, 126]) + size.to_bytes(2, "big")
        else:
            head = bytes([0x80 | code, 127]) + size.to_bytes(8, "big")
        self._writer.write(head + content)
        await self._writer.drain()

    async def end(self) -> None:
        """End the connection, once the client has had the chance to hear why."""
        with contextlib.suppress(OSError, TimeoutError, RuntimeError):
            self._writer.write_eof()
            async with asyncio.timeout(LINGER_SECONDS):
                left = LINGER_BYTES
                while left > 0 and (thrown := await self._reader.read(BUFFER_BYTES)):
                    left -= len(thrown)
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)  # of Granian's descriptor too: ours is a copy
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()


def unmasked(content: bytes, mask: bytes) -> bytes:
    """A frame's content without its mask."""
    size = len(content)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(content, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


async def taken_over(scope: Scope, limit: int) -> Frames | None:
    """The messages of a WebSocket that was accepted; None where its socket cannot be found, as in tests without one."""
    connection = _socket_of(scope)
    if connection is None:
        return None
    reader, writer = await asyncio.open_connection(sock=connection, limit=BUFFER_BYTES)
    return Frames(connection, reader, writer, limit)


def _socket_of(scope: Scope) -> socket.socket | None:
    """A copy of the connection's socket, found among this process's by its two ends."""
    client, server = scope.get("client"), scope.get("server")
    if not client or not server or not _DESCRIPTORS.exists():
        return None
    ends = client[0], int(client[1]), int(server[1])
    family = socket.AF_INET6 if ":" in client[0] else socket.AF_INET
    for descriptor in sorted((int(path.name) for path in _DESCRIPTORS.iterdir()), reverse=True):
        with contextlib.suppress(OSError):  # of another kind, or closed meanwhile
            probe = socket.socket(family, socket.SOCK_STREAM, 0, descriptor)
            try:
                if (*probe.getpeername()[:2], probe.getsockname()[1]) == ends:
                    return probe.dup()
            finally:
                probe.detach()
    return None
