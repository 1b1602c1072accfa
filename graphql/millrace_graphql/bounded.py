"""What this process keeps of its callers: bounded in bytes wherever a caller chooses the size."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache
from sys import getsizeof
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T", str, bytes)
R = TypeVar("R")
LARGEST_SHARE = 16
"""No value is larger than this part of its cache: one caller's value must not evict those of all others."""
ENTRY_BYTES = 300
"""About what a key of 32 bytes takes with its place in the order."""
LONGEST_TEXT = 200
"""Characters of a header or an instant that is remembered; no client of ours sends a longer one."""


class Bounded(Generic[K, V]):
    """A cache of ``capacity`` bytes, and of ``most`` values where that is given; the least recently used go first."""

    def __init__(self, capacity: int, most: int | None = None) -> None:
        self._capacity = capacity
        self._most = most
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    @property
    def size(self) -> int:
        """Bytes kept, about."""
        return self._bytes

    def get(self, key: K) -> V | None:
        """The value of a key, used just now; None where there is none."""
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def peek(self, key: K) -> V | None:
        """The value of a key, whose place in the order stays."""
        found = self._values.get(key)
        return None if found is None else found[0]

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value of ``size`` bytes in place of the key's last one, unless it is too large."""
        self.drop(key)
        size += ENTRY_BYTES
        if size > self._capacity // LARGEST_SHARE:
            return
        self._values[key] = value, size
        self._bytes += size
        while self._bytes > self._capacity or (self._most is not None and len(self._values) > self._most):
            self.drop(next(iter(self._values)))

    def grew(self, key: K, value: V, size: int) -> None:
        """A value that is still kept takes ``size`` more bytes."""
        found = self._values.get(key)
        if found is not None and found[0] is value:
            self.put(key, value, found[1] - ENTRY_BYTES + size)

    def drop(self, key: K) -> None:
        """Forget a key."""
        found = self._values.pop(key, None)
        if found is not None:
            self._bytes -= found[1]

    def clear(self) -> None:
        """Forget all."""
        self._values.clear()
        self._bytes = 0


def short_texts(most: int) -> Callable[[Callable[[T], R]], Callable[[T], R]]:
    """Remember the results of a pure function for ``most`` texts of at most ``LONGEST_TEXT`` characters."""

    def remembering(compute: Callable[[T], R]) -> Callable[[T], R]:
        known = lru_cache(most)(compute)

        def ask(text: T) -> R:
            return known(text) if len(text) <= LONGEST_TEXT else compute(text)

        ask.__doc__ = compute.__doc__
        return ask

    return remembering


def text_bytes(text: str | None) -> int:
    """Bytes of a text in memory: up to four a character."""
    return getsizeof(text)
