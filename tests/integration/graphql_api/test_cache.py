"""Redis in front of Cassandra: coherent with the processors' notices, one flight a chunk, and losing it loses nothing but speed."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import redis

from millrace_contracts.notices import changed_key, channel, chunk_key, epoch_key
from millrace_graphql.ranges.chunk_cache import FIELDS, ChunkCache
from millrace_graphql.ranges.columns import COLUMNS, Group, Rows, Table
from millrace_graphql.ranges.plan import day_start_ms
from millrace_graphql.ranges.redis_wire import Wire
from tests.integration.graphql_api.conftest import Api, run, running, until
from tests.integration.graphql_api.store import Paid, Store, Written
from tests.support.ports import free_port

pytestmark = pytest.mark.stack

START = datetime(2026, 11, 5, 8, tzinfo=UTC)
DAY = "2026-11-05"
QUERY = "query($m: ID!, $s: DateTime!) { report(merchantId: $m, start: $s) { gross customers } }"


async def gross(api: Api, merchant: str) -> str:
    answer = await api.ask(QUERY, [merchant], {"m": merchant, "s": START.isoformat()})
    return str(answer["data"]["report"]["gross"])


def notify(cache: "redis.Redis", prefix: str, merchant: str, version: int, start: datetime = START) -> None:
    """What the processors do once a report is in Cassandra (contracts/notices.py)."""
    ms = int(start.timestamp()) * 1000
    notice = {"merchantId": merchant, "grain": "10m", "windows": [[ms, "USD"]], "version": version, "completeThrough": None}
    with cache.pipeline(transaction=False) as pipe:
        pipe.hset(changed_key(prefix, merchant), f"{start:%Y-%m-%d}", str(version))
        pipe.publish(channel(prefix), json.dumps(notice))
        pipe.execute()


async def becomes(api: Api, merchant: str, expected: str) -> None:
    """The answer changes to what is expected."""

    async def same() -> bool:
        return await gross(api, merchant) == expected

    await until(same)


def kept(cache: "redis.Redis", prefix: str, merchant: str) -> int:
    """The version that the chunk in Redis is tagged with; 0 where it is none of the processors'."""
    field = cache.hget(chunk_key(prefix, merchant, DAY), FIELDS[Group.COUNTERS])
    version = field.split(b":")[0] if isinstance(field, bytes) else b""
    return int(version) if version.isdigit() else 0


def test_a_notice_makes_the_new_numbers_readable_at_once(environ: dict[str, str], store: Store, cache: "redis.Redis") -> None:
    prefix, merchant = environ["MILLRACE_NAMES_REDIS_PREFIX"], "coherent"
    store.merchant(merchant, "USD")
    store.report(merchant, START, "USD", Written([Paid(1)]), version=1)

    async def scenario(api: Api) -> None:
        assert await gross(api, merchant) == "1"
        await until(lambda: cache.hget(chunk_key(prefix, merchant, DAY), FIELDS[Group.COUNTERS]))
        assert 27 * 86_400 < cache.ttl(chunk_key(prefix, merchant, DAY)) <= 28 * 86_400  # type: ignore[operator]
        for version in range(2, 30):
            store.report(merchant, START, "USD", Written([Paid(version)]), version=version)
            assert await gross(api, merchant) == str(version - 1), "the caches answer until the notice"
            notify(cache, prefix, merchant, version)
            await becomes(api, merchant, str(version))
            await until(lambda v=version: kept(cache, prefix, merchant) == v)

    run(environ, scenario)


def test_a_new_epoch_makes_every_chunk_stale(environ: dict[str, str], store: Store, cache: "redis.Redis") -> None:
    prefix, merchant = environ["MILLRACE_NAMES_REDIS_PREFIX"], "epoch"
    store.merchant(merchant, "USD")
    store.report(merchant, START, "USD", Written([Paid(1)]), version=1)

    async def scenario(api: Api) -> None:
        assert await gross(api, merchant) == "1"
        store.report(merchant, START, "USD", Written([Paid(2)]), version=2)  # its notice is lost
        cache.incr(epoch_key(prefix))
        await becomes(api, merchant, "2")

    run(environ, scenario)


def test_a_day_whose_version_was_evicted_never_brings_an_old_chunk_back(
    environ: dict[str, str], store: Store, cache: "redis.Redis"
) -> None:
    prefix, merchant = environ["MILLRACE_NAMES_REDIS_PREFIX"], "evicted"
    store.merchant(merchant, "USD")
    store.report(merchant, START, "USD", Written([Paid(1)]), version=1)

    async def scenario(api: Api) -> None:
        assert await gross(api, merchant) == "1"
        store.report(merchant, START, "USD", Written([Paid(2)]), version=2)
        notify(cache, prefix, merchant, 2)
        cache.delete(changed_key(prefix, merchant))
        await becomes(api, merchant, "2")

    run(environ, scenario)


class Slow:
    """A store that answers when told to, with what it held when asked."""

    def __init__(self) -> None:
        self.value = 1
        self.reads = 0
        self.go = asyncio.Event()

    async def load(self, start_ms: int, end_ms: int, groups: frozenset[Group]) -> Rows:
        self.reads += 1
        value = self.value
        await self.go.wait()
        values = {name: np.array([value], np.int64) for name in COLUMNS[Group.COUNTERS]}
        return {Group.COUNTERS: Table(np.array([day_start_ms(DAY)], np.int64), np.array(["USD"]), values)}


@pytest.fixture
def url(environ: dict[str, str]) -> str:
    return environ["MILLRACE_REDIS_URL"]


@contextlib.asynccontextmanager
async def wired(url: str) -> AsyncIterator[Wire]:
    wire = Wire(url, 60.0)
    yield wire
    await wire.close()


async def counter(cache: ChunkCache, merchant: str, store: Slow) -> int:
    rows = await cache.read(merchant, [DAY], frozenset({Group.COUNTERS}), store.load)
    return int(rows[Group.COUNTERS].values["payments"][0])


def test_a_reader_after_a_notice_never_joins_a_read_from_before_it(environ: dict[str, str], url: str) -> None:
    prefix = environ["MILLRACE_NAMES_REDIS_PREFIX"]

    async def main() -> None:
        async with wired(url) as wire:
            cache, store = ChunkCache(wire, prefix), Slow()
            before = asyncio.create_task(counter(cache, "race", store))
            await until(lambda: store.reads == 1)
            store.value = 2
            await wire.call(("HSET", changed_key(prefix, "race"), DAY, "2"))
            after = asyncio.create_task(counter(cache, "race", store))
            await until(lambda: store.reads == 2)
            store.go.set()
            assert (await before, await after) == (1, 2)
            await cache.settle()
            # Whichever of the two wrote last: an old chunk carries an old tag and is never good.
            assert await counter(cache, "race", store) == 2

    asyncio.run(main())


class Counted(ChunkCache):
    """Counts the readers that have learnt from Redis what there is."""

    looked_up = 0

    async def _look_up(self, *arguments: Any) -> Any:
        result = await super()._look_up(*arguments)
        self.looked_up += 1
        return result


def test_a_hundred_readers_of_a_cold_chunk_make_one_read(environ: dict[str, str], url: str) -> None:
    async def main() -> None:
        async with wired(url) as wire:
            cache, store = Counted(wire, environ["MILLRACE_NAMES_REDIS_PREFIX"]), Slow()
            # The first gives the day its mark, so that all others see one and the same tag.
            readers = [asyncio.create_task(counter(cache, "crowd", store))]
            await until(lambda: store.reads == 1)
            readers += [asyncio.create_task(counter(cache, "crowd", store)) for _ in range(100)]
            readers[0].cancel()  # who goes away takes nobody along
            await until(lambda: cache.looked_up == 101)
            store.go.set()
            assert await asyncio.gather(*readers[1:]) == [1] * 100
            assert store.reads == 1
            await cache.settle()

    asyncio.run(main())


class Gate:
    """A way to Redis that can be shut as a crash would shut it: connections break and new ones are refused."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._to = (parts.hostname or "127.0.0.1", parts.port or 6379)
        self._login = parts.netloc.rpartition("@")[0]
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = free_port()  # one that no outgoing connection takes while the gate is shut

    @property
    def url(self) -> str:
        """Redis behind the gate, with its login."""
        return f"redis://{self._login}@127.0.0.1:{self.port}/0"

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._pass, "127.0.0.1", self.port)

    async def shut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._to)
        self._open |= {writer, up_writer}

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65_536):
                    sink.write(data)
                    await sink.drain()
            sink.transport.abort()

        await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))
        self._open -= {writer, up_writer}


@pytest.fixture
def gate(url: str) -> Iterator[Gate]:
    return Gate(url)


def test_without_redis_the_answers_are_the_same_and_they_are_fresh(environ: dict[str, str], store: Store, gate: Gate) -> None:
    merchant = "away"
    store.merchant(merchant, "USD")
    store.report(merchant, START, "USD", Written([Paid(5, "a"), Paid(6, "b")]), version=1)

    async def main() -> None:
        await gate.open()
        async with running({**environ, "MILLRACE_REDIS_URL": gate.url}) as api:
            assert await gross(api, merchant) == "11"
            await gate.shut()
            assert await gross(api, merchant) == "11"
            store.report(merchant, START, "USD", Written([Paid(5, "a")]), version=2)
            await becomes(api, merchant, "5")  # no notice: as soon as the lost connection is known, nothing kept is believed
            ready = (await api.get("/ready", [merchant])).json()
            assert (ready["ready"], ready["redis"].startswith("away")) == (True, True)
            await gate.open()

            async def back() -> bool:
                return bool((await api.get("/ready", [merchant])).json()["redis"] == "ready")

            await until(back)
            await gate.shut()

    asyncio.run(main())
