"""The limit of one document's cost, and what a throttled caller is told."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from starlette.applications import Starlette
from starlette.routing import Route

from millrace_contracts.identity import TokenSettings
from millrace_graphql.http.rate_limit import RateLimit, ThrottledError
from millrace_graphql.identity import Authenticator
from millrace_graphql.settings import ApiSettings
from millrace_graphql.token_cli import make_token
from millrace_runtime.access_tokens import Door
from tests.unit.graphql_api.test_http import Questions, ask, client_for, endpoint_for

LONG = """query($s: DateTime! = "2020-01-01T00:00:00Z") {
  series(merchantId: "m1", start: $s, end: "2029-12-28T00:00:00Z", grain: DAY) { totals { gross customers } }
}"""


class Away:
    """Redis is away."""

    async def call(self, *commands: Any) -> Any:
        raise RedisConnectionError("away")


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def test_a_document_that_costs_too_much_is_refused_before_it_is_run_and_measured_where_asked(tmp_path: Path) -> None:
    refused = ask(client_for(tmp_path, Questions(), max_cost=1_000), LONG)
    [error] = refused.json()["errors"]
    assert (refused.status_code, error["extensions"]["code"], error["extensions"]["limit"]) == (400, "LIMIT_EXCEEDED", "cost")
    assert error["extensions"]["value"] == 2 * 3_649 + 2, "3,649 days of two column groups, and two objects"
    measured = ask(client_for(tmp_path, Questions(), max_cost=1_000, cost_mode="measure"), LONG)
    assert measured.json()["errors"][0]["extensions"]["code"] != "LIMIT_EXCEEDED"


def test_without_redis_each_worker_counts_for_itself(tmp_path: Path) -> None:
    async def scenario() -> None:
        clock = Clock()
        limit = RateLimit(Away(), "t", 100, 10, clock)  # type: ignore[arg-type]
        assert (await limit.take("a", 60)).available == 40
        with pytest.raises(ThrottledError) as refused:
            await limit.take("a", 60)
        assert (refused.value.wait, refused.value.data["throttleStatus"]["currentlyAvailable"]) == (2, 40)
        assert (await limit.take("b", 60)).available == 40, "another tenant's bucket is its own"
        clock.now += 2
        assert (await limit.take("a", 60)).available == 0
        clock.now += 1_000
        assert (await limit.take("a", 1)).available == 99, "never more than the bucket holds"
        assert (await limit.take("c", 5_000)).available == 0, "what can never be paid takes all there is"

    asyncio.run(scenario())


def test_a_throttled_caller_is_told_when_to_come_back(tmp_path: Path) -> None:
    token = make_token(tmp_path, "merchant", ["m1"], 60)
    authenticator = Authenticator(Door(TokenSettings(jwks=str(tmp_path / "jwks.json"))))
    limit = RateLimit(Away(), "t", 2, 1, Clock())  # type: ignore[arg-type]
    app = Starlette(routes=[Route("/graphql", endpoint_for(Questions(), authenticator, ApiSettings(), rate_limit=limit))])

    async def scenario() -> None:
        headers = {"Authorization": f"Bearer {token}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api", headers=headers) as client:
            first = await client.post("/graphql", json={"query": "{ viewer { role } }", "extensions": {"cost": True}})
            assert first.headers["ratelimit"] == '"points";r=1;t=1'
            assert first.headers["ratelimit-policy"] == '"points";q=2;w=2'
            assert first.json()["extensions"]["cost"] == {
                "requestedQueryCost": 1, "throttleStatus": {"maximumAvailable": 2, "currentlyAvailable": 1, "restoreRate": 1},
            }  # fmt: skip
            await client.post("/graphql", json={"query": "{ viewer { role } }"})
            refused = await client.post("/graphql", json={"query": "{ viewer { role } }"})
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert refused.json()["errors"][0]["extensions"]["code"] == "THROTTLED"

    asyncio.run(scenario())
