"""How the analysis tier tells caches and subscriptions what has changed (Redis). Losing Redis loses nothing but speed.

After the reports are in Cassandra the processors, for each touched merchant, in one pipeline:

1. ``HSET <prefix>:{<merchant>}:changed <day> <version>`` for each touched UTC day (``2026-11-24``), ``HSETNX`` of its field ``since``
   with the version, and ``EXPIRE`` of the hash, 28 days;
2. ``PUBLISH <prefix>:notices`` with the JSON of ``Notice``.

A reader reads ``changed`` and ``<prefix>:epoch`` BEFORE it reads Cassandra and stores its chunk tagged with what it saw; a chunk
is good while its tag equals the current version of its day and the current epoch. The processors ``INCR`` the epoch when they
start and whenever notices may have been lost (Redis was away), which makes every chunk stale at once.

A subscriber that comes back with a watermark, the newest version that it was told of, has missed nothing but what ``changed`` names, if
the hash is older than the watermark (``since`` <= watermark: Redis has not forgotten it since then) and no notice was lost behind it
(``<prefix>:missed`` <= watermark: the processors raise it, with the epoch, above the versions of what may have been lost). Where one of
the two is not there or is greater, what has changed is not known, and the subscriber reads again what it shows.
"""

from __future__ import annotations

from typing import Final, TypedDict

CACHE_TTL_SECONDS = 28 * 86_400
"""Four weeks: how long raw reports stay in Redis."""


SINCE: Final = "since"
"""The field of ``changed`` that holds the version of the first notice in it."""


class Notice(TypedDict):
    """Windows of one merchant whose reports have changed; starts are epoch milliseconds."""

    merchantId: str
    grain: str
    windows: list[tuple[int, str]]
    """[(window start in ms, currency), ...]"""
    version: int
    completeThrough: int | None


def channel(prefix: str) -> str:
    """The pub/sub channel of all notices."""
    return f"{prefix}:notices"


def epoch_key(prefix: str) -> str:
    """The counter whose change makes every cached chunk stale."""
    return f"{prefix}:epoch"


def missed_key(prefix: str) -> str:
    """The version below which a watermark may have missed notices; it only grows."""
    return f"{prefix}:missed"


def changed_key(prefix: str, merchant_id: str) -> str:
    """Hash of UTC day -> newest version; the braces keep a merchant's keys on one Redis Cluster slot."""
    return f"{prefix}:{{{merchant_id}}}:changed"


def chunk_key(prefix: str, merchant_id: str, day: str) -> str:
    """The cached raw reports of one merchant and UTC day."""
    return f"{prefix}:{{{merchant_id}}}:raw:{day}"
