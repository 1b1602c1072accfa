"""Step 7: tell caches and subscriptions which windows have changed; see contracts/notices.py. Losing Redis loses nothing but speed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator

import numpy as np
import orjson
import redis
import structlog

from millrace_contracts.notices import CACHE_TTL_SECONDS, SINCE, Notice, changed_key, channel, epoch_key, missed_key
from millrace_contracts.settings import RedisSettings
from millrace_contracts.windows import Grain, Inner
from millrace_processors.reports import Reports

DAY_MS = 86_400_000
MERCHANTS_A_TRIP = 500
WINDOWS_A_NOTICE = 1_000
PATIENCE_SECONDS = 60.0
"""How long a job waits for Redis to tell it that notices were lost."""
_RAISE = "if ARGV[1] + 0 > (tonumber(redis.call('GET', KEYS[1])) or -1) then redis.call('SET', KEYS[1], ARGV[1]) end"
"""Versions are exact in Lua's numbers, which hold whole ones up to 2^53: microseconds since 1970 for two centuries."""
_clients: dict[str, redis.Redis] = {}
log = structlog.get_logger()


def client(settings: RedisSettings) -> redis.Redis:
    """The client of this process; it gives up within two seconds rather than hold a batch up."""
    if settings.url not in _clients:
        _clients[settings.url] = redis.Redis.from_url(settings.url, socket_timeout=2, socket_connect_timeout=1)
    return _clients[settings.url]


def publish(settings: RedisSettings, prefix: str, notices: list[Notice]) -> bool:
    """Mark the notices' days as changed and publish them; false where Redis is away."""
    found = client(settings)
    try:
        for first in range(0, len(notices), MERCHANTS_A_TRIP):
            with found.pipeline(transaction=False) as pipe:
                for notice in notices[first : first + MERCHANTS_A_TRIP]:
                    key = changed_key(prefix, notice["merchantId"])
                    days = {_day(start): notice["version"] for start, _ in notice["windows"]}
                    pipe.hsetnx(key, SINCE, str(notice["version"]))
                    pipe.hset(key, mapping=days)  # type: ignore[arg-type]
                    pipe.expire(key, CACHE_TTL_SECONDS)
                    pipe.publish(channel(prefix), orjson.dumps(notice))
                pipe.execute()
    except redis.RedisError:
        return False
    return True


def new_epoch(settings: RedisSettings, prefix: str, missed: int) -> bool:
    """Make every cached chunk stale, and watermarks below a version unfit to go on from; false where Redis is away."""
    try:
        with client(settings).pipeline(transaction=False) as pipe:
            pipe.eval(_RAISE, 1, missed_key(prefix), str(missed))
            pipe.incr(epoch_key(prefix))
            pipe.execute()
    except redis.RedisError:
        return False
    return True


def tell_of_loss(settings: RedisSettings, prefix: str, version: int, patience: float = PATIENCE_SECONDS) -> bool:
    """Of notices of a job that Redis did not take: a new epoch, as soon as Redis is back; false where it is not back in time."""
    deadline = time.monotonic() + patience
    while not new_epoch(settings, prefix, version + 1):
        if time.monotonic() > deadline:
            log.warning("notices.lost", fix="run the job again once Redis is back: until then caches may show what was before it")
            return False
        time.sleep(1)
    return True


def of_reports(reports: Reports, grain: Grain | Inner, version: int, complete_through_ms: int | None) -> Iterator[Notice]:
    """A notice for each merchant of reports that stand together by merchant."""
    if not len(reports):
        return
    merchants = np.asarray(reports.merchants, dtype=object)
    starts = [0, *(np.flatnonzero(merchants[1:] != merchants[:-1]) + 1).tolist(), len(merchants)]
    windows = list(zip(reports.window_ms.tolist(), reports.currencies, strict=True))
    for low, high in itertools.pairwise(starts):
        for first in range(low, high, WINDOWS_A_NOTICE):
            yield {
                "merchantId": reports.merchants[low],
                "grain": grain.value,
                "windows": windows[first : min(first + WINDOWS_A_NOTICE, high)],
                "version": version,
                "completeThrough": complete_through_ms,
            }


def _day(start_ms: int) -> str:
    return str(np.datetime64(start_ms, "ms").astype("datetime64[D]"))
