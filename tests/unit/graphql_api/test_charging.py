"""What REST requests cost, out of the bucket that GraphQL takes from, and what a caller is told of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from starlette.applications import Starlette

from millrace_contracts.identity import TokenSettings
from millrace_graphql.errors import NotFoundError
from millrace_graphql.http.rate_limit import RateLimit
from millrace_graphql.identity import Authenticator
from millrace_graphql.ranges.answers import Asked, Freshness
from millrace_graphql.ranges.directory import Progress
from millrace_graphql.ranges.plan import Range
from millrace_graphql.rest.charging import Charges
from millrace_graphql.rest.routes import Rest
from millrace_graphql.settings import ApiSettings
from millrace_graphql.token_cli import make_token
from millrace_runtime.access_tokens import Door
from tests.unit.graphql_api.facts import DAY

pytestmark = pytest.mark.anyio
START = {"start": "2026-11-24T09:30:00Z"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Away:
    """Redis is away, so that the worker counts for itself."""

    async def call(self, *commands: Any) -> Any:
        raise RedisConnectionError("away")


class Questions:
    """Stands in for the questions: a range of so many days, of which nothing is known; who asks is written down."""

    def __init__(self, days: int = 7) -> None:
        self._days = days
        self.read: list[str] = []

    async def range_of(self, merchant: str, asked: Asked) -> Range:
        return Range(0, self._days * DAY, asked.grain)

    async def merchants(self, *_: Any) -> list[Any]:
        return []

    async def freshness(self) -> Freshness:
        return Freshness(Progress(0, None))

    async def nothing(self, _caller: Any, merchant: str, *_: Any, **__: Any) -> Any:
        self.read.append(merchant)
        raise NotFoundError("nothing is known")

    series = report = grid = peers = customer_days = export = nothing


class Asker:
    """REST with a bucket, asked as the merchant m1."""

    def __init__(self, folder: Path, questions: Questions, points: int, rate: int = 1, **settings: Any) -> None:
        self._token = make_token(folder, "merchant", ["m1"], 60)
        authenticator = Authenticator(Door(TokenSettings(jwks=str(folder / "jwks.json"))))
        self.bucket = RateLimit(Away(), "t", points, rate, clock=lambda: 50.0)  # type: ignore[arg-type]
        charges = Charges(questions, ApiSettings(**settings), self.bucket)  # type: ignore[arg-type]
        self._app = Starlette(routes=Rest(questions, authenticator, 30, charges).routes())  # type: ignore[arg-type]

    async def get(self, path: str, **params: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._token}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), base_url="http://api", headers=headers) as client:
            return await client.get(f"/v1/{path}", params=params)


@pytest.mark.parametrize(
    ("path", "params", "cost"),
    [
        ("merchants/m1/report", START, 4),
        ("merchants/m1/series", {}, 7 * 4),
        ("merchants/m1/series.csv", {}, 7 * 3),
        ("merchants/m1/comparison", {}, 7 * 3 * 2),
        ("merchants/m1/breakdown", {"by": "METHOD"}, 7 * 3),
        ("merchants/m1/week-grid", {}, 7 * 3),
        ("merchants/m1/peers", {}, 7 * 3 * 51),
        ("merchants/m1/customers", {}, 7 * 2),
        ("merchants/m1/customers.csv", {}, 7),
        ("merchants/m1/export.csv", {}, 7 * 3),
        ("merchants/m1/export.ndjson", {}, 7 * 3),
    ],
)
async def test_a_range_costs_a_point_for_each_day_and_group_before_it_is_read(
    tmp_path: Path, path: str, params: dict[str, str], cost: int
) -> None:
    questions = Questions()
    enough = Asker(tmp_path, questions, cost)
    assert (await enough.get(path, **params)).status_code == 404
    assert questions.read == ["m1"]
    refused = await enough.get(path, **params)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, str(cost))
    assert refused.headers["content-type"] == "application/problem+json"
    assert (refused.json()["code"], refused.json()["cost"]) == ("THROTTLED", cost)
    assert refused.json()["throttleStatus"] == {"maximumAvailable": cost, "currentlyAvailable": 0, "restoreRate": 1}
    assert refused.headers["ratelimit"] == f'"points";r=0;t={cost}'
    assert questions.read == ["m1"], "nothing was read for it"


async def test_an_answer_says_what_it_has_cost_and_what_is_left(tmp_path: Path) -> None:
    asker = Asker(tmp_path, Questions(), 100, 10)
    answer = await asker.get("freshness")
    assert answer.status_code == 200
    named = {name: answer.headers[name] for name in ("x-millrace-cost", "ratelimit", "ratelimit-policy")}
    assert named == {"x-millrace-cost": "1", "ratelimit": '"points";r=99;t=1', "ratelimit-policy": '"points";q=100;w=10'}
    listed = await asker.get("merchants", first="500")
    assert (listed.headers["x-millrace-cost"], listed.headers["ratelimit"]) == ("51", '"points";r=48;t=6')


async def test_another_merchants_reports_cost_nothing_and_tell_nothing(tmp_path: Path) -> None:
    questions = Questions()
    asker = Asker(tmp_path, questions, 1)
    for path in ("report", "series", "peers", "export.csv", "customers"):
        refused = await asker.get(f"merchants/m2/{path}", **(START if path == "report" else {}))
        assert (refused.status_code, refused.json()["code"], "ratelimit" in refused.headers) == (403, "FORBIDDEN", False)
    assert (await asker.get("freshness")).status_code == 200, "the point is still there"


async def test_a_request_over_the_limit_of_cost_is_refused_and_measured_where_asked(tmp_path: Path) -> None:
    refused = await Asker(tmp_path, Questions(days=400), 10_000).get("merchants/m1/peers")
    assert (refused.status_code, refused.json()["code"], refused.json()["value"]) == (400, "LIMIT_EXCEEDED", 400 * 3 * 51)
    assert refused.json()["detail"] == "the request's cost is 61200, and 20000 is allowed; ask for a shorter range"
    measured = Asker(tmp_path, Questions(days=400), 10_000, cost_mode="measure")
    assert (await measured.get("merchants/m1/peers")).status_code == 404
    # No range costs more than the longest that is answered: a longer one is refused for its length.
    assert (await Asker(tmp_path, Questions(days=36_500), 10_000).get("merchants/m1/export.csv")).status_code == 404


async def test_without_a_rate_nothing_is_taken(tmp_path: Path) -> None:
    token = make_token(tmp_path, "merchant", ["m1"], 60)
    authenticator = Authenticator(Door(TokenSettings(jwks=str(tmp_path / "jwks.json"))))
    questions: Any = Questions()
    app = Starlette(routes=Rest(questions, authenticator, 30, Charges(questions, ApiSettings(), None)).routes())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        answer = await client.get("/v1/freshness", headers={"Authorization": f"Bearer {token}"})
    assert (answer.headers["x-millrace-cost"], "ratelimit" in answer.headers) == ("1", False)
