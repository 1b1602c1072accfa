"""The limits that bench/api.py compares with: bare reads of the same rows from Cassandra, and bare GETs from Redis."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import uvloop
from cassandra.cluster import Cluster
from cassandra.query import tuple_factory
from redis.asyncio import Redis

from api_store import DAY, merchant_name
from millrace_contracts.settings import CassandraSettings, NamesSettings, RedisSettings

TASKS = 64


async def _rate(task: Callable[[int], Awaitable[Any]], numbers: Sequence[int], seconds: float) -> int:
    """Calls a second, so many at a time."""
    ends, done = time.perf_counter() + seconds, 0

    async def work(first: int) -> None:
        nonlocal done
        index = first
        while time.perf_counter() < ends:
            await task(numbers[index % len(numbers)])
            index += TASKS
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(work(n) for n in range(TASKS)))
    return round(done / (time.perf_counter() - began))


_DAY = (DAY, DAY + timedelta(days=1))
READS = {
    "rows": (
        "SELECT window_start, payments, gross, refunds, refunded_amount, failed, smallest, largest FROM reports "
        "WHERE merchant_id = ? AND grain = '10m' AND bucket = ? AND window_start >= ? AND window_start < ?",
        144,
    ),
    "packed": ("SELECT day, windows, numbers FROM packed_days WHERE merchant_id = ? AND bucket = ? AND day >= ? AND day < ?", 1),
}
"""One day's 144 reports of one merchant, as rows of seven counters, and packed with all ten; and how many rows these are."""


def cassandra_reads(environ: Mapping[str, str], numbers: Sequence[int], seconds: float, shape: str = "rows") -> int:
    """Reads of one day of one merchant in a shape of READS, a second, by the driver as it is, from one process."""
    settings, keyspace = CassandraSettings.load(environ), NamesSettings.load(environ).keyspace
    cluster = Cluster(settings.contact_points(), port=settings.port)
    session = cluster.connect(keyspace)
    session.row_factory = tuple_factory
    statement, count = READS[shape]
    select = session.prepare(statement)

    async def main() -> int:
        loop = asyncio.get_running_loop()

        async def read(number: int) -> None:
            answer: asyncio.Future[Any] = loop.create_future()
            session.execute_async(select, [merchant_name(number), f"{DAY:%Y-%m}", *_DAY]).add_callbacks(
                lambda rows: loop.call_soon_threadsafe(answer.set_result, rows),
                lambda error: loop.call_soon_threadsafe(answer.set_exception, error),
            )
            assert len(await answer) == count

        return await _rate(read, numbers, seconds)

    result = uvloop.run(main())
    cluster.shutdown()
    return result


def redis_gets(environ: Mapping[str, str], seconds: float) -> int:
    """GETs of 4 KB a second by redis-py, from one process."""

    async def main() -> int:
        async with Redis.from_url(RedisSettings.load(environ).url) as client:
            await client.set("bench:bytes", b"x" * 4_096, ex=600)
            return await _rate(lambda _: client.get("bench:bytes"), [0], seconds)

    return uvloop.run(main())
