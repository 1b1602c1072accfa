"""What a deployment can close."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette

from millrace_graphql.app import _documentation
from millrace_graphql.settings import ApiSettings

pytestmark = pytest.mark.anyio


async def _answers(settings: ApiSettings) -> dict[str, httpx.Response]:
    transport = httpx.ASGITransport(Starlette(routes=_documentation(settings)))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        return {path: await client.get(path) for path in ("/", "/graphiql", "/graphiql/static/graphiql.js", "/docs")}


async def test_graphiql_can_be_closed_and_the_rest_stays() -> None:
    closed = await _answers(ApiSettings(graphiql=False))
    assert [closed[path].status_code for path in ("/graphiql", "/graphiql/static/graphiql.js", "/docs")] == [404, 404, 200]
    assert closed["/"].headers["location"] == "/docs"
    opened = await _answers(ApiSettings())
    assert opened["/graphiql"].status_code in (200, 503), "503 where its files are not built"
    assert opened["/"].headers["location"] == "/graphiql"
