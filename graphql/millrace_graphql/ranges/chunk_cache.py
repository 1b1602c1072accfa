"""Raw reports of a merchant and UTC day in Redis, coherent by the protocol of millrace_contracts.notices.

A chunk is a hash at ``chunk_key`` with one field a column group (FIELDS); each field is ``<tag>\\n<bytes>``, where the tag is
``<version of the day>:<epoch>`` as read BEFORE Cassandra was. A field counts only while its tag equals what Redis says now.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine, Iterable
from typing import Any

import structlog
from redis.exceptions import RedisError

from millrace_contracts.notices import CACHE_TTL_SECONDS, changed_key, chunk_key, epoch_key
from millrace_graphql.observability import CHUNKS, REDIS_FAILURES
from millrace_graphql.ranges.changes import note_reports
from millrace_graphql.ranges.chunk_memory import ChunkMemory
from millrace_graphql.ranges.columns import Group, Rows, Table, decode, encode, joined
from millrace_graphql.ranges.plan import DAY_MS, day_of, day_start_ms
from millrace_graphql.ranges.redis_wire import Command, Wire

log = structlog.get_logger()
PAUSE_AFTER_FAILURE_SECONDS = 1.0
PAST_DAYS, FUTURE_DAYS, DAY_SECONDS = 3_660, 2, 86_400
"""Days before and after today whose chunks are kept."""
_HITS, _MISSES = CHUNKS.labels("hit"), CHUNKS.labels("miss")
Load = Callable[[int, int, frozenset[Group]], Coroutine[Any, Any, Rows]]
"""Reads [start ms, end ms) of one month from Cassandra."""
FIELDS = {group: f"{group}:packed" for group in Group}
"""The names of a chunk's fields. They change with the format of what they hold, so that servers of two versions may run side by side."""
Piece = tuple[str, Group]
Tags = dict[str, bytes]
"""Day -> the tag that a good chunk of it carries."""


class ChunkCache:
    """In front of one report store. Redis away: every read goes to Cassandra, and the metric says so."""

    def __init__(
        self,
        wire: Wire,
        prefix: str,
        memory: ChunkMemory | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._wire = wire
        self._memory = memory
        self._prefix = prefix
        self._epoch: Command = ("GET", epoch_key(prefix))
        self._clock = clock
        self._wall = wall
        self._away_until = float("-inf")
        self._flights: dict[tuple[str, str, Group, bytes], asyncio.Task[Rows]] = {}
        self._writes: set[asyncio.Task[None]] = set()

    async def read(self, merchant_id: str, days: list[str], groups: frozenset[Group], load: Load) -> Rows:
        """The reports of consecutive UTC days, all currencies, from Redis where a chunk is good and else by ``load``.

        Raises:
            UnavailableError: from ``load``.
        """
        note_reports(merchant_id, day_start_ms(days[0]), day_start_ms(days[-1]) + DAY_MS)
        pieces = [(day, group) for day in days for group in sorted(groups)]
        if self._memory is None:
            found = await self._shared(merchant_id, pieces, load)
        else:
            found = await self._remembered(merchant_id, pieces, load, self._memory)
        return {group: joined(group, [found[day, group] for day in days]) for group in groups}

    async def _remembered(self, merchant_id: str, pieces: list[Piece], load: Load, memory: ChunkMemory) -> dict[Piece, Table]:
        seq, now = memory.changes.seq, self._clock()  # before anything is read
        keys = {piece: (merchant_id, day_start_ms(piece[0]) // DAY_MS, piece[1]) for piece in pieces}
        found = {piece: table for piece, key in keys.items() if (table := memory.get(key, now)) is not None}
        CHUNKS.labels("memory").inc(len(found))
        absent = [piece for piece in pieces if piece not in found]
        if absent:
            for piece, table in (await self._shared(merchant_id, absent, load)).items():
                memory.put(keys[piece], table, seq, now)
                found[piece] = table
        return found

    async def _shared(self, merchant_id: str, pieces: list[Piece], load: Load) -> dict[Piece, Table]:
        """From Redis where a chunk is good, and else by ``load``."""
        first, last = self._kept_days()
        days = [day for day in dict.fromkeys(day for day, _ in pieces) if first <= day <= last]
        tags: Tags = {}
        found: dict[Piece, Table] = {}
        try:
            if days:
                tags, found = await self._look_up(merchant_id, days, {group for _, group in pieces})
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)
        if len(found) == len(pieces):
            _HITS.inc(len(pieces))
            return found
        absent = [piece for piece in pieces if piece not in found]
        _HITS.inc(len(pieces) - len(absent))
        _MISSES.inc(len(absent))
        found.update(await self._fill(merchant_id, absent, tags, load))
        return found

    def _kept_days(self) -> tuple[str, str]:
        """The first and last day that have a place in Redis: a caller may ask for each day of centuries, which hold nothing."""
        today = int(self._wall() // DAY_SECONDS)
        return day_of((today - PAST_DAYS) * DAY_MS), day_of((today + FUTURE_DAYS) * DAY_MS)

    async def _look_up(self, merchant_id: str, days: list[str], groups: Iterable[Group]) -> tuple[Tags, dict[Piece, Table]]:
        if self._clock() < self._away_until:
            return {}, {}
        names = sorted(groups)
        fields = [FIELDS[name] for name in names]
        commands: list[Command] = [("HMGET", changed_key(self._prefix, merchant_id), *days)]
        commands += [("HMGET", chunk_key(self._prefix, merchant_id, day), *fields) for day in days]
        epoch, versions, *chunks = await self._wire.call(*commands, beside=self._epoch)
        if None in versions:
            versions = await self._mark(merchant_id, days)
        tags = {day: b"%b:%b" % (version, epoch or b"") for day, version in zip(days, versions, strict=True)}
        found: dict[Piece, Table] = {}
        for day, values in zip(days, chunks, strict=True):
            tag = tags[day] + b"\n"
            for group, field in zip(names, values, strict=True):
                if field and field.startswith(tag):
                    found[day, group] = decode(group, day_start_ms(day), field[len(tag) :])
        return tags, found

    async def _mark(self, merchant_id: str, days: list[str]) -> list[bytes]:
        """Give days without a version a mark of their own.

        If "no version" were a tag, a day whose version Redis evicted would make chunks from before its last notice good again.
        """
        key, mark = changed_key(self._prefix, merchant_id), f"r{secrets.token_hex(8)}"
        marks: list[Command] = [("HSETNX", key, day, mark) for day in days]
        result: list[bytes] = (await self._wire.call(*marks, ("EXPIRE", key, CACHE_TTL_SECONDS, "NX"), ("HMGET", key, *days)))[-1]
        return result

    async def _fill(self, merchant_id: str, absent: list[Piece], tags: Tags, load: Load) -> dict[Piece, Table]:
        """Read what is absent, one flight a piece and tag: whoever saw a newer version never joins an older read."""
        flights: dict[Piece, asyncio.Task[Rows]] = {}
        fresh: dict[str, set[Group]] = {}
        for day, group in absent:
            flight = self._flights.get((merchant_id, day, group, tags[day])) if day in tags else None
            if flight is not None:
                flights[day, group] = flight
            else:
                fresh.setdefault(day, set()).add(group)
        for run, groups in _runs(fresh):
            flight = asyncio.create_task(load(day_start_ms(run[0]), day_start_ms(run[-1]) + DAY_MS, groups))
            self._launch(merchant_id, run, groups, tags, flight)
            flights.update({(day, group): flight for day in run for group in groups})
        result: dict[Piece, Table] = {}
        for (day, group), flight in flights.items():
            rows = await asyncio.shield(flight)  # others may wait for it
            result[day, group] = rows[group].between(day_start_ms(day), day_start_ms(day) + DAY_MS)
        return result

    def _launch(self, merchant_id: str, run: list[str], groups: frozenset[Group], tags: Tags, flight: asyncio.Task[Rows]) -> None:
        keys = [(merchant_id, day, group, tags[day]) for day in run for group in groups if day in tags]
        self._flights.update(dict.fromkeys(keys, flight))

        def landed(done: asyncio.Task[Rows]) -> None:
            for key in keys:
                self._flights.pop(key, None)
            if not done.cancelled() and done.exception() is None and keys:
                write = asyncio.create_task(self._store(merchant_id, run, tags, done.result()))
                self._writes.add(write)
                write.add_done_callback(self._writes.discard)

        flight.add_done_callback(landed)

    async def _store(self, merchant_id: str, run: list[str], tags: Tags, rows: Rows) -> None:
        commands: list[Command] = []
        for day in run:
            key, start = chunk_key(self._prefix, merchant_id, day), day_start_ms(day)
            tag = tags[day] + b"\n"
            fields = [(FIELDS[group], tag + encode(group, start, data.between(start, start + DAY_MS))) for group, data in rows.items()]
            commands.append(("HSET", key, *(part for field in fields for part in field)))
            commands.append(("EXPIRE", key, CACHE_TTL_SECONDS))
        try:
            await self._wire.call(*commands)
        except (RedisError, OSError, TimeoutError) as error:
            self._failed(error)

    async def settle(self) -> None:
        """Wait for the writes under way."""
        await asyncio.gather(*self._writes, return_exceptions=True)

    def _failed(self, error: Exception) -> None:
        REDIS_FAILURES.inc()
        if self._clock() >= self._away_until:  # one line, however many were waiting
            log.warning("redis.away", problem=str(error)[:200])
        self._away_until = self._clock() + PAUSE_AFTER_FAILURE_SECONDS


def _runs(fresh: dict[str, set[Group]]) -> list[tuple[list[str], frozenset[Group]]]:
    """Days that are read together: consecutive, of one month, lacking the same groups."""
    runs: list[tuple[list[str], frozenset[Group]]] = []
    for day in sorted(fresh):
        groups = frozenset(fresh[day])
        if runs:
            last, wanted = runs[-1]
            if wanted == groups and last[-1][:7] == day[:7] and day_start_ms(last[-1]) + DAY_MS == day_start_ms(day):
                last.append(day)
                continue
        runs.append(([day], groups))
    return runs
