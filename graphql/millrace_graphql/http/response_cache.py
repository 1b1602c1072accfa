"""Whole answers, kept a tenant at a time and reused while nothing that they were made of has changed.

An entry is found by (tenant, what was asked) and thus only after the caller's identity is settled (I9). It is good while
``Changes`` knows of no change to the days, and to the progress, that it was read from; where notices cannot be trusted, no entry is.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, replace
from typing import Any

from xxhash import xxh3_128_hexdigest

from millrace_graphql.http.compression import ENCODING, LEAST_BYTES, compressed
from millrace_graphql.http.headers import content_length
from millrace_graphql.observability import RESPONSE_BYTES, RESPONSES
from millrace_graphql.ranges.changes import Changes, Reads, record

DIRECTORY_SECONDS = 5.0
"""How long an answer that names merchants is kept: no notice tells of a merchant."""
LONGEST_SECONDS = 600.0
CLOCK_SECONDS = 300
"""An answer about "today" ends at the next five minutes of the hour: no zone's midnight falls between them."""
LARGEST_SHARE = 16
"""No entry is larger than this part of the cache."""
ENTRY_BYTES, READ_BYTES, KEY_BYTES = 1_800, 300, 300
"""About what an entry takes without its body, each merchant that it was read of, and one more key of it."""
LONGEST_PART = 80
"""Characters of a part of a key that is kept as it is."""
Message = dict[str, Any]
Headers = list[tuple[bytes, bytes]]
HIT = (b"x-millrace-cache", b"hit")


@dataclass(slots=True)
class Entry:
    """An answer, ready to be sent: what ASGI's two messages hold, and the first of a 304."""

    seq: int
    sent: Headers
    """Of an answer that was found; the messages are made anew, as those of thousands of answers would be fetched from far memory."""
    content: bytes
    etag: bytes
    not_modified: Message
    reads: Reads
    until: float
    status: int = 200
    size: int = 0
    cacheable: bool = True
    keys: int = 0
    """Under how many keys it is kept; its bytes count once."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """What every answer that is made of it has, also one that says more or comes from no cache."""
    packed: Entry | None = None
    """The same compressed, once it was asked for."""

    @property
    def start(self) -> Message:
        """ASGI's first message."""
        return {"type": "http.response.start", "status": self.status, "headers": self.sent}

    @property
    def body(self) -> Message:
        """ASGI's second message."""
        return {"type": "http.response.body", "body": self.content}


def entry_of(status: int, body: bytes, headers: list[tuple[bytes, bytes]], reads: Reads, seq: int) -> Entry:
    """The entry of an answer; its ETag is the hash of its bytes and media type.

    Not a cryptographic one, which takes longer than writing the JSON: the worst that a chosen collision could do is to show its maker
    his own older answer.
    """
    media = next((value for name, value in headers if name == b"content-type"), b"")
    etag = b'"' + xxh3_128_hexdigest(media + body).encode() + b'"'
    kept = (*headers, (b"etag", etag))
    return Entry(
        seq,
        [*kept, HIT, content_length(len(body))],
        body,
        etag,
        {"type": "http.response.start", "status": 304, "headers": [*[pair for pair in kept if pair[0] != b"content-type"], HIT]},
        reads,
        math.inf,
        status,
        size=len(body) + ENTRY_BYTES + READ_BYTES * len(reads.days),
        headers=kept,
    )


def short(part: str | bytes | None) -> str | bytes | None:
    """A part of a key that a caller chooses, or its digest: no key takes more than ``ENTRY_BYTES`` allow for."""
    if part is None or len(part) <= LONGEST_PART:
        return part
    kind = b"text" if isinstance(part, str) else b"bytes"
    content = part.encode(errors="surrogatepass") if isinstance(part, str) else part
    return hashlib.sha256(kind + content).digest()


def packed(entry: Entry) -> Entry:
    """An answer compressed. Its ETag is weak: what it says is equal, not its bytes (RFC 9110, section 8.8.1); both find it again."""
    content = compressed(entry.content)
    kept = (*[pair for pair in entry.headers if pair[0] != b"etag"], (b"etag", b"W/" + entry.etag))
    return replace(
        entry,
        sent=[*kept, ENCODING, HIT, content_length(len(content))],
        content=content,
        not_modified={**entry.not_modified, "headers": [*[pair for pair in kept if pair[0] != b"content-type"], HIT]},
        headers=kept,
        size=len(content) + ENTRY_BYTES,
    )


class _Ticket:
    """One key's hold of an entry: ``shown`` is what is sent, the entry or it compressed; good no longer than ``until``."""

    __slots__ = ("entry", "shown", "until", "used")

    def __init__(self, entry: Entry, until: float) -> None:
        self.entry = self.shown = entry
        self.until = until
        self.used = False


class ResponseCache:
    """A bounded cache with one flight a key. ``capacity`` bytes of 0 turns keeping off; flights are still shared."""

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
        self._tickets: OrderedDict[Hashable, _Ticket] = OrderedDict()
        self._flights: dict[Hashable, asyncio.Task[Entry]] = {}
        self._bytes = 0
        self.found, self.not_modified = (RESPONSES.labels(result).cell for result in ("hit", "not_modified"))
        """How many answers were found, and of those not sent: numbers at place 0, since a kept answer takes less time than a call."""
        self._misses, self._joined = RESPONSES.labels("miss"), RESPONSES.labels("joined")

    @property
    def size(self) -> int:
        """Bytes kept."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._tickets)

    def find(self, key: Hashable, *, packed: bool = False) -> Entry | None:
        """The entry of a key if it is still good; with ``packed``, which always goes with the same keys, compressed unless it is short."""
        ticket = self._tickets.get(key)
        if ticket is None:
            return None
        changes = self._changes
        now = self._clock()
        if now >= changes.trusted_until:
            return None
        entry = ticket.entry
        if now < ticket.until and (entry.seq == changes.seq or self._still_good(entry)):
            if not ticket.used:
                # Moving it to the end of a list would touch its neighbours, each of them somewhere else in memory.
                ticket.used = True
                if packed:
                    ticket.shown = self._packed(entry)
            return ticket.shown
        self._drop(key)
        return None

    def _packed(self, entry: Entry) -> Entry:
        """Compressed the first time."""
        if entry.packed is None:
            if len(entry.content) < LEAST_BYTES:
                return entry
            entry.packed = packed(entry)
            entry.size += entry.packed.size
            self._takes(entry.packed.size)
            self._shrink()
        return entry.packed

    def _still_good(self, entry: Entry) -> bool:
        if not self._changes.good(entry.reads, entry.seq):
            return False
        entry.seq = self._changes.seq  # so that the same changes are not looked through again
        return True

    def keep(self, key: Hashable, entry: Entry, seconds: float = math.inf) -> None:
        """Keep an entry under a key, or under one more, at most so long."""
        now = self._clock()
        if not entry.cacheable or entry.size > self._capacity // LARGEST_SHARE or now >= self._changes.trusted_until:
            return
        if key in self._tickets:
            self._drop(key)
        self._tickets[key] = _Ticket(entry, min(entry.until, now + seconds))
        entry.keys += 1
        self._takes(entry.size if entry.keys == 1 else KEY_BYTES)
        self._shrink()

    def _shrink(self) -> None:
        """Let go of what was not used since it came, or since it was last spared for its use."""
        while self._bytes > self._capacity:
            key, ticket = next(iter(self._tickets.items()))
            if ticket.used:
                ticket.used = False
                self._tickets.move_to_end(key)
            else:
                self._drop(key)

    def _drop(self, key: Hashable) -> None:
        entry = self._tickets.pop(key).entry
        entry.keys -= 1
        self._takes(-(KEY_BYTES if entry.keys else entry.size))

    def _takes(self, size: int) -> None:
        self._bytes += size
        RESPONSE_BYTES.inc(size)

    def clear(self) -> None:
        """Forget all."""
        for key in list(self._tickets):
            self._drop(key)

    async def get(self, key: Hashable, make: Callable[[Reads, int], Awaitable[Entry]]) -> Entry:
        """The entry of a key: kept, under way for another request, or made now.

        Who joins a flight takes its answer only if it is still good when it lands: never one from before a change known to the joiner.
        """
        found = self.find(key)
        if found is not None:
            self.found[0] += 1
            return found
        flight = self._flights.get(key)
        if flight is not None:
            self._joined.inc()
            entry = await asyncio.shield(flight)
            if entry.cacheable and self._changes.good(entry.reads, entry.seq):
                return entry
        self._misses.inc()
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
