"""Idempotency-Key: the same key and body within 24 hours get the same answer, another body 409.

The id that the command will use is reserved, with a majority, before anything is written. A crash between the write and the
storing of its answer therefore doubles nothing: the retry takes the reservation over and writes under the same id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

import orjson

from millrace_collection.directory import Cache
from millrace_collection.keys import KeyGenerator, derived_key
from millrace_collection.problems import Problem, wrong
from millrace_collection.store import Reservation, Store

LIFETIME = timedelta(hours=24)
LOCK = timedelta(seconds=30)
"""By default; longer than a request can take, so that an unfinished reservation that is older belongs to a process that died."""
LONGEST_KEY = 255
REMEMBERED = 10_000


class Stored(NamedTuple):
    """A success as it is answered, now or again."""

    status: int
    body: bytes


Execute = Callable[[str], Awaitable[Stored]]
"""Carries the command out under the reserved id; a refusal is raised as Problem and is not stored."""


class Idempotency:
    """``now`` gives UTC instants, ``new_key`` ids of the key generation service."""

    def __init__(self, store: Store, now: Callable[[], datetime], new_key: KeyGenerator, lock: timedelta = LOCK) -> None:
        self._store = store
        self._now = now
        self._new_key = new_key
        self._lock = lock
        self._abandoned: Cache[bool] = Cache(lock.total_seconds(), REMEMBERED)

    async def run(self, caller: str, key: str | None, target: str, body: bytes, execute: Execute) -> Stored:
        """Execute once for each (caller, key).

        Raises:
            Problem: 409 for another body, or while the same request is being executed; whatever ``execute`` raises.
            StoreUnavailable: nothing is acknowledged.
        """
        if key is None:
            return await execute(self._new_key())
        if not 1 <= len(key) <= LONGEST_KEY or not key.isprintable():
            raise wrong("Idempotency-Key", key, f"must have 1 to {LONGEST_KEY} printable characters", 400)
        reservation = await self._reserved(caller, key, body_hash(target, body))
        if reservation.status is not None:
            return Stored(reservation.status, reservation.body or b"")
        try:
            answer = await execute(reservation.reserved_id)
        except BaseException as error:
            if isinstance(error, Problem) and error.status < 500:
                await self._store.release(reservation)
            else:
                # Whether something was written is not known; the next request with this key finds out under the same id.
                self._abandoned.put(reservation.reserved_id, True)
            raise
        await self._store.finish(reservation.id, answer.status, answer.body)
        return answer

    async def _reserved(self, caller: str, key: str, digest: str) -> Reservation:
        now = self._now()
        wanted = Reservation(derived_key(caller, key), digest, self._new_key(), now, now + self._lock)
        there = await self._store.reserve(wanted)
        if there is not None and there.created_at <= now - LIFETIME:
            await self._store.release(there)
            there = await self._store.reserve(wanted)
        if there is None:
            return wanted
        if there.body_hash != digest:
            raise wrong("Idempotency-Key", key, "was used for another request within 24 hours; take a new key", 409)
        free = there.locked_until <= now or self._abandoned.get(there.reserved_id)
        if there.done or (free and await self._store.take_over(there, now + self._lock)):
            self._abandoned.forget(there.reserved_id)
            return there
        raise Problem(409, "Idempotency-Key: the same request is being executed; send it again in a moment", retry_after=1)


def body_hash(target: str, body: bytes) -> str:
    """SHA-256 of method, path and body; spaces and the order of members do not matter in JSON."""
    with suppress(orjson.JSONDecodeError):
        body = orjson.dumps(orjson.loads(body), option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(target.encode() + b"\0" + body).hexdigest()
