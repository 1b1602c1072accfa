"""What has changed for a merchant after a watermark: for a subscriber that comes back.

Redis names the days that may hold changes, and tells whether it can know (contracts/notices.py), Cassandra the reports with a newer
version.
"""

from __future__ import annotations

import asyncio

from redis.exceptions import RedisError

from millrace_contracts.notices import SINCE, changed_key, missed_key
from millrace_contracts.reports import REPORTS_TABLE
from millrace_contracts.windows import Grain, bucket, from_ms
from millrace_graphql.ranges.cassandra import Cassandra
from millrace_graphql.ranges.plan import DAY_MS, day_start_ms
from millrace_graphql.ranges.redis_wire import Wire
from millrace_graphql.ranges.subscribers import MOST_WINDOWS, Change


class Resume:
    """Looks changes up."""

    def __init__(self, wire: Wire, prefix: str, cassandra: Cassandra) -> None:
        self._wire = wire
        self._prefix = prefix
        self._cassandra = cassandra

    async def since(self, merchant_id: str, after: int | None) -> Change:
        """What has changed after a watermark; without one, or where it cannot be told, a reset with the newest watermark known.

        Raises:
            UnavailableError: Cassandra does not answer.
        """
        key, missed_of_all = changed_key(self._prefix, merchant_id), missed_key(self._prefix)
        try:
            pairs, missed = await self._wire.call(("HGETALL", key), ("GET", missed_of_all))
        except (RedisError, OSError, TimeoutError):
            return Change(merchant_id, (), after or 0, reset=True)
        days = dict(zip(pairs[::2], pairs[1::2], strict=True)) if isinstance(pairs, list) else {}
        since = days.pop(SINCE.encode(), None)
        newest = max((int(version) for version in days.values() if version.isdigit()), default=0)
        if not after or not (_is_at_most(since, after) and _is_at_most(missed, after)):
            return Change(merchant_id, (), max(newest, after or 0), reset=True)
        # A mark that a reader set says nothing about versions: its day is looked at too.
        doubtful = [day.decode() for day, version in days.items() if not version.isdigit() or int(version) > after]
        found = await asyncio.gather(*(self._newer(merchant_id, day, after) for day in doubtful))
        windows = sorted({(start, currency) for part in found for start, currency, _ in part})
        watermark = max([newest, after, *(version for part in found for _, _, version in part)])
        if len(windows) > MOST_WINDOWS:
            return Change(merchant_id, (), watermark, reset=True)
        return Change(merchant_id, tuple(windows), watermark)

    async def _newer(self, merchant_id: str, day: str, after: int) -> list[tuple[int, str, int]]:
        start = day_start_ms(day)
        statement = (
            f"SELECT to_unix_timestamp(window_start) AS start_ms, currency, version FROM {{ks}}.{REPORTS_TABLE} "  # noqa: S608 - names of our own
            "WHERE merchant_id = ? AND grain = ? AND bucket = ? AND window_start >= ? AND window_start < ?"
        )
        grain = Grain.TEN_MINUTES
        place = bucket(grain, from_ms(start))
        rows = await self._cassandra.read(statement, (merchant_id, grain.value, place, start, start + DAY_MS))
        plain = [list(map(kind, rows[name])) for name, kind in (("start_ms", int), ("currency", str), ("version", int))]
        triples = zip(*plain, strict=True)
        return [(start_ms, currency, version) for start_ms, currency, version in triples if version > after]


def _is_at_most(value: object, watermark: int) -> bool:
    """Whether a number that Redis holds is there and not above a watermark."""
    return isinstance(value, bytes) and value.isdigit() and int(value) <= watermark
