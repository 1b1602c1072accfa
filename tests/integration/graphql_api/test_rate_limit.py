"""A tenant's points, as they are taken by processes that share one bucket, over GraphQL and REST, with Redis and without it."""

import time
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.conftest import environ, store
from tests.integration.graphql_api.store import Store
from tests.integration.graphql_api.test_process import serving, wait_for
from tests.support.servers import Servers
from tests.support.waiting import wait_until

__all__ = ["environ", "store"]
pytestmark = pytest.mark.stack

POINTS = 600
WEEK = {"start": "2026-11-02T00:00:00Z", "end": "2026-11-09T00:00:00Z", "currency": "USD"}
LIMITS = {"MILLRACE_API_RATE_POINTS": str(POINTS), "MILLRACE_API_RATE_PER_SECOND": "1"}


class Caller:
    """Asks as one merchant."""

    def __init__(self, environ: dict[str, str], merchant: str) -> None:
        token = make_token(Path(environ["MILLRACE_HOME"]) / "keys", "merchant", [merchant], 600)
        self.merchant, self._headers = merchant, {"Authorization": f"Bearer {token}"}

    def rest(self, url: str, name: str) -> httpx.Response:
        return httpx.get(f"{url}/v1/merchants/{self.merchant}/{name}", params=WEEK, headers=self._headers, timeout=60)

    def graphql(self, url: str) -> httpx.Response:
        # Each time another text, so that no cache answers: what a cache answers is free.
        query = (
            f'query Q{time.monotonic_ns()} {{ report(merchantId: "{self.merchant}", start: "{WEEK["start"]}", currency: "USD") {{ net }} }}'
        )
        return httpx.post(f"{url}/graphql", json={"query": query}, headers=self._headers, timeout=60)


def left(answer: httpx.Response) -> int:
    """What the answer says is left in the bucket."""
    return int(answer.headers["ratelimit"].split(";r=")[1].split(";")[0])


def test_both_apis_of_two_processes_take_from_one_bucket_and_go_on_fairly_without_redis(
    environ: dict[str, str], store: Store, servers: Servers
) -> None:
    store.progress(datetime(2026, 11, 10, tzinfo=UTC))
    heavy, light = Caller(environ, "heavy"), Caller(environ, "light")
    with serving({**environ, **LIMITS}) as (one, _), serving({**environ, **LIMITS}) as (two, _):
        for url in (one, two):
            wait_for(f"{url}/ready", 200)
        first = heavy.rest(one, "series.csv")
        assert (first.status_code, first.headers["x-millrace-cost"]) == (200, "21")
        assert POINTS - 21 <= left(first) <= POINTS
        while heavy.rest(two, "comparison").status_code == 200:
            pass
        for url in (one, two):
            # A point comes back each second: one or two more may be paid for, and of a bucket of its own the first process would have
            # a dozen to give.
            refused = next(answer for _ in range(6) if (answer := heavy.rest(url, "comparison")).status_code != 200)
            assert (refused.status_code, refused.json()["code"]) == (429, "THROTTLED")
            assert 1 <= int(refused.headers["retry-after"]) <= 42
        while heavy.graphql(one).status_code == 200:
            pass
        by_graphql = next(answer for _ in range(30) if (answer := heavy.graphql(two)).status_code != 200)
        assert (by_graphql.status_code, by_graphql.json()["errors"][0]["extensions"]["code"]) == (429, "THROTTLED")
        assert light.graphql(one).status_code == 200, "another tenant has a bucket of its own"

        servers.kill("redis")
        try:
            # Nobody is refused because Redis is down ...
            served = heavy.rest(one, "series.csv")
            assert (served.status_code, left(served)) == (200, POINTS - 21)
            # ... and nobody may ask without bound.
            statuses = [heavy.rest(one, "comparison").status_code for _ in range(20)]
            assert statuses[0] == 200
            assert statuses[-1] == 429
            assert light.rest(one, "comparison").status_code == 200
        finally:
            servers.restart("redis")
        both = (one, two)
        wait_until(lambda: all(httpx.get(f"{url}/ready", timeout=60).json()["redis"] == "ready" for url in both), 90, "Redis is back")

        def is_shared() -> bool:
            """Whether what the second process takes, it takes from what the first one has left."""
            before = left(light.rest(one, "series.csv"))
            return left(light.rest(two, "series.csv")) <= before - 15

        wait_until(is_shared, 90, "one bucket again")
