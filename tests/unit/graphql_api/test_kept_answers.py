"""What a caller is told of an answer that was kept: found by its bytes, or by what it means when it is asked for in another way."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.routing import Route

from millrace_contracts.identity import TokenSettings
from millrace_graphql.http.rate_limit import RateLimit
from millrace_graphql.identity import Authenticator
from millrace_graphql.ranges.changes import Changes
from millrace_graphql.settings import ApiSettings
from millrace_graphql.token_cli import make_token
from millrace_runtime.access_tokens import Door
from tests.unit.graphql_api.test_cost_limit import Away, Clock
from tests.unit.graphql_api.test_http import Questions, endpoint_for

PAGE = " ".join(f"r{number:060}: role" for number in range(29))
QUERY = f"{{ viewer {{ {PAGE} merchants {{ id }} }} }}"


def scenario(folder: Path, body: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    """An endpoint that keeps answers, with a hundred points a caller."""
    token = make_token(folder, "merchant", ["m1"], 60)
    authenticator = Authenticator(Door(TokenSettings(jwks=str(folder / "jwks.json"))))
    changes = Changes()
    changes.trusted_until = float("inf")
    limit = RateLimit(Away(), "t", 100, 1, Clock())  # type: ignore[arg-type]
    endpoint = endpoint_for(Questions(), authenticator, ApiSettings(), changes, limit)

    async def main() -> None:
        transport = httpx.ASGITransport(Starlette(routes=[Route("/graphql", endpoint)]))
        headers = {"Authorization": f"Bearer {token}", "Accept-Encoding": "identity"}
        async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
            await body(client)

    asyncio.run(main())


def state(answer: httpx.Response) -> tuple[int, str, bool]:
    return answer.status_code, answer.headers["x-millrace-cache"], "ratelimit" in answer.headers


def test_an_answer_that_is_found_by_what_it_means_is_a_hit_and_costs_nothing(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        made = await client.post("/graphql", json={"query": QUERY})
        assert state(made) == (200, "miss", True)
        by_get = await client.get("/graphql", params={"query": QUERY})
        assert state(by_get) == (200, "hit", False)
        assert (by_get.content, by_get.headers["etag"]) == (made.content, made.headers["etag"])
        assert int(by_get.headers["content-length"]) == len(made.content)
        again = await client.post("/graphql", json={"query": QUERY})
        assert state(again) == (200, "hit", False)

    scenario(tmp_path, body)


def test_it_is_compressed_and_not_sent_again_in_whichever_way_it_was_found(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        made = await client.post("/graphql", json={"query": QUERY})
        for _ in range(2):  # by what it means, and then by its bytes
            packed = await client.get("/graphql", params={"query": QUERY}, headers={"Accept-Encoding": "gzip"})
            assert state(packed) == (200, "hit", False)
            assert (packed.headers["content-encoding"], packed.headers["etag"]) == ("gzip", f"W/{made.headers['etag']}")
            assert packed.content == made.content
        for name in ("{ viewer { role } }", QUERY):
            first = await client.post("/graphql", json={"query": name})
            known = {"If-None-Match": first.headers["etag"]}
            for _ in range(2):
                same = await client.get("/graphql", params={"query": name}, headers=known)
                assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", first.headers["etag"])

    scenario(tmp_path, body)


def test_who_asks_what_it_costs_is_told_that_it_was_kept(tmp_path: Path) -> None:
    async def body(client: httpx.AsyncClient) -> None:
        for expected in ((200, "miss", True), (200, "hit", False)):
            answer = await client.post("/graphql", json={"query": QUERY, "extensions": {"cost": True}})
            assert state(answer) == expected
            assert answer.json()["extensions"]["cost"]["requestedQueryCost"] == int(answer.headers["x-millrace-cost"])

    scenario(tmp_path, body)
