"""Whole answers, kept a tenant at a time and reused while nothing that they were made of has changed.

An entry is found by (tenant, what was asked) and thus only after the caller's identity is settled (I9). It is good while
``Changes`` knows of no change to the days, and to the progress, that it was read from; where notices cannot be trusted, no entry is.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

from xxhash import xxh3_128_hexdigest

from millrace_graphql.http.compression import ENCODING, LEAST_BYTES, compressed
from millrace_graphql.http.headers import content_length
from millrace_graphql.ranges.changes import Changes, Reads, record

DIRECTORY_SECONDS = 5.0
"""How long an answer that names merchants is kept: no notice tells of a merchant."""
LONGEST_SECONDS = 600.0
CLOCK_SECONDS = 300
"""An answer about "today" ends at the next five minutes of the hour: no zone's midnight falls between them."""
LARGEST_SHARE = 16
"""No entry is larger than this part of the cache."""
KEY_BYTES = 600
"""About what one more key of an entry takes: the bytes of a request."""
Message = dict[str, Any]
_HIT = (b"x-millrace-cache", b"hit")


@dataclass(slots=True)
class Entry:
    """An answer, ready to be sent: ASGI's two messages, and those of a 304."""

    start: Message
    body: Message
    etag: bytes
    not_modified: Message
    reads: Reads
    seq: int
    until: float
    cost: int = 0
    size: int = 0
    cacheable: bool = True
    keys: int = 0
    """Under how many keys it is kept; its bytes count once."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """What every answer that is made of it has, also one that says more or comes from no cache."""
    packed: Entry | None = None
    """The same compressed, once it was asked for."""


def entry_of(status: int, body: bytes, headers: list[tuple[bytes, bytes]], reads: Reads, seq: int) -> Entry:
    """The entry of an answer; its ETag is the hash of its bytes and media type.

    Not a cryptographic one, which takes longer than writing the JSON: the worst that a chosen collision could do is to show its maker
    his own older answer.
    """
    media = next((value for name, value in headers if name == b"content-type"), b"")
    etag = b'"' + xxh3_128_hexdigest(media + body).encode() + b'"'
    kept = (*headers, (b"etag", etag))
    return Entry(
        {"type": "http.response.start", "status": status, "headers": [*kept, _HIT, content_length(len(body))]},
        {"type": "http.response.body", "body": body},
        etag,
        {"type": "http.response.start", "status": 304, "headers": [*[pair for pair in kept if pair[0] != b"content-type"], _HIT]},
        reads,
        seq,
        float("inf"),
        size=len(body) + 600,
        headers=kept,
    )


def _packed(entry: Entry) -> Entry:
    """An answer compressed. Its ETag is weak: what it says is equal, not its bytes (RFC 9110, section 8.8.1); both find it again."""
    content = compressed(entry.body["body"])
    kept = (*[pair for pair in entry.headers if pair[0] != b"etag"], (b"etag", b"W/" + entry.etag))
    return replace(
        entry,
        start={**entry.start, "headers": [*kept, ENCODING, _HIT, content_length(len(content))]},
        body={"type": "http.response.body", "body": content},
        not_modified={**entry.not_modified, "headers": [*[pair for pair in kept if pair[0] != b"content-type"], _HIT]},
        headers=kept,
        size=len(content) + 600,
    )


class ResponseCache:
    """A bounded LRU with one flight a key. ``capacity`` bytes of 0 turns keeping off; flights are still shared."""

    def __init__(
        self,
        changes: Changes,
        capacity: int,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._changes = changes
        self._capacity = capacity
        self._clock = clock
        self._wall = wall
        self._entries: OrderedDict[Hashable, Entry] = OrderedDict()
        self._flights: dict[Hashable, asyncio.Task[Entry]] = {}
        self._bytes = 0
        self.hits = 0
        self.misses = 0
        self.not_modified = 0
        self.joined = 0

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, key: Hashable) -> Entry | None:
        """The entry of a key if it is still good."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        changes = self._changes
        now = self._clock()
        if now >= changes.trusted_until:
            return None
        if now < entry.until and (entry.seq == changes.seq or self._still_good(entry)):
            self._entries.move_to_end(key)
            return entry
        self._drop(key)
        return None

    def packed(self, entry: Entry) -> Entry:
        """A kept entry for a reader that takes gzip: compressed the first time, unless it is short."""
        if entry.packed is None:
            if len(entry.body["body"]) < LEAST_BYTES:
                return entry
            entry.packed = _packed(entry)
            entry.size += entry.packed.size
            self._bytes += entry.packed.size if entry.keys else 0
            self._shrink()
        return entry.packed

    def _still_good(self, entry: Entry) -> bool:
        if not self._changes.good(entry.reads, entry.seq):
            return False
        entry.seq = self._changes.seq  # so that the same changes are not looked through again
        return True

    def keep(self, key: Hashable, entry: Entry) -> None:
        """Keep an entry under a key, or under one more."""
        if not entry.cacheable or entry.size > self._capacity // LARGEST_SHARE or self._clock() >= self._changes.trusted_until:
            return
        if key in self._entries:
            self._drop(key)
        self._entries[key] = entry
        entry.keys += 1
        self._bytes += entry.size if entry.keys == 1 else KEY_BYTES
        self._shrink()

    def _shrink(self) -> None:
        while self._bytes > self._capacity:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Hashable) -> None:
        entry = self._entries.pop(key)
        entry.keys -= 1
        self._bytes -= KEY_BYTES if entry.keys else entry.size

    async def get(self, key: Hashable, make: Callable[[Reads, int], Awaitable[Entry]]) -> Entry:
        """The entry of a key: kept, under way for another request, or made now.

        Who joins a flight takes its answer only if it is still good when it lands: never one from before a change known to the joiner.
        """
        found = self.find(key)
        if found is not None:
            self.hits += 1
            return found
        flight = self._flights.get(key)
        if flight is not None:
            self.joined += 1
            entry = await asyncio.shield(flight)
            if entry.cacheable and self._changes.good(entry.reads, entry.seq):
                return entry
        self.misses += 1
        flight = asyncio.create_task(self._make(key, make))
        self._flights[key] = flight
        flight.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(flight)

    async def _make(self, key: Hashable, make: Callable[[Reads, int], Awaitable[Entry]]) -> Entry:
        seq = self._changes.seq  # before anything is read
        reads = record()
        entry = await make(reads, seq)
        entry.until = self._until(reads)
        if entry.cacheable and self._changes.good(reads, seq):
            self.keep(key, entry)
        return entry

    def _landed(self, key: Hashable, flight: asyncio.Task[Entry]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]
        if not flight.cancelled():
            flight.exception()  # seen here too: its caller may have gone

    def _until(self, reads: Reads) -> float:
        seconds = DIRECTORY_SECONDS if reads.directory else LONGEST_SECONDS
        if reads.clock:
            seconds = min(seconds, CLOCK_SECONDS - self._wall() % CLOCK_SECONDS)
        return self._clock() + seconds

    async def settle(self) -> None:
        """Wait for the flights under way."""
        await asyncio.gather(*self._flights.values(), return_exceptions=True)
