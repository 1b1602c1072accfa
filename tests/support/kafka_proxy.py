"""A TCP proxy in front of one real broker that understands the headers of Kafka's requests, and holds one EndTxn back."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

END_TXN = 26
"""https://kafka.apache.org/protocol#protocol_api_keys"""


class Proxy:
    """Clients that are given ``bootstrap`` speak with the broker through here only: its address in answers is replaced."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port = int(self._listener.getsockname()[1])
        self._armed = threading.Event()
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._held_by: socket.socket | None = None
        """The connection to the broker on which it will be sent; correlation ids are counted on each connection anew."""
        self._correlation = 0
        self._open: list[socket.socket] = []
        self.held = threading.Event()
        """An EndTxn is held back, and its client has lost the connection."""
        self.version: int | None = None
        """Of the EndTxn that is held back."""
        self.answer: int | None = None
        """The error code with which the broker has answered it."""
        self.answered = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def bootstrap(self) -> str:
        """Address for clients."""
        return f"127.0.0.1:{self._port}"

    def hold_next_end_txn(self) -> None:
        """The next EndTxn does not reach the broker before ``release``; the client sees its connection end, and asks again on another."""
        self._armed.set()

    def release(self) -> None:
        """Let it reach the broker, on the connection on which it was sent."""
        self._released.set()

    def close(self) -> None:
        """Close everything."""
        self._released.set()
        with self._lock:
            for each in [self._listener, *self._open]:
                each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                broker = socket.create_connection(("127.0.0.1", self._broker_port))
                with self._lock:
                    self._open += [client, broker]
                threading.Thread(target=self._requests, args=(client, broker), daemon=True).start()
                threading.Thread(target=self._answers, args=(broker, client), daemon=True).start()

    def _requests(self, client: socket.socket, broker: socket.socket) -> None:
        with suppress(OSError):
            for frame in _frames(client):
                key, version, correlation = struct.unpack_from(">hhi", frame)
                if key == END_TXN and self._armed.is_set():
                    self._armed.clear()
                    self.version, self._correlation, self._held_by = version, correlation, broker
                    client.shutdown(socket.SHUT_RDWR)
                    self.held.set()
                    self._released.wait()
                    _send(broker, frame)
                    return
                _send(broker, frame)
            broker.shutdown(socket.SHUT_RDWR)

    def _answers(self, broker: socket.socket, client: socket.socket) -> None:
        ours, theirs = (b"127.0.0.1" + struct.pack(">i", port) for port in (self._port, self._broker_port))
        with suppress(OSError):
            for frame in _frames(broker):
                if broker is self._held_by and frame[:4] == struct.pack(">i", self._correlation):
                    self.answer = _error(frame, self.version or 0)
                    self.answered.set()
                    return
                _send(client, frame.replace(theirs, ours))
            client.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxied(bootstrap: str) -> Iterator[Proxy]:
    """A proxy before the broker at an address."""
    made = Proxy(int(bootstrap.rsplit(":", 1)[1]))
    try:
        yield made
    finally:
        made.close()


def _error(frame: bytes, version: int) -> int:
    """Of an EndTxn's answer: correlation id, tagged fields from version 3 on, throttle time, error code."""
    at = 4 + (1 if version >= 3 else 0) + 4
    return int(struct.unpack_from(">h", frame, at)[0])


def _frames(source: socket.socket) -> Iterator[bytes]:
    while head := _exactly(source, 4):
        yield _exactly(source, struct.unpack(">i", head)[0])


def _exactly(source: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        part = source.recv(count - len(found))
        if not part:
            return b""
        found += part
    return found


def _send(target: socket.socket, frame: bytes) -> None:
    target.sendall(struct.pack(">i", len(frame)) + frame)
