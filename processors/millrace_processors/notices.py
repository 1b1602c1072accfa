"""Step 7: tell caches and subscriptions which windows have changed; see contracts/notices.py. Losing Redis loses nothing but speed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import orjson
import redis

from millrace_contracts.notices import CACHE_TTL_SECONDS, Notice, changed_key, channel, epoch_key
from millrace_contracts.settings import RedisSettings
from millrace_contracts.windows import Grain
from millrace_processors.reports import Reports

DAY_MS = 86_400_000
MERCHANTS_A_TRIP = 500
WINDOWS_A_NOTICE = 1_000
_clients: dict[str, redis.Redis] = {}


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
                    pipe.hset(key, mapping=days)  # type: ignore[arg-type]
                    pipe.expire(key, CACHE_TTL_SECONDS)
                    pipe.publish(channel(prefix), orjson.dumps(notice))
                pipe.execute()
    except redis.RedisError:
        return False
    return True


def new_epoch(settings: RedisSettings, prefix: str) -> bool:
    """Make every cached chunk stale; false where Redis is away."""
    try:
        client(settings).incr(epoch_key(prefix))
    except redis.RedisError:
        return False
    return True


def of_reports(reports: Reports, grain: Grain, version: int, complete_through_ms: int | None) -> Iterator[Notice]:
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
