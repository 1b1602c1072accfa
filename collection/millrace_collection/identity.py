"""Who calls: API keys with scopes. A key is ``mr-<id>.<secret>``; of the secret, 256 random bits, only the SHA-256 is kept.

A slow hash guards secrets that people choose; 256 random bits can not be guessed, so SHA-256 is enough and costs a request nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import re
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from millrace_collection.directory import UNKNOWN_SECONDS, Cache
from millrace_collection.problems import Problem
from millrace_collection.store import ApiKey, Store

_FORM = re.compile(r"mr-([0-9a-f]{16})\.([A-Za-z0-9_-]{43})")
_NOBODY = "0" * 64
CACHED_KEYS = 10_000


def make_key(
    name: str,
    scopes: Sequence[str],
    now: datetime,
    *,
    merchants: Sequence[str] = (),
    expires_at: datetime | None = None,
    quota: int | None = None,
) -> tuple[str, ApiKey]:
    """A new key: the text that is shown once, and what is kept. See ``ApiKey`` for what binds it."""
    key_id, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
    made = ApiKey(key_id, name, hash_of(secret), tuple(scopes), now, merchants=tuple(merchants), expires_at=expires_at, quota=quota)
    return f"mr-{key_id}.{secret}", made


def hash_of(secret: str) -> str:
    """SHA-256 of the secret part, hexadecimal."""
    return hashlib.sha256(secret.encode()).hexdigest()


class Identity:
    """Checks API keys; a key is cached for a few seconds, within which a revoked one still works."""

    def __init__(self, store: Store, cache_seconds: float, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._now = now
        self._cache: Cache[ApiKey | None] = Cache(cache_seconds, CACHED_KEYS)
        self._unknown: Cache[bool] = Cache(UNKNOWN_SECONDS, CACHED_KEYS)

    async def require(self, authorization: str | None, scope: str) -> ApiKey:
        """The caller's key.

        Raises:
            Problem: 401 without a valid key, 403 where it lacks the scope.
            StoreUnavailable: the key could not be looked up.
        """
        scheme, _, token = (authorization or "").partition(" ")
        form = _FORM.fullmatch(token.strip())
        if scheme.lower() != "bearer" or form is None:
            raise Problem(401, "Authorization: send `Bearer <API key>`; make one with `millrace collection keys create`")
        key_id, secret = form.groups()
        key = await self._find(key_id)
        # Compared in constant time, and also for an unknown id, so that the time tells nothing.
        same = hmac.compare_digest(hash_of(secret), key.hash if key else _NOBODY)
        if key is None or not same or key.revoked_at is not None:
            raise Problem(401, "Authorization: the API key is unknown or revoked")
        if key.expires_at is not None and key.expires_at <= self._now():
            raise Problem(401, f"Authorization: the API key {key.name!r} expired at {key.expires_at.isoformat()}; make a new one")
        if scope not in key.scopes:
            raise Problem(403, f"The API key {key.name!r} lacks the scope {scope}; it has {', '.join(key.scopes)}")
        return key

    async def granted(self, key: ApiKey, commands: int) -> int:
        """How many of so many commands are within the key's quota of this minute; those are counted."""
        if key.quota is None:
            return commands
        return await self._store.take_quota(key, self._now().replace(second=0, microsecond=0), commands)

    async def charge(self, key: ApiKey) -> None:
        """Count one command.

        Raises:
            Problem: 429 where it is beyond the quota.
        """
        if await self.granted(key, 1) == 0:
            raise self.over_quota(key)

    def over_quota(self, key: ApiKey) -> Problem:
        """The answer to a command beyond the quota."""
        now = self._now()
        wait = (now.replace(second=0, microsecond=0) + timedelta(minutes=1) - now).total_seconds()
        detail = f"The API key {key.name!r} has a quota of {key.quota} commands a minute, which are used up; send this one again later"
        return Problem(429, detail, retry_after=math.ceil(wait))

    async def _find(self, key_id: str) -> ApiKey | None:
        held = self._cache.get(key_id)
        if held is not None or self._unknown.get(key_id):
            return held
        found = await self._store.api_key(key_id)
        if found is None:
            self._unknown.put(key_id, True)
        else:
            self._cache.put(key_id, found)
        return found


def beyond(key: ApiKey, what: str) -> Problem:
    """The refusal of what belongs to a merchant that the key does not open; the same whether it exists or not."""
    return Problem(403, f"The API key {key.name!r} may not touch {what}; it is bound to {', '.join(key.merchants)}")
