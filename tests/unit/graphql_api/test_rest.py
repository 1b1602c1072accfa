"""Streamed exports when something goes wrong: before the first line it is a problem, after it a broken transfer and never a short table."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from millrace_contracts.identity import TokenSettings
from millrace_graphql.errors import UnavailableError
from millrace_graphql.identity import Authenticator
from millrace_graphql.ranges.answers import Freshness, Series
from millrace_graphql.ranges.calendar import Grain
from millrace_graphql.ranges.directory import Progress
from millrace_graphql.ranges.plan import Range
from millrace_graphql.rest.charging import Charges
from millrace_graphql.rest.routes import Rest
from millrace_graphql.settings import ApiSettings
from millrace_graphql.token_cli import make_token
from millrace_runtime.access_tokens import Door
from tests.unit.graphql_api.facts import DAY, reports

pytestmark = pytest.mark.anyio
PATH = "/v1/merchants/m1/export.ndjson"


class Pieces:
    """Stands in for the questions: so many days, one a piece, then a failure."""

    def __init__(self, good: int, endless: bool = False) -> None:
        self._good = good
        self._endless = endless
        self.given = 0
        self.closed = False

    async def range_of(self, *_: Any) -> Range:
        return Range(0, DAY, Grain.DAY)

    async def export(self, *_: Any) -> tuple[Freshness, AsyncGenerator[Series, None]]:
        fresh = Freshness(Progress(0, None))

        async def pieces() -> AsyncGenerator[Series, None]:
            try:
                while self._endless or self.given < self._good:
                    asked = Range(self.given * DAY, (self.given + 1) * DAY, Grain.DAY)
                    self.given += 1
                    yield Series("m1", "USD", asked, False, reports({}), fresh)
                    await asyncio.sleep(0)
                raise UnavailableError("the report store does not answer; try again in some seconds")
            finally:
                self.closed = True

        return fresh, pieces()


def app_of(folder: Path, pieces: Pieces, seconds: float = 30) -> tuple[Starlette, dict[str, str]]:
    token = make_token(folder, "merchant", ["m1"], 60)
    authenticator = Authenticator(Door(TokenSettings(jwks=str(folder / "jwks.json"))))
    rest = Rest(pieces, authenticator, seconds, Charges(pieces, ApiSettings(), None))  # type: ignore[arg-type]
    return Starlette(routes=rest.routes()), {"Authorization": f"Bearer {token}"}


async def test_a_store_that_is_away_is_a_problem_and_no_table(tmp_path: Path) -> None:
    app, headers = app_of(tmp_path, Pieces(0))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        answer = await client.get(PATH, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")


class Slow(Pieces):
    """Never gives the first piece."""

    async def export(self, *_: Any) -> tuple[Freshness, AsyncGenerator[Series, None]]:
        try:
            await asyncio.sleep(60)
        finally:
            self.closed = True
        raise AssertionError


async def test_what_takes_too_long_is_cancelled_and_said_so(tmp_path: Path) -> None:
    slow = Slow(0)
    app, headers = app_of(tmp_path, slow, 0.05)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        answer = await client.get(PATH, headers=headers)
    assert (answer.status_code, answer.json()["code"], slow.closed) == (504, "TIMEOUT", True)


class Broken(Pieces):
    """Fails as nobody has foreseen."""

    async def export(self, *_: Any) -> tuple[Freshness, AsyncGenerator[Series, None]]:
        raise RuntimeError("the password is 1234")


async def test_an_unforeseen_error_is_masked_and_logged_under_its_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app, headers = app_of(tmp_path, Broken(0))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        answer = await client.get(PATH, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert (answer.json()["code"], "1234" in answer.text) == ("INTERNAL", False)
    logged = capsys.readouterr()
    assert answer.json()["reference"] in logged.out + logged.err


async def test_a_store_that_goes_away_later_breaks_the_transfer(tmp_path: Path) -> None:
    app, headers = app_of(tmp_path, Pieces(2))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        with pytest.raises(UnavailableError):  # what the server makes a cut connection of
            await client.get(PATH, headers=headers)


async def test_a_client_that_goes_away_ends_the_reading(tmp_path: Path) -> None:
    pieces = Pieces(0, endless=True)
    app, headers = app_of(tmp_path, pieces)
    scope = {
        "type": "http",
        "http_version": "1.1",
        "asgi": {"version": "3.0"},
        "scheme": "http",
        "method": "GET",
        "path": PATH,
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
    }
    gone = asyncio.Event()
    bodies = 0

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal bodies
        bodies += message["type"] == "http.response.body"
        if bodies == 3:
            gone.set()

    async with asyncio.timeout(10):
        await app(scope, receive, send)
    assert pieces.closed
    assert pieces.given < 50


async def test_only_the_heads_of_an_export_are_given_without_reading_it(tmp_path: Path) -> None:
    pieces = Pieces(0, endless=True)
    app, headers = app_of(tmp_path, pieces)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        answer = await client.head(PATH, headers=headers)
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "application/x-ndjson", b"")
    assert (pieces.given, pieces.closed) == (1, True)
