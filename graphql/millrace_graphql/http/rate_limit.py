"""How much a tenant may ask in a time: a token bucket in Redis, one script, shared by all workers and replicas.

With Redis away each worker counts for itself with the same bucket: nobody is refused because Redis is down, and nobody may ask
without bound; with n workers a tenant may then get n times its rate.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import structlog
from redis.exceptions import RedisError, ResponseError

from millrace_graphql.bounded import Bounded
from millrace_graphql.errors import ApiError
from millrace_graphql.observability import RATE_LIMITED, REDIS_FAILURES
from millrace_graphql.ranges.redis_wire import Wire

log = structlog.get_logger()
SCRIPT = b"""
local capacity = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local full = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now + ARGV[4])
if full < now then
  full = now
elseif full > now + capacity then
  full = now + capacity
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', ARGV[3])
end
local after = full + ARGV[2]
if after > now + capacity then
  return now - full - 1
end
redis.call('SET', KEYS[1], string.format('%.0f', after), 'PX', ARGV[3])
return after - now
"""
"""Of a bucket is kept when it will be full again, in microseconds of Redis's clock: one number, half the work of a level and its time.

Takes the microseconds in which an empty bucket fills and in which the cost comes back, the milliseconds to keep it, and the
microseconds that it lacks at least as this worker knows: a bucket that was evicted comes back with those. Gives the
microseconds until the bucket is full, or, where too little is in it, those as they were, as a negative number less one. A clock that
was set back leaves an empty bucket, which fills.
"""
_SHA = hashlib.sha1(SCRIPT).hexdigest()  # noqa: S324 - Redis names scripts so
MICROSECONDS = 1_000_000
ROUNDING = 0.001
"""Of a point: what rounding each cost up to a microsecond may make up in a bucket is no point less."""
LOCAL_TENANTS = 10_000
KNOWN_BYTES = 4_194_304
"""Of what a worker knows of buckets: of 10,000 tenants."""
PAUSE_SECONDS = 1.0


@dataclass(slots=True)
class Throttle:
    """The state of a tenant's bucket after a request."""

    capacity: int
    available: int
    restore_rate: int
    taken: bool = True

    def status(self) -> dict[str, int]:
        """As ``extensions`` show it."""
        return {"maximumAvailable": self.capacity, "currentlyAvailable": self.available, "restoreRate": self.restore_rate}

    def headers(self) -> dict[str, str]:
        """RateLimit headers (draft-ietf-httpapi-ratelimit-headers): what is left, and seconds until the bucket is full."""
        return {"RateLimit-Policy": _policy(self.capacity, self.restore_rate)[1].decode(), "RateLimit": self._left()}

    def pairs(self) -> tuple[tuple[bytes, bytes], ...]:
        """The same headers as ASGI wants them."""
        return _policy(self.capacity, self.restore_rate), (b"ratelimit", self._left().encode())

    def _left(self) -> str:
        full = -(-(self.capacity - self.available) // self.restore_rate)
        return f'"points";r={self.available};t={full}'


@lru_cache(16)
def _policy(capacity: int, rate: int) -> tuple[bytes, bytes]:
    return b"ratelimit-policy", f'"points";q={capacity};w={math.ceil(capacity / rate)}'.encode()


class ThrottledError(ApiError):
    """The tenant's bucket holds less than the request costs."""

    code = "THROTTLED"
    status = 429

    def __init__(self, cost: int, throttle: Throttle) -> None:
        self.wait = max(1, math.ceil((cost - throttle.available) / throttle.restore_rate))
        self.throttle = throttle
        super().__init__(
            f"this costs {cost} points and {throttle.available} are left; ask again in {self.wait} s or for a shorter range",
            cost=cost,
            throttleStatus=throttle.status(),
        )


class RateLimit:
    """Token buckets of all tenants. ``rate`` points a second come back, up to ``capacity``."""

    def __init__(self, wire: Wire, prefix: str, capacity: int, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._wire = wire
        self._prefix = prefix
        self._capacity = capacity
        self._rate = rate
        self._fills = math.ceil(capacity * MICROSECONDS / rate)
        self._kept = self._fills // 1000 + 1000
        self._clock = clock
        self._local: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._away_until = float("-inf")
        self._full: Bounded[str, float] = Bounded(KNOWN_BYTES)
        """When each bucket is full again as Redis last said, by this worker's clock."""

    async def take(self, tenant: str, cost: int) -> Throttle:
        """Take a request's cost out of the tenant's bucket.

        Raises:
            ThrottledError: there is not enough left; nothing is taken.
        """
        cost = min(cost, self._capacity)  # what can never be paid is refused by the cost limit, not here
        throttle = await self._shared(tenant, cost)
        if not throttle.taken:
            RATE_LIMITED.inc()
            raise ThrottledError(cost, throttle)
        return throttle

    async def _shared(self, tenant: str, cost: int) -> Throttle:
        if self._clock() < self._away_until:
            return self._own(tenant, cost)
        key, asked = f"{self._prefix}:{{{tenant}}}:full", self._clock()
        known = max(0, int(((self._full.get(tenant) or asked) - asked) * MICROSECONDS))
        arguments = (1, key, self._fills, math.ceil(cost * MICROSECONDS / self._rate), self._kept, known)
        try:
            try:
                [until] = await self._wire.call(("EVALSHA", _SHA, *arguments))
            except ResponseError as error:
                if not str(error).startswith("NOSCRIPT"):
                    raise
                [until] = await self._wire.call(("EVAL", SCRIPT, *arguments))
        except (RedisError, OSError, TimeoutError) as error:
            REDIS_FAILURES.inc()
            if self._clock() >= self._away_until:  # one line, however many were waiting
                log.warning("rate_limit.redis_away", problem=f"{type(error).__name__}: {error}"[:200])
            self._away_until = self._clock() + PAUSE_SECONDS
            return self._own(tenant, cost)
        lacking = until if until >= 0 else -until - 1
        self._full.put(tenant, asked + lacking / MICROSECONDS, 0)  # no later than it is: asked before Redis looked at its clock
        available = int((self._fills - lacking) * self._rate / MICROSECONDS + ROUNDING)
        return Throttle(self._capacity, available, self._rate, until >= 0)

    def _own(self, tenant: str, cost: int) -> Throttle:
        now = self._clock()
        level, at = self._local.pop(tenant, (float(self._capacity), now))
        level = min(self._capacity, level + (now - at) * self._rate)
        taken = level >= cost
        level -= cost if taken else 0
        self._local[tenant] = (level, now)
        while len(self._local) > LOCAL_TENANTS:
            self._local.popitem(last=False)
        return Throttle(self._capacity, int(level), self._rate, taken)
