"""A queue between the threads that fetch and the one that encodes, bounded in bytes (back-pressure)."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Closed(Exception):
    """The other side has gone."""


class ByteQueue(Generic[Item]):
    """First in, first out. An item larger than the bound passes when the queue is empty."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._bytes = 0
        self._items: deque[tuple[Item, int]] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: Item, size: int) -> None:
        """Add an item, waiting for room.

        Raises:
            Closed: the reader has gone.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._items or self._bytes + size <= self._max)
            if self._closed:
                raise Closed
            self._items.append((item, size))
            self._bytes += size
            self._changed.notify_all()

    def get(self, seconds: float) -> Item | None:
        """The next item, or None when none came within the time."""
        with self._changed:
            if not self._items and not self._changed.wait_for(lambda: bool(self._items), seconds):
                return None
            item, size = self._items.popleft()
            self._bytes -= size
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Let waiting writers go; what is queued is dropped."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._bytes = 0
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)

    @property
    def bytes(self) -> int:
        """Bytes that wait."""
        return self._bytes
