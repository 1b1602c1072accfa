"""Merchants and users by id, through bounded caches, looked up in batches."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import datetime
from typing import Generic, TypeVar

from millrace_collection.store import Document, Store
from millrace_contracts.documents import customer_key

UNKNOWN_SECONDS = 1.0
"""How long an unknown id stays unknown: a merchant made through another process counts soon."""
Value = TypeVar("Value")
Clock = Callable[[], float]


class Cache(Generic[Value]):
    """A bounded cache with a time to live; the oldest entries go first. ``clock`` is monotonic seconds."""

    def __init__(self, seconds: float, entries: int, clock: Clock = time.monotonic) -> None:
        self._seconds = seconds
        self._entries = entries
        self._clock = clock
        self._held: dict[str, tuple[float, Value]] = {}

    def get(self, key: str) -> Value | None:
        """The value, or None where it is unknown or too old."""
        entry = self._held.get(key)
        return None if entry is None or entry[0] <= self._clock() else entry[1]

    def put(self, key: str, value: Value, seconds: float | None = None) -> None:
        """Keep a value, by default for the cache's time to live."""
        self._held.pop(key, None)
        while len(self._held) >= self._entries:
            del self._held[next(iter(self._held))]
        self._held[key] = (self._clock() + (self._seconds if seconds is None else min(seconds, self._seconds)), value)

    def forget(self, key: str) -> None:
        """Drop a value that is about to change."""
        self._held.pop(key, None)

    def __len__(self) -> int:
        return len(self._held)


class Directory:
    """What a payment needs to know of its merchant (that it exists) and its user (the snapshot)."""

    def __init__(
        self, store: Store, secret: bytes, *, merchant_seconds: float, user_seconds: float, entries: int, clock: Clock = time.monotonic
    ) -> None:
        self._store = store
        self._secret = secret
        self._merchants: Cache[bool] = Cache(merchant_seconds, entries, clock)
        self._users: Cache[Document] = Cache(user_seconds, entries, clock)
        self._keys: Cache[str] = Cache(float("inf"), entries, clock)

    def key_of(self, user_id: str) -> str:
        """The customer key of a platform user id."""
        key = self._keys.get(user_id)
        if key is None:
            key = customer_key(self._secret, user_id)
            self._keys.put(user_id, key)
        return key

    async def known_merchants(self, ids: Collection[str]) -> set[str]:
        """Which of the merchants exist; unknown ones are asked for again after a second."""
        known = await _through(self._merchants, ids, self._merchant_exists, False)
        return {merchant for merchant, exists in known.items() if exists}

    async def users(self, keys: Collection[str]) -> dict[str, Document]:
        """Snapshots by customer key; a user without a profile has an empty one."""
        return await _through(self._users, keys, self._snapshots, {})

    def forget_merchant(self, merchant_id: str) -> None:
        """The merchant is being written."""
        self._merchants.forget(merchant_id)

    def forget_user(self, key: str) -> None:
        """The user is being written."""
        self._users.forget(key)

    async def _merchant_exists(self, ids: Iterable[str]) -> dict[str, bool]:
        return dict.fromkeys(await self._store.merchants(ids), True)

    async def _snapshots(self, keys: Iterable[str]) -> dict[str, Document]:
        return {key: snapshot(user) for key, user in (await self._store.users(keys)).items()}


async def _through(
    cache: Cache[Value], keys: Collection[str], fetch: Callable[[Iterable[str]], Awaitable[dict[str, Value]]], unknown: Value
) -> dict[str, Value]:
    held = {key: value for key in keys if (value := cache.get(key)) is not None}
    missing = [key for key in keys if key not in held]
    if missing:
        fetched = await fetch(missing)
        for key in missing:
            if key in fetched:
                cache.put(key, fetched[key])
            else:
                cache.put(key, unknown, UNKNOWN_SECONDS)
            held[key] = fetched.get(key, unknown)
    return held


def snapshot(user: Document) -> Document:
    """What of a user is embedded in a payment: neither e-mail, name, phone nor the day of birth (I12)."""
    kept: Document = {name: user[name] for name in ("gender", "country", "grade", "device") if name in user}
    if isinstance(born := user.get("dateOfBirth"), datetime):
        kept["birthYear"] = born.year
    return kept
