"""A Redis that is full: what one tenant sends pushes out no other tenant's chunks or points."""

import asyncio
import hashlib
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import redis

from millrace_graphql.http.persisted import SHARE_BYTES
from millrace_graphql.http.rate_limit import RateLimit, ThrottledError
from millrace_graphql.ranges.redis_wire import Wire
from tests.integration.graphql_api.conftest import Api, run
from tests.integration.graphql_api.store import Paid, Store, Written
from tests.support.ports import free_port
from tests.support.waiting import wait_until

pytestmark = pytest.mark.stack

START = datetime(2026, 11, 8, 8, tzinfo=UTC)
SERIES = 'series(merchantId: "b", start: "2026-11-08T00:00:00Z", end: "2026-11-09T00:00:00Z", currency: "USD") { totals { gross } }'


@pytest.fixture
def small(tmp_path: Path) -> Iterator["redis.Redis"]:
    """A Redis of 8 MiB that evicts anything."""
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path)]
    with (
        subprocess.Popen(
            ["redis-server", *options, "--maxmemory", "8mb", "--maxmemory-policy", "allkeys-lru"], stdout=subprocess.DEVNULL
        ) as own,
        redis.Redis.from_url(f"redis://127.0.0.1:{port}/0") as client,
    ):

        def answers() -> bool:
            try:
                return bool(client.ping())
            except redis.ConnectionError:
                return False

        try:
            wait_until(answers, 60, "Redis answers")
            yield client
        finally:
            own.terminate()


def url_of(client: "redis.Redis") -> str:
    return f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}/0"


def named(query: str) -> dict[str, Any]:
    return {"query": query, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": hashlib.sha256(query.encode()).hexdigest()}}}


async def send(api: Api, query: str, merchant: str) -> Any:
    from millrace_graphql.token_cli import make_token

    token = make_token(api._keys, "merchant", [merchant], 600)
    answer = await api._client.post("/graphql", json=named(query), headers={"Authorization": f"Bearer {token}"})
    return answer.json()


def test_one_tenants_documents_push_out_nothing_of_another(environ: dict[str, str], store: Store, small: "redis.Redis") -> None:
    store.report("b", START, "USD", Written([Paid(5)]))

    async def scenario(api: Api) -> None:
        assert await api.ask(f"{{ {SERIES} }}", ["b"]) == {"data": {"series": {"totals": {"gross": "5"}}}}
        before = set(small.keys("*"))
        assert any(b":full" in key for key in before), "the points of b"
        assert any(b":raw:" in key for key in before), "and its chunk"
        for length in (250_000, 16_000):
            for number in range(60):
                query = f"#{number}{'x' * length}\n{{ viewer {{ role }} }}"
                assert await send(api, query, "a") == {"data": {"viewer": {"role": "merchant"}}}
        assert before <= set(small.keys("*"))
        assert small.info("stats")["evicted_keys"] == 0
        texts = small.keys("*:document:*")
        assert 0 < sum(small.strlen(key) for key in texts) <= SHARE_BYTES

    run({**environ, "MILLRACE_REDIS_URL": url_of(small)}, scenario)


def test_a_request_that_is_refused_for_its_points_registers_nothing(environ: dict[str, str], store: Store, small: "redis.Redis") -> None:
    async def scenario(api: Api) -> None:
        days = " ".join(f"d{n}: {SERIES.replace('b', 'a')}" for n in range(5))
        spent = await send(api, f"{{ {days} }}", "a")
        assert "data" in spent
        refused = await send(api, f"query Another {{ {days} }}", "a")
        assert refused["errors"][0]["extensions"]["code"] == "THROTTLED"
        assert [small.get(key) for key in small.keys("*:document:*")] == [f"{{ {days} }}".encode()]

    points = {"MILLRACE_API_RATE_POINTS": "20", "MILLRACE_API_RATE_PER_SECOND": "1", "MILLRACE_API_RESPONSE_CACHE_BYTES": "0"}
    run({**environ, **points, "MILLRACE_REDIS_URL": url_of(small)}, scenario)


def test_a_bucket_that_was_evicted_comes_back_as_its_workers_know_it(small: "redis.Redis") -> None:
    async def main() -> None:
        wire = Wire(url_of(small), 5.0)
        limit = RateLimit(wire, "p", 1_000, 1)
        await limit.take("spent", 900)
        small.flushall()
        assert (await limit.take("spent", 0)).available < 200
        small.flushall()
        with pytest.raises(ThrottledError):
            await limit.take("spent", 500)
        await wire.close()

    asyncio.run(main())
