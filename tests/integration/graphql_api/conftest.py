"""The API over real Cassandra and Redis, in a keyspace of its own."""

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from millrace_graphql.app import create_app
from millrace_graphql.token_cli import make_token
from tests.integration.graphql_api.store import Store


@pytest.fixture(scope="module")
def environ(cassandra_server: dict[str, str], redis_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings with names of this module's own."""
    own = f"api_{secrets.token_hex(6)}"
    names = {"MILLRACE_NAMES_KEYSPACE": own, "MILLRACE_NAMES_REDIS_PREFIX": own, "MILLRACE_HOME": str(tmp_path_factory.mktemp("home"))}
    return {**cassandra_server, **redis_server, **names}


@pytest.fixture(scope="module")
def storeless(redis_server: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Settings of an API that has Redis and no Cassandra, for what reads no report."""
    names = {"MILLRACE_NAMES_REDIS_PREFIX": f"api_{secrets.token_hex(6)}", "MILLRACE_HOME": str(tmp_path_factory.mktemp("home"))}
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: refused
        yield {**redis_server, **names, "MILLRACE_CASSANDRA_HOSTS": "127.0.0.1", "MILLRACE_CASSANDRA_PORT": str(closed.getsockname()[1])}


@pytest.fixture(scope="module")
def store(environ: dict[str, str]) -> Iterator[Store]:
    """The report store, as the processors would fill it."""
    made = Store(environ)
    yield made
    made.drop()
    made.close()


@pytest.fixture
def cache(environ: dict[str, str]) -> Iterator["redis.Redis"]:
    """Redis, as the processors see it."""
    with redis.Redis.from_url(environ["MILLRACE_REDIS_URL"]) as client:
        yield client


async def until(condition: Callable[[], object | Awaitable[object]], seconds: float = 90) -> None:
    """Poll until a condition, plain or awaitable, holds."""
    async with asyncio.timeout(seconds):
        while True:
            met = condition()
            if await met if isinstance(met, Awaitable) else met:
                return
            await asyncio.sleep(0.005)


class Api:
    """The application on one event loop, asked as different callers."""

    def __init__(self, client: httpx.AsyncClient, home: Path) -> None:
        self._client = client
        self._keys = home / "keys"

    async def get(self, path: str, merchants: list[str], **more: Any) -> httpx.Response:
        """GET as a merchant."""
        token = make_token(self._keys, "merchant", merchants, 600)
        return await self._client.get(path, headers={"Authorization": f"Bearer {token}", **more.pop("headers", {})}, **more)

    async def ask(self, query: str, merchants: list[str] | None, variables: dict[str, Any] | None = None) -> Any:
        """A GraphQL answer as a merchant, or as an operator where ``merchants`` is None."""
        token = make_token(self._keys, "merchant" if merchants is not None else "operator", merchants or [], 600)
        answer = await self._client.post(
            "/graphql", json={"query": query, "variables": variables or {}}, headers={"Authorization": f"Bearer {token}"}
        )
        return answer.json()


@asynccontextmanager
async def running(environ: Mapping[str, str]) -> AsyncIterator[Api]:
    """The application, ready."""
    app = create_app(environ)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client,
    ):

        async def ready() -> bool:
            return (await client.get("/ready")).status_code == 200

        await until(ready, 60)
        yield Api(client, Path(environ["MILLRACE_HOME"]))


Scenario = Callable[[Api], Awaitable[None]]


def run(environ: Mapping[str, str], scenario: Scenario) -> None:
    """Run a scenario against the application."""

    async def main() -> None:
        async with running(environ) as api:
            await scenario(api)

    asyncio.run(main())
