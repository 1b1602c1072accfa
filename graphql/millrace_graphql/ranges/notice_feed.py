"""Listening to the processors' notices: what they say goes to ``Changes`` and to subscribers (millrace_contracts.notices).

Caches trust what they hold only while this feed knows that it misses nothing: it is subscribed and was answered within
``TRUST_SECONDS``. After every (re)connection and every new epoch all that was read before is forgotten.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import structlog
from redis.exceptions import RedisError

from millrace_contracts.notices import Notice, channel, epoch_key
from millrace_graphql.errors import ApiError
from millrace_graphql.observability import FEED, NOTICES
from millrace_graphql.ranges.changes import Changes
from millrace_graphql.ranges.redis_wire import Connection, Wire, connect
from millrace_graphql.ranges.subscribers import Hub

log = structlog.get_logger()
TICK_SECONDS = 1.0
TRUST_SECONDS = 3.0
"""How long after an answered ping the caches may be used: a hung connection is noticed within it."""
LONGEST_PAUSE = 5.0


async def _pong(connection: Connection) -> None:
    async with asyncio.timeout(1.0):
        await connection.call([("PING",)])


class NoticeFeed:
    """One subscription a process. ``progress`` asks how far the analysis has come; its answer comes back through ``told``."""

    def __init__(
        self,
        url: str,
        prefix: str,
        changes: Changes,
        wire: Wire,
        progress: Callable[[], Awaitable[object]],
        hub: Hub,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._prefix = prefix
        self._changes = changes
        self._wire = wire
        self._progress = progress
        self._clock = clock
        self._epoch: bytes | None = None
        self._connection: Connection | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._hub = hub

    @property
    def trusted(self) -> bool:
        """Whether nothing can have been missed."""
        return self._clock() < self._changes.trusted_until

    def start(self) -> None:
        """Begin to listen; returns at once."""
        self._tasks = [asyncio.create_task(self._run(), name="notice-feed"), asyncio.create_task(self._watch(), name="progress")]

    async def stop(self) -> None:
        """Stop listening."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def told(self, through_ms: int | None) -> None:
        """The analysis has come so far; returns once every notice from before that has been taken, or none is trusted.

        Redis answers a subscriber's ping after the messages that it had published before.
        """
        if through_ms == self._changes.through_ms:
            return
        connection = self._connection
        if connection is not None:
            try:
                await _pong(connection)
            except (RedisError, OSError, TimeoutError):
                self._distrust()
        self._changes.advance(through_ms)
        self._hub.progressed()

    async def _watch(self) -> None:
        """Ask for the progress again and again, so that answers that depend on it do not outlive it."""
        while True:
            with contextlib.suppress(ApiError):  # the store is away: what was answered before is still what it holds
                await self._progress()
            await asyncio.sleep(TICK_SECONDS)

    async def _run(self) -> None:
        pause = 0.1
        while True:
            try:
                self._connection = await connect(self._url, 2.0, self._heard)
                try:
                    await self._listen(self._connection)
                finally:
                    self._connection.abort()
            except (RedisError, OSError, TimeoutError) as error:
                if self.trusted or pause == 0.1:
                    log.warning("notices.away", problem=f"{type(error).__name__}: {error}"[:200])
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                pause = 0.1
            self._connection = None
            self._distrust()
            await asyncio.sleep(pause)

    async def _listen(self, connection: Connection) -> None:
        connection.closed.add_done_callback(lambda _: self._distrust())  # at once, before anything else runs
        async with asyncio.timeout(2.0):
            await connection.call([("SUBSCRIBE", channel(self._prefix))])
        self._epoch = await self._read_epoch()
        self._missed()
        log.info("notices.listening")
        while not connection.closed.done():
            await self._tick(connection)
            await asyncio.wait([connection.closed], timeout=TICK_SECONDS)

    async def _tick(self, connection: Connection) -> None:
        """Ask for the epoch, and for a pong."""
        asked = self._clock()
        epoch = await self._read_epoch()
        if epoch != self._epoch:
            self._epoch = epoch
            self._missed()
        await _pong(connection)
        self._changes.trusted_until = asked + TRUST_SECONDS
        FEED.set(1)

    async def _read_epoch(self) -> bytes | None:
        [epoch] = await self._wire.call(("GET", epoch_key(self._prefix)))
        return epoch if isinstance(epoch, bytes) else None

    def _missed(self) -> None:
        self._changes.forget()
        self._hub.missed()

    def _distrust(self) -> None:
        self._changes.trusted_until = float("-inf")
        FEED.set(0)

    def _heard(self, message: list[Any]) -> None:
        try:
            notice: Notice = orjson.loads(message[-1])
            self._changes.heard(notice)
        except (ValueError, KeyError, TypeError) as error:
            # What it said is not known, so everything may have changed.
            log.warning("notices.unreadable", problem=f"{type(error).__name__}: {error}"[:200])
            NOTICES.labels("unreadable").inc()
            self._missed()
            return
        NOTICES.labels("heard").inc()
        self._hub.heard(notice)
